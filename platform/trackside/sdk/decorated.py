"""Operators made from functions: what `@task` and its kinds have in common.

For `decorators.py` and the classes behind `@task.python`, `@task.bash`, … in `operators/`. A class combines
`DecoratedOperator` with the operator that does the work: `class X(DecoratedOperator, PythonOperator)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from trackside.sdk.operator import BaseOperator
from trackside.sdk.stack import DagContext, TaskGroupContext

if TYPE_CHECKING:
    from trackside.sdk.dag import DAG
    from trackside.sdk.taskgroup import TaskGroup

KNOWN_CONTEXT_KEYS = frozenset(
    {
        *("conn", "dag", "dag_run", "data_interval_end", "data_interval_start", "ds", "ds_nodash", "exception"),
        *("expanded_ti_count", "inlet_events", "inlets", "logical_date", "macros", "map_index_template", "outlet_events"),
        *("outlets", "params", "prev_data_interval_end_success", "prev_data_interval_start_success"),
        *("prev_end_date_success", "prev_start_date_success", "reason", "run_id", "start_date", "task", "task_instance"),
        *("task_instance_key_str", "task_reschedule_count", "templates_dict", "test_mode", "ti", "try_number"),
        *("triggering_asset_events", "ts", "ts_nodash", "ts_nodash_with_tz", "var", "partition_key", "partition_date"),
        *("task_state_store", "asset_state_store"),
    }
)
"""Names a function may take as arguments to get them from the run's context (rows 1.151-1.153)."""


def get_unique_task_id(task_id: str, dag: DAG | None = None, task_group: TaskGroup | None = None) -> str:
    """`task_id`, or with `__1`, `__2`, … behind it if the DAG has such a task already."""
    dag = dag or DagContext.get_current_dag()
    if dag is None:
        return task_id
    return dag.unique_label(task_id, task_group or TaskGroupContext.get_current_task_group(dag))


def check_function(function: Any) -> None:
    """Refuse what cannot become a task: no function, methods, context keys with a default other than None."""
    if not callable(function):
        raise TypeError(f"@task is for functions, not {type(function).__name__}")
    parameters = inspect.signature(function).parameters
    if "self" in parameters:
        raise TypeError("@task does not support methods; use a function outside the class")
    for name, parameter in parameters.items():
        if name in KNOWN_CONTEXT_KEYS and parameter.default not in (None, inspect.Parameter.empty):
            raise ValueError(
                f"Context key parameter {name} can't have a default other than None: its value comes from the run"
            )


def check_call(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise TypeError, as a call would, for missing or surplus arguments; context keys need not be given."""
    signature = inspect.signature(function)
    bound = signature.bind_partial(*args, **kwargs)
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is parameter.empty and name not in bound.arguments and name not in KNOWN_CONTEXT_KEYS:
            raise TypeError(f"{getattr(function, '__name__', 'task')}() missing a required argument: {name!r}")


class DecoratedOperator(BaseOperator):
    """A task whose work is a function; results of other tasks among its arguments draw edges."""

    template_fields: Collection[str] = ("op_args", "op_kwargs")
    template_fields_renderers: ClassVar[dict[str, str]] = {"op_args": "py", "op_kwargs": "py"}
    shallow_copy_attrs: Sequence[str] = ("python_callable",)
    custom_operator_name: str = "@task"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        task_id: str,
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        kwargs_to_upstream: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        building = self.__dict__.get("_building")
        if building is not None and not building.from_mapped:
            task_id = get_unique_task_id(task_id, kwargs.get("dag") or building.dag, building.task_group)
        check_function(python_callable)
        args, named = list(op_args or ()), dict(op_kwargs or {})
        self.python_callable = python_callable
        super().__init__(task_id=task_id, **{**(kwargs_to_upstream or {}), **kwargs})
        check_call(python_callable, args, named)
        self.op_args, self.op_kwargs = args, named
        self.inlets.extend(_assets_in([*args, *named.values()]))

    def execute(self, context: Any) -> Any:
        """Let the operator behind do the work; assets in its result become outlets (row 1.091)."""
        result = super().execute(context)
        self.outlets.extend(_assets_in([result]))
        return result

    def get_python_source(self) -> str:
        """Source of the function, without the decorators, dedented."""
        from textwrap import dedent

        lines = dedent(inspect.getsource(self.python_callable)).splitlines(keepends=True)
        start = next((i for i, line in enumerate(lines) if line.startswith(("def ", "async def ", "lambda"))), 0)
        return "".join(lines[start:])


def _assets_in(values: Sequence[Any]) -> Iterator[Any]:
    from trackside.sdk.assets import Asset, AssetAlias, AssetRef

    for value in values:
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, Asset | AssetAlias | AssetRef):
                yield item


def __getattr__(name: str) -> Any:
    if name == "DecoratedMappedOperator":  # a mapped decorated task needs no class of its own here
        from trackside.sdk.mapping import MappedOperator

        return MappedOperator
    raise AttributeError(name)
