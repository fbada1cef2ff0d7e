"""REST: task instances. Listing, reading, deleting. Next door: `tries.py`, `marking.py`, `clearing.py`."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from apps.access.rest.batches import BatchBody, batch_values, with_ranges
from apps.access.rest.errors import Problem, bad_request, not_found
from apps.access.rest.filters import Equals, Pattern, Range, States
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import Param
from apps.access.rest.resources import Resource
from apps.dags.api.lookups import check_dag, the_spec
from apps.runs.api.fields import TI_FIELDS, WireTaskState, attach_specs
from apps.runs.api.lookups import listed_tis, run_not_found, the_run, the_ti
from apps.runs.api.runs import only_tilde
from apps.runs.models import Run, TaskInstance
from trackside.core.states import TaskState

_STATES = [s for s in TaskState if s != TaskState.NONE]
_FILTERS = (
    Range("run_after", "run__run_after"),
    Range("logical_date", "run__logical_date"),
    Range("start_date", open_end=True),
    Range("end_date", open_end=True),
    Range("updated_at"),
    Range("duration", kind=float),
    States("state", _STATES, none=TaskState.NONE),
    Equals("pool", many=True),
    Pattern("pool_name", "pool"),
    Equals("queue", many=True),
    Pattern("queue_name", "queue"),
    Equals("executor", many=True),
    Equals("version_number", "dag_version__number", int, many=True),
    Equals("try_number", kind=int, many=True),
    Equals("operator", many=True),
    Pattern("operator_name", "operator"),
    Equals("map_index", kind=int, many=True),
    Pattern("rendered_map_index"),
)
"""Filters of every list of task instances."""

_ORDERS: dict[str, str | tuple[str, ...]] = {
    "id": "id",
    "state": "state",
    "duration": "duration",
    "start_date": "start_date",
    "end_date": "end_date",
    "map_index": "map_index",
    "try_number": "try_number",
    "logical_date": "run__logical_date",
    "run_after": "run__run_after",
    "data_interval_start": "run__data_interval_start",
    "data_interval_end": "run__data_interval_end",
    "rendered_map_index": ("rendered_map_index", "map_index"),
    "operator": "operator",
}

TASK_INSTANCES = Resource(
    "task_instances",
    fields=TI_FIELDS,
    attach=attach_specs,
    cursors=True,
    filters=(
        Equals("task_id"),
        Pattern("task_display_name"),
        Pattern("dag_id"),
        Pattern("run_id", "run__run_id"),
        *_FILTERS,
    ),
    orders=_ORDERS,
    default_order=("map_index",),
)
MAPPED_INSTANCES = Resource(
    "task_instances",
    fields=TI_FIELDS,
    attach=attach_specs,
    cursors=True,
    filters=_FILTERS,
    orders=_ORDERS,
    default_order=("map_index",),
)
MAPPED_QUERY = tuple(p for p in MAPPED_INSTANCES.query if p.name != "cursor")

_GROUP = Param("task_group_id", help="Only tasks of this group, with the groups inside it.")


def _in_group(call: Call, dag_id: str, group_id: str) -> list[str]:
    """Ids of the tasks in a group."""
    if dag_id == "~":
        raise bad_request("task_group_id needs one DAG, not ~")
    _, spec = the_spec(call, dag_id)
    tasks = tasks_of_group(spec, group_id)
    if tasks is None:
        raise Problem(404, {"reason": "not_found", "message": f"Task group {group_id} not found"})
    return tasks


def tasks_of_group(spec: Any, group_id: str) -> list[str] | None:
    """Ids of all tasks below a group, None if there is no such group."""
    parents = {g.group_id: g.parent_id for g in spec.groups}
    if group_id not in parents:
        return None

    def inside(group: str | None) -> bool:
        while group is not None and group != group_id:
            group = parents.get(group)
        return group is not None

    return [t.task_id for t in spec.tasks if inside(t.group_id)]


@operation(
    "GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances",
    may=("read", "task"),
    query=(*TASK_INSTANCES.query, _GROUP),
    returns=TASK_INSTANCES.list_schema,
)
def get_task_instances(call: Call, dag_id: str, dag_run_id: str) -> dict[str, Any]:
    """List task instances of a run; `~` for all runs, or all runs of all DAGs."""
    rows = listed_tis(call)
    if dag_run_id != "~":
        if dag_id == "~":
            raise bad_request("dag_id is required when dag_run_id is specified")
        rows = rows.filter(run=the_run(call, dag_id, dag_run_id))
    elif dag_id != "~":
        check_dag(call, dag_id)
        rows = rows.filter(run__dag_id=dag_id)
    if (group := call.query["task_group_id"]) is not None:
        rows = rows.filter(task_id__in=_in_group(call, dag_id, group))
    return TASK_INSTANCES.page(call, rows)


class _InstancesBatch(BatchBody):
    dag_ids: list[str] | None = None
    dag_run_ids: list[str] | None = None
    task_ids: list[str] | None = None
    state: list[WireTaskState | None] | None = None
    pool: list[str] | None = None
    queue: list[str] | None = None
    executor: list[str] | None = None


INSTANCES_BATCH = Resource(
    "task_instances",
    fields=TI_FIELDS,
    attach=attach_specs,
    cursors=True,
    filters=(
        Range("run_after", "run__run_after"),
        Range("logical_date", "run__logical_date"),
        Range("start_date"),
        Range("end_date"),
        Range("duration", kind=float),
        States("state", _STATES, none=TaskState.NONE),
        *(Equals(name, many=True) for name in ("pool", "queue", "executor")),
    ),
    orders={name: _ORDERS[name] for name in ("id", "state", "duration", "start_date", "end_date", "map_index")},
    default_order=("id",),
)
"""The list that takes its filters from a body."""

InstancesBatchBody = with_ranges(_InstancesBatch, "InstancesBatchBody", INSTANCES_BATCH.filters)


@operation(
    "POST /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list",
    may=("read", "task"),
    body=InstancesBatchBody,
    returns=TASK_INSTANCES.list_schema,
)
def get_task_instances_batch(call: Call, dag_id: str, dag_run_id: str) -> dict[str, Any]:
    """List task instances of several DAGs and runs, with filters in the body."""
    only_tilde(dag_id=dag_id, dag_run_id=dag_run_id)
    body: Any = call.body
    rows = listed_tis(call)
    for column, wanted in (("dag_id", body.dag_ids), ("run__run_id", body.dag_run_ids), ("task_id", body.task_ids)):
        if wanted:
            rows = rows.filter(**{f"{column}__in": wanted})
    return INSTANCES_BATCH.page(call, rows, batch_values(body))


@operation(
    "GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}",
    may=("read", "task"),
    returns=TASK_INSTANCES.schema,
)
def get_task_instance(call: Call, dag_id: str, dag_run_id: str, task_id: str) -> dict[str, Any]:
    """One task instance; mapped ones are asked for with their map index."""
    return TASK_INSTANCES.one(the_ti(call, dag_id, dag_run_id, task_id), call)


@operation(
    "GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}",
    may=("read", "task"),
    path={"map_index": int},
    returns=TASK_INSTANCES.schema,
)
def get_mapped_task_instance(call: Call, dag_id: str, dag_run_id: str, task_id: str, map_index: int) -> dict[str, Any]:
    """One task instance by its map index."""
    return TASK_INSTANCES.one(the_ti(call, dag_id, dag_run_id, task_id, map_index), call)


@operation(
    "GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/listMapped",
    may=("read", "task"),
    query=MAPPED_QUERY,
    returns=MAPPED_INSTANCES.list_schema,
)
def get_mapped_task_instances(call: Call, dag_id: str, dag_run_id: str, task_id: str) -> dict[str, Any]:
    """List the instances of a mapped task."""
    rows: QuerySet[TaskInstance] = listed_tis(call).filter(run__dag_id=dag_id, run__run_id=dag_run_id, task_id=task_id)
    rows = rows.filter(map_index__gte=0)
    if not rows.exists():
        _explain_no_mapped(call, dag_id, dag_run_id, task_id)
    return MAPPED_INSTANCES.page(call, rows)


def _explain_no_mapped(call: Call, dag_id: str, run_id: str, task_id: str) -> None:
    """An expanded task may have no instances; anything else without is a 404."""
    dag, spec = the_spec(call, dag_id)
    if not Run.objects.filter(dag=dag, run_id=run_id).exists():
        raise run_not_found(dag_id, run_id)
    task = next((t for t in spec.tasks if t.task_id == task_id), None)
    if task is None:
        raise not_found(f"Task id {task_id} not found")
    if not task.mapped and task.mapped_group_id is None:
        raise not_found(f"Task id {task_id} is not mapped")


@operation(
    "DELETE /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}",
    may=("delete", "task"),
    query=(Param("map_index", int, -1),),
)
def delete_task_instance(call: Call, dag_id: str, dag_run_id: str, task_id: str) -> None:
    """Delete one task instance that is not running."""
    from apps.runs.actions import deletion

    ti = the_ti(call, dag_id, dag_run_id, task_id, call.query["map_index"])
    deletion.delete_task_instance(ti, actor=call.actor)
