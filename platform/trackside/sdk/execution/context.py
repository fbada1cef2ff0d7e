"""The context: everything `execute(context)`, templates and callbacks can name about the running try.

A dict whose expensive entries are worked out when they are first read (`Context.lazy`). Built once per try by
`build_context`; keys that need a logical date exist only in runs that have one, as in Airflow 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from trackside.sdk import macros
from trackside.sdk.assets import BaseAsset
from trackside.sdk.execution.accessors import ConnectionAccessor, VariableAccessor
from trackside.sdk.execution.events import InletEvents, OutletEvents, TriggeringEvents
from trackside.sdk.execution.state_stores import AssetStateStoreAccessors, TaskStateStoreAccessor
from trackside.sdk.plugins import policies
from trackside.sdk.state_store import TaskScope

if TYPE_CHECKING:
    from trackside.sdk.execution.ti import RuntimeTaskInstance


class _Lazy:
    """An entry that has not been read yet."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


class Context(dict[str, Any]):
    """A dict with lazy entries. Copies made with `dict(context)` or `**context` hold the real values."""

    def lazy(self, key: str, make: Callable[[], Any]) -> None:
        """Let `make()` give the value of `key` when it is first read."""
        super().__setitem__(key, _Lazy(make))

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        if isinstance(value, _Lazy):
            value = value.make()
            super().__setitem__(key, value)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """As dict's."""
        return self[key] if key in self else default  # noqa: SIM401 — that would be this method

    def __iter__(self) -> Iterator[str]:
        # overriding this makes dict(context) and **context go through __getitem__
        return super().__iter__()

    def items(self) -> Any:
        """As dict's, with real values."""
        return [(key, self[key]) for key in self]

    def values(self) -> Any:
        """As dict's, with real values."""
        return [self[key] for key in self]

    def pop(self, key: str, *default: Any) -> Any:
        """As dict's."""
        if key in self:
            value = self[key]
            del self[key]
            return value
        return super().pop(key, *default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """As dict's."""
        if key not in self:
            self[key] = default
        return self[key]

    def copy(self) -> Context:
        """A copy in which lazy entries stay lazy."""
        new = Context()
        for key in self:
            dict.__setitem__(new, key, dict.__getitem__(self, key))
        return new

    def __copy__(self) -> Context:
        return self.copy()


def build_context(ti: RuntimeTaskInstance) -> Context:
    """The context of a try."""
    task, run = ti.task, ti.dag_run
    inlets, outlets = task.inlets, task.outlets
    context = Context(
        dag=ti.dag,
        dag_run=run,
        inlets=inlets,
        outlets=outlets,
        inlet_events=InletEvents(inlets, ti.comms),
        outlet_events=OutletEvents(),
        macros=macros,
        map_index_template=getattr(task, "map_index_template", None),
        params=merged_params(ti.dag, task, run.conf),
        run_id=ti.run_id,
        task=task,
        task_instance=ti,
        ti=ti,
        task_instance_key_str=f"{ti.dag_id}__{ti.task_id}__{_date_or_run_id(ti)}",
        task_reschedule_count=ti.order.reschedule_count,
        task_state_store=TaskStateStoreAccessor(ti.comms, TaskScope(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)),
        triggering_asset_events=TriggeringEvents(run.consumed_asset_events),
        partition_key=run.partition_key,
        partition_date=run.partition_date,
        conn=ConnectionAccessor(),
        var={"value": VariableAccessor(False), "json": VariableAccessor(True)},
        expanded_ti_count=ti.order.expanded_ti_count,
        test_mode=False,
    )
    context.lazy("prev_start_date_success", lambda: _previous(ti, "start_date"))
    context.lazy("prev_end_date_success", lambda: _previous(ti, "end_date"))
    if has_assets(inlets, outlets):
        context.lazy("asset_state_store", lambda: AssetStateStoreAccessors(ti.comms, inlets, outlets))
    templates_dict = getattr(task, "templates_dict", None)
    if templates_dict is not None:
        context["templates_dict"] = templates_dict
    if run.logical_date is not None:
        _add_dates(context, ti)
    return context


def _add_dates(context: Context, ti: RuntimeTaskInstance) -> None:
    run = ti.dag_run
    day = run.logical_date
    assert day is not None
    ts = day.isoformat()
    context.update(
        logical_date=day,
        ds=day.strftime("%Y-%m-%d"),
        ds_nodash=day.strftime("%Y%m%d"),
        ts=ts,
        ts_nodash=day.strftime("%Y%m%dT%H%M%S"),
        ts_nodash_with_tz=ts.replace("-", "").replace(":", ""),
        data_interval_start=run.data_interval_start,
        data_interval_end=run.data_interval_end,
    )
    context.lazy("prev_data_interval_start_success", lambda: _previous(ti, "data_interval_start"))
    context.lazy("prev_data_interval_end_success", lambda: _previous(ti, "data_interval_end"))


def has_assets(inlets: Iterable[Any], outlets: Iterable[Any]) -> bool:
    """Whether any asset, alias or reference is among them."""
    return any(isinstance(thing, BaseAsset) for thing in (*inlets, *outlets))


def _date_or_run_id(ti: RuntimeTaskInstance) -> str:
    day = ti.dag_run.logical_date
    return ti.run_id if day is None else day.strftime("%Y%m%d")


def _previous(ti: RuntimeTaskInstance, what: str) -> Any:
    run = ti.previous_success
    return None if run is None else getattr(run, what)


def merged_params(dag: Any, task: Any, conf: dict[str, Any] | None) -> dict[str, Any]:
    """DAG params, overridden by task params, overridden by the run's conf; validated.

    Raises ParamValidationError if a value does not fit its schema.
    """
    from trackside.sdk.param import ParamsDict

    params = ParamsDict()
    for source in (getattr(dag, "params", None), getattr(task, "params", None), conf):
        if source:
            params.update(source)
    return params.validate()


def context_merge(context: dict[str, Any], *args: Any, **kwargs: Any) -> None:
    """`context.update` under the name that operators import."""
    context.update(*args, **kwargs)


def context_to_airflow_vars(context: Any, in_env_var_format: bool = False) -> dict[str, str]:
    """What the environment of the task says about it: `AIRFLOW_CTX_…` names (or `airflow.ctx.…`).

    What the site's `get_airflow_context_vars` adds gets the same prefix if it has none, and never replaces a fact (as in Airflow).
    """
    ti, run, dag = context.get("ti"), context.get("dag_run"), context.get("dag")
    day = getattr(run, "logical_date", None)
    task = context.get("task")
    owner, email = getattr(task, "owner", None), getattr(task, "email", None)
    found = {
        "dag_email": ",".join([email] if isinstance(email, str) else email or ()),
        "dag_owner": owner or ",".join(sorted({t.owner for t in getattr(dag, "tasks", ())})),
        "dag_id": getattr(ti, "dag_id", None),
        "task_id": getattr(ti, "task_id", None),
        "logical_date": day.isoformat() if day is not None else None,
        "try_number": str(ti.try_number) if ti is not None else None,
        "dag_run_id": getattr(run, "run_id", None),
        "team_name": getattr(run, "team_name", None),
    }
    prefix = "AIRFLOW_CTX_" if in_env_var_format else "airflow.ctx."
    named = {
        key if key.startswith(prefix) else prefix + (key.upper() if in_env_var_format else key): value
        for key, value in policies.context_vars(context).items()
    }
    return named | {prefix + (key.upper() if in_env_var_format else key): value for key, value in found.items() if value}


AIRFLOW_VAR_NAME_FORMAT_MAPPING = {
    f"AIRFLOW_CONTEXT_{key}": {"default": f"airflow.ctx.{key.lower()}", "env_var_format": f"AIRFLOW_CTX_{key}"}
    for key in ("DAG_ID", "TASK_ID", "LOGICAL_DATE", "TRY_NUMBER", "DAG_RUN_ID", "DAG_OWNER", "DAG_EMAIL", "TEAM_NAME")
}
"""Names of those facts in both forms."""
