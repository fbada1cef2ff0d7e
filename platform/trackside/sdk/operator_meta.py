"""How operators are made: default arguments from DAG, groups and call; refusals that name the missing argument.

For `operator.BaseOperator`, whose metaclass this is. Every `__init__` of the class family is wrapped, so that
`default_args` reaches the arguments of each of them, and `__call__` does once what must happen after all of them.
"""

from __future__ import annotations

import functools
import inspect
from abc import ABCMeta
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trackside.sdk.arguments import params as checked_params
from trackside.sdk.setup_teardown import SetupTeardownContext
from trackside.sdk.stack import DagContext, TaskGroupContext
from trackside.sdk.whereabouts import author_line

if TYPE_CHECKING:
    from trackside.sdk.dag import DAG
    from trackside.sdk.taskgroup import TaskGroup


class Building:
    """One operator while it is being made: where it goes and what it inherits."""

    def __init__(self, *, from_mapped: bool = False) -> None:
        self.from_mapped = from_mapped
        """Made from a mapped task for one map index: belongs to no open block and draws no edges."""
        self.defaults: dict[str, Any] | None = None
        self.params: Any = None
        self.dag: DAG | None = None
        self.task_group: TaskGroup | None = None

    def open(self, kwargs: dict[str, Any]) -> None:
        """Look at the outermost call's arguments for the DAG, the group and the defaults; pops `default_args`."""
        own = kwargs.pop("default_args", None)
        if self.defaults is not None:
            return
        dag, group = kwargs.get("dag"), kwargs.get("task_group")
        if not self.from_mapped:
            if dag is None:
                dag = group.dag if group is not None else DagContext.get_current_dag()
            if group is None:
                group = TaskGroupContext.get_current_task_group(dag)
        self.dag, self.task_group = dag, group
        self.defaults, self.params = merged_defaults(dag, group, own)


def merged_defaults(dag: DAG | None, group: TaskGroup | None, own: dict[str, Any] | None) -> tuple[dict[str, Any], Any]:
    """(default args, params) a task inherits: DAG, then groups from outside in, then the call (row 1.013)."""
    from trackside.sdk.param import ParamsDict

    if own is not None and not isinstance(own, dict):
        raise TypeError(f"default_args must be a mapping, not {type(own).__name__}")
    params = ParamsDict()
    defaults: dict[str, Any] = {}
    if dag is not None:
        params.update(dag.params)
    for more in (dag.default_args if dag else None, group.default_args if group else None, own):
        if more:
            defaults.update(more)
            params.update(more.get("params") or {})
    defaults.pop("params", None)
    return defaults, params


class OperatorMeta(ABCMeta):
    """Metaclass of all operators."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> OperatorMeta:
        cls = super().__new__(mcls, name, bases, namespace, **kwargs)
        if "__init__" in namespace:
            cls.__init__ = _with_defaults(namespace["__init__"])  # type: ignore[misc]  # wrapping is the point
        return cls

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if args:
            raise TypeError(f"Use keyword arguments when initializing operators: {cls.__name__}(task_id=…, …)")
        building = Building(from_mapped=kwargs.pop("_from_mapped", False))
        new: Any = cls.__new__
        self: Any = new(cls) if new == object.__new__ else new(cls, **kwargs)
        self.__dict__["_building"] = building
        self.__dict__["_defined_at"] = author_line()
        try:
            self.__init__(**kwargs)
        finally:
            self.__dict__.pop("_building", None)
        self._finish_init(building)
        if not building.from_mapped:
            SetupTeardownContext.add(self)
        return self


def init_parameters(cls: type) -> dict[str, inspect.Parameter]:
    """All arguments the constructors of a class family take, nearest first."""
    found: dict[str, inspect.Parameter] = {}
    for klass in cls.__mro__:
        for name, parameter in getattr(klass.__dict__.get("__init__"), "_operator_parameters", {}).items():
            found.setdefault(name, parameter)
    return found


def _with_defaults(init: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(init)
    parameters = list(signature.parameters.values())[1:]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = {p.name: p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    required = [name for name, p in named.items() if p.default is p.empty]

    @functools.wraps(init)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        if args:
            raise TypeError("Use keyword arguments when initializing operators")
        building: Building | None = self.__dict__.get("_building")
        if building is None:  # called by hand on a finished operator
            init(self, **kwargs)
            return
        building.open(kwargs)
        for name in named:
            if name not in kwargs and name in building.defaults:  # type: ignore[operator]  # open() has set it
                kwargs[name] = building.defaults[name]  # type: ignore[index]
        missing = [repr(name) for name in required if name not in kwargs]
        if missing:
            raise TypeError(f"{type(self).__name__}: missing keyword argument{'s' * (len(missing) > 1)} {', '.join(missing)}")
        if (takes_any or "params" in named) and (building.params or kwargs.get("params")):
            building.params.update(checked_params(kwargs.get("params")))
            kwargs["params"] = building.params
        init(self, **kwargs)

    wrapped._operator_parameters = named  # type: ignore[attr-defined]
    return wrapped
