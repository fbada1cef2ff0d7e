"""`@asset` and `@asset.multi`: a function that makes a DAG of one task whose outlet is the asset (rows 1.215-1.217).

For DAG files. Parameters named like assets become inlets.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from trackside.sdk.assets import Asset, BaseAsset
from trackside.sdk.dag import DAG
from trackside.sdk.decorators import TaskFunction, task
from trackside.sdk.execution.comms import call

_SPECIAL = ("self", "context", "outlet_events")
"""Parameters with a meaning of their own."""


def _make_dag(name: str, function: Any, schedule: Any, outlets: list[Any], self_asset: Any, dag_kwargs: dict[str, Any]) -> DAG:
    body = function.function if isinstance(function, TaskFunction) else function
    _check(body)
    inlets = [Asset.ref(name=name) for name in _inlets(body)]
    dag_kwargs.setdefault("dag_display_name", None)
    dag = DAG(name, schedule=schedule, doc_md=dag_kwargs.pop("doc_md", None) or inspect.getdoc(body), **dag_kwargs)
    dag._defined_at = (body.__code__.co_filename, body.__code__.co_firstlineno)
    with dag:
        kwargs: dict[str, Any] = {"outlets": outlets, "inlets": inlets}
        if isinstance(function, TaskFunction):
            function.override(**kwargs)(**_placeholders(body))
        else:
            runner = _Runner(body, self_asset)
            made = task(task_id=name, **kwargs)(runner.run)
            made()
    return dag


def _inlets(function: Any) -> list[str]:
    """The parameters that are assets: those without a meaning of their own and without a default."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.name not in _SPECIAL and p.default is inspect.Parameter.empty]


class _Runner:
    """Calls the function with the assets its parameters name, as they are known now (row 1.215)."""

    def __init__(self, function: Callable[..., Any], self_asset: Any) -> None:
        def run(**context: Any) -> Any:
            parameters = inspect.signature(function).parameters
            return function(**{name: self._value(name, p.default, context) for name, p in parameters.items()})

        run.__name__ = function.__name__
        run.__module__ = function.__module__
        run.__doc__ = function.__doc__
        self.run = run
        self._self_asset = self_asset

    def _value(self, name: str, default: Any, context: dict[str, Any]) -> Any:
        if default is not inspect.Parameter.empty:
            return default
        if name == "self":
            return self._self_asset
        if name == "context":
            return context
        if name == "outlet_events":
            return context["outlet_events"]
        found = call(context["ti"].comms, "GET", "/assets", params={"name": name})["assets"]
        return Asset(**found[0]) if found else Asset(name=name)  # without a server, nobody knows more than the name


def _placeholders(function: Callable[..., Any]) -> dict[str, Any]:
    return {name: Asset.ref(name=name) for name in _inlets(function)}


def _check(function: Any) -> None:
    if "<locals>" in getattr(function, "__qualname__", ""):
        raise ValueError("nested function not supported: define the @asset function at the top of the file")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"wildcard parameter {str(parameter)!r} is not supported in @asset; name the assets")


class AssetDefinition(Asset):
    """The asset made from a function; it is an Asset, and `dag` is the DAG that makes it."""

    dag: DAG
    function: Any


class MultiAssetDefinition(BaseAsset):
    """Several assets made by one function."""

    def __init__(self, dag: DAG, outlets: list[Any]) -> None:
        self.dag, self.outlets = dag, outlets

    def to_spec(self) -> dict[str, Any]:
        """All of them."""
        return {"all": [outlet.to_spec() for outlet in self.outlets]}


class asset:
    """`@asset(schedule=…)`: the asset is named like the function unless `name=` says otherwise."""

    def __init__(
        self,
        uri: str | None = None,
        *,
        schedule: Any,
        name: str | None = None,
        group: str | None = None,
        extra: dict[str, Any] | None = None,
        watchers: Iterable[Any] | None = None,
        access_control: Any = None,
        **dag_kwargs: Any,
    ) -> None:
        self.schedule = schedule
        self.name, self.uri, self.dag_kwargs = name, uri, dag_kwargs
        self.rest = {"group": group, "extra": extra, "watchers": list(watchers or ()), "access_control": access_control}

    def __call__(self, function: Any) -> AssetDefinition:
        body_name = function.kwargs["task_id"] if isinstance(function, TaskFunction) else function.__name__
        made = AssetDefinition(name=self.name or body_name, uri=self.uri, **self.rest)  # type: ignore[arg-type]  # by name
        made.function = function
        made.dag = _make_dag(self.name or body_name, function, self.schedule, [made], made, dict(self.dag_kwargs))
        return made

    class multi:
        """`@asset.multi(schedule=…, outlets=[…])`."""

        def __init__(self, *, schedule: Any, outlets: Iterable[Any], name: str | None = None, **dag_kwargs: Any) -> None:
            self.schedule, self.outlets, self.name, self.dag_kwargs = schedule, list(outlets), name, dag_kwargs
            if not self.outlets:
                raise ValueError("no outlets provided")

        def __call__(self, function: Any) -> MultiAssetDefinition:
            name = self.name or (function.kwargs["task_id"] if isinstance(function, TaskFunction) else function.__name__)
            dag = _make_dag(name, function, self.schedule, list(self.outlets), None, dict(self.dag_kwargs))
            return MultiAssetDefinition(dag, self.outlets)


