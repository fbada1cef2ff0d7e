"""REST: the tries of a task instance: those that ended, and the current one (which is the instance itself)."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

from apps.access.rest.errors import Problem
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import Param
from apps.access.rest.resources import Resource
from apps.runs.api.fields import TRY_FIELDS, attach_specs
from apps.runs.api.lookups import the_ti, ti_not_found
from apps.runs.models import TaskInstance, Try
from trackside.core.states import TRY_ENDED, TaskState

TRIES = Resource("task_instances", fields=TRY_FIELDS, attach=attach_specs)
_MAP_INDEX = Param("map_index", int, -1)
_KEPT = (
    "max_tries",
    "pool",
    "pool_slots",
    "queue",
    "priority_weight",
    "operator",
    "task_display_name",
    "unixname",
    "executor",
)


def _moment(value: Any) -> Any:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _past(ended: Try, ti: TaskInstance) -> SimpleNamespace:
    """A try that ended, in the form of an instance: what its snapshot kept, else what the instance says now."""
    kept = ended.snapshot or {}
    return SimpleNamespace(
        **{name: kept.get(name, getattr(ti, name)) for name in _KEPT},
        scheduled_at=_moment(kept.get("scheduled_at")) or ended.queued_at,
        task_id=ti.task_id,
        dag_id=ti.dag_id,
        run=ti.run,
        map_index=ti.map_index,
        dag_version=ended.dag_version or ti.dag_version,
        start_date=ended.start_date,
        end_date=ended.end_date,
        duration=ended.duration,
        state=ended.final_state or kept.get("state") or str(ended.state),
        try_number=ended.number,
        hostname=ended.hostname,
        queued_at=ended.queued_at,
        pid=ended.pid,
    )


def tries_of(ti: TaskInstance) -> list[Any]:
    """Oldest first; an instance between two tries has none that is current."""
    rows = Try.objects.filter(ti=ti, state__in=TRY_ENDED).exclude(pk=ti.try_id).order_by("number")
    rows = rows.select_related("dag_version__dag").defer("dag_version__spec", "dag_version__source")
    past: list[Any] = [_past(t, ti) for t in rows]
    if ti.state != TaskState.UP_FOR_RETRY or not past:
        past.append(ti)
    return past


def _all(call: Call, ti: TaskInstance) -> dict[str, Any]:
    return TRIES.collection(tries_of(ti), call)


def _one(call: Call, ti: TaskInstance, number: int) -> dict[str, Any]:
    for row in reversed(tries_of(ti)):
        if row.try_number == number:
            return TRIES.one(row, call)
    raise _no_such_try(ti, number)


def _no_such_try(ti: TaskInstance, number: int) -> Problem:
    problem = ti_not_found(ti.dag_id, ti.run.run_id, ti.task_id, ti.map_index)
    return Problem(404, f"{problem.detail}: it has no try {number}")


_BASE = "GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}"


@operation(f"{_BASE}/tries", may=("read", "task"), query=(_MAP_INDEX,), returns=TRIES.list_schema)
def get_task_instance_tries(call: Call, dag_id: str, dag_run_id: str, task_id: str) -> dict[str, Any]:
    """List the tries of a task instance."""
    return _all(call, the_ti(call, dag_id, dag_run_id, task_id, call.query["map_index"]))


@operation(f"{_BASE}/{{map_index}}/tries", may=("read", "task"), path={"map_index": int}, returns=TRIES.list_schema)
def get_mapped_task_instance_tries(call: Call, dag_id: str, dag_run_id: str, task_id: str, map_index: int) -> dict[str, Any]:
    """List the tries of a mapped task instance."""
    return _all(call, the_ti(call, dag_id, dag_run_id, task_id, map_index))


@operation(
    f"{_BASE}/tries/{{task_try_number}}",
    may=("read", "task"),
    query=(_MAP_INDEX,),
    path={"task_try_number": int},
    returns=TRIES.schema,
)
def get_task_instance_try_details(call: Call, dag_id: str, dag_run_id: str, task_id: str, task_try_number: int) -> dict[str, Any]:
    """One try."""
    return _one(call, the_ti(call, dag_id, dag_run_id, task_id, call.query["map_index"]), task_try_number)


@operation(
    f"{_BASE}/{{map_index}}/tries/{{task_try_number}}",
    may=("read", "task"),
    path={"map_index": int, "task_try_number": int},
    returns=TRIES.schema,
)
def get_mapped_task_instance_try_details(
    call: Call, dag_id: str, dag_run_id: str, task_id: str, map_index: int, task_try_number: int
) -> dict[str, Any]:
    """One try of a mapped task instance."""
    return _one(call, the_ti(call, dag_id, dag_run_id, task_id, map_index), task_try_number)
