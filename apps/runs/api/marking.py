"""REST: setting the state of task instances by hand, one by one, by group and in bulk, and their notes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import transaction
from pydantic import field_validator

from apps.access.rest.body import Body, Note
from apps.access.rest.bulk import BULK_SCHEMA, BulkBody, RowBulk, chosen_id, run_row_bulk
from apps.access.rest.errors import Problem, not_found
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import Param
from apps.dags.api.lookups import the_spec
from apps.dags.models import DagVersion
from apps.runs.api.clearing import shown
from apps.runs.api.fields import WireTaskState
from apps.runs.api.lookups import MAX_INT, run_rows, the_run, ti_rows
from apps.runs.api.runs import named
from apps.runs.api.task_instances import TASK_INSTANCES, tasks_of_group
from apps.runs.models import Run, TaskInstance
from trackside.core.spec import DagSpec
from trackside.core.states import TaskState

_ALLOWED = (TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED)


class PatchInstanceBody(Body):
    """What can be changed about a task instance; an empty note deletes it."""

    new_state: WireTaskState | None = None
    note: Note | None = None
    include_upstream: bool = False
    include_downstream: bool = False
    include_future: bool = False
    include_past: bool = False

    @field_validator("new_state", mode="before")
    @classmethod
    def _a_final_state(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("'new_state' should not be empty")
        word = value.lower() if isinstance(value, str) else value
        if word not in [str(s) for s in _ALLOWED]:
            raise ValueError(f"'{value}' is not one of {[str(s) for s in _ALLOWED]}")
        return word


Target = tuple[str, int] | str
MASK = Param("update_mask", many=True, help="Names of the fields to change; unknown names are ignored.")


def _request(call: Call, run: Run, targets: list[Target], body: PatchInstanceBody) -> Any:
    from apps.runs.actions import marking

    return marking.MarkRequest(
        run=run,
        task_ids=targets,
        state=str(body.new_state),
        upstream=body.include_upstream,
        downstream=body.include_downstream,
        future=body.include_future,
        past=body.include_past,
    )


def _instances(call: Call, run: Run, targets: list[Target]) -> list[TaskInstance]:
    wanted = {t if isinstance(t, str) else t[0] for t in targets}
    rows = ti_rows(call).filter(run=run, task_id__in=wanted).order_by("task_id", "map_index")
    exact = {t for t in targets if not isinstance(t, str)}
    return [ti for ti in rows if ti.task_id in targets or (ti.task_id, ti.map_index) in exact]


def _mark(call: Call, run: Run, targets: list[Target], body: PatchInstanceBody, what: str) -> None:
    """Set the state; that nothing has another one is a conflict."""
    from apps.runs.actions import marking

    request = _request(call, run, targets, body)
    if not marking.preview(request):
        raise Problem(409, f"{what} already in {body.new_state} state")
    marking.mark(request, actor=call.actor)


def _patch(call: Call, run: Run, targets: list[Target], *, what: str, mask: list[str] | None = None) -> dict[str, Any]:
    from apps.runs.actions import notes

    body: PatchInstanceBody = call.body
    names = named(body, mask)
    with transaction.atomic():
        tis = _instances(call, run, targets)
        if "new_state" in names:
            _mark(call, run, targets, body, what)
        if "note" in names and body.note is not None:
            notes.set_task_note(tis, body.note, actor=call.actor)
        return shown(call, tis)  # those named; relatives and other runs are changed but not listed, as in Airflow


def _dry_run(call: Call, run: Run, targets: list[Target]) -> dict[str, Any]:
    from apps.runs.actions import marking

    if "new_state" not in call.body.model_fields_set:
        return shown(call, _instances(call, run, targets))
    return shown(call, marking.preview(_request(call, run, targets, call.body)))


def _targets(call: Call, dag_id: str, run_id: str, task_id: str, map_index: int | None) -> tuple[Run, list[Target]]:
    """The task with all its map indexes, or one of them. 404 if the run has no such instance, or the DAG no such task."""
    run = run_rows(call).filter(dag_id=dag_id, run_id=run_id).first()
    rows = TaskInstance.objects.filter(run=run, task_id=task_id) if run is not None else TaskInstance.objects.none()
    if map_index is not None:
        rows = rows.filter(map_index=map_index) if abs(map_index) < MAX_INT else rows.none()
    if run is not None and rows.exists():
        return run, [task_id] if map_index is None else [(task_id, map_index)]
    _, spec = the_spec(call, dag_id)
    if all(t.task_id != task_id for t in spec.tasks):
        raise not_found(f"Task '{task_id}' not found in Dag '{dag_id}'")
    what = f"dag_id: `{dag_id}`, run_id: `{run_id}`, task_id: `{task_id}` and map_index: `{map_index}`"
    raise Problem(404, [f"The Task Instance with {what} was not found"])  # a list here, as in Airflow


_TI = "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}"
_GROUP = "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}"
_QUERY = (Param("map_index", int), MASK)
_RETURNS = TASK_INSTANCES.list_schema


@operation(_TI, may=("edit", "task"), query=_QUERY, body=PatchInstanceBody, returns=_RETURNS)
def patch_task_instance(call: Call, dag_id: str, dag_run_id: str, task_id: str) -> dict[str, Any]:
    """Set the state or the note of a task instance (of a mapped task: of all its instances)."""
    run, targets = _targets(call, dag_id, dag_run_id, task_id, call.query["map_index"])
    return _patch(call, run, targets, what=f"Task id {task_id} is", mask=call.query["update_mask"])


@operation(f"{_TI}/dry_run", may=("edit", "task"), query=_QUERY, body=PatchInstanceBody, returns=_RETURNS)
def patch_task_instance_dry_run(call: Call, dag_id: str, dag_run_id: str, task_id: str) -> dict[str, Any]:
    """What setting the state would change."""
    return _dry_run(call, *_targets(call, dag_id, dag_run_id, task_id, call.query["map_index"]))


@operation(
    f"{_TI}/{{map_index}}",
    may=("edit", "task"),
    query=(MASK,),
    path={"map_index": int},
    body=PatchInstanceBody,
    returns=_RETURNS,
)
def patch_task_instance_by_map_index(call: Call, dag_id: str, dag_run_id: str, task_id: str, map_index: int) -> dict[str, Any]:
    """Set the state or the note of one mapped instance."""
    run, targets = _targets(call, dag_id, dag_run_id, task_id, map_index)
    return _patch(call, run, targets, what=f"Task id {task_id} is", mask=call.query["update_mask"])


@operation(
    f"{_TI}/{{map_index}}/dry_run",
    may=("edit", "task"),
    query=(MASK,),
    path={"map_index": int},
    body=PatchInstanceBody,
    returns=_RETURNS,
)
def patch_task_instance_dry_run_by_map_index(call: Call, dag_id: str, dag_run_id: str, task_id: str, map_index: int) -> dict[str, Any]:
    """What setting the state of one mapped instance would change."""
    return _dry_run(call, *_targets(call, dag_id, dag_run_id, task_id, map_index))


def _group_targets(run: Run, group_id: str) -> list[Target]:
    known = run.dag_version_id or run.dag.current_version_id
    version = DagVersion.objects.filter(pk=known).first() if known is not None else None
    tasks = tasks_of_group(DagSpec.from_dict(version.spec), group_id) if version is not None else None
    if tasks is None:
        raise not_found(f"Task group {group_id} was not found in DAG {run.dag_id}")
    present = set(TaskInstance.objects.filter(run=run, task_id__in=tasks).values_list("task_id", flat=True))
    if not present:
        raise not_found(f"Task group {group_id} has no task instances in run {run.run_id}")
    return [t for t in tasks if t in present]


@operation(_GROUP, may=("edit", "task"), query=(MASK,), body=PatchInstanceBody, returns=_RETURNS)
def patch_task_group_instances(call: Call, dag_id: str, dag_run_id: str, group_id: str) -> dict[str, Any]:
    """Set the state or the note of all instances of a task group."""
    run = the_run(call, dag_id, dag_run_id)
    targets = _group_targets(run, group_id)
    return _patch(call, run, targets, what="All task instances in the group are", mask=call.query["update_mask"])


@operation(f"{_GROUP}/dry_run", may=("edit", "task"), body=PatchInstanceBody, returns=_RETURNS)
def patch_task_group_instances_dry_run(call: Call, dag_id: str, dag_run_id: str, group_id: str) -> dict[str, Any]:
    """What setting the state of a task group would change."""
    run = the_run(call, dag_id, dag_run_id)
    return _dry_run(call, run, _group_targets(run, group_id))


class BulkInstanceBody(PatchInstanceBody):
    """A task instance to change or delete; DAG and run may be named here where the path says `~`."""

    task_id: str
    map_index: int | None = None
    dag_id: str | None = None
    dag_run_id: str | None = None


@operation(
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances",
    may=("edit", "task"),
    body=BulkBody[BulkInstanceBody],
    returns=BULK_SCHEMA,
)
def bulk_task_instances(call: Call, dag_id: str, dag_run_id: str) -> dict[str, Any]:
    """Change and delete task instances in one call; the answer names them `dag.run.task[map index]`."""
    return run_row_bulk(_bulk_kind(call, dag_id, dag_run_id), call.body)


def _bulk_kind(call: Call, path_dag: str, path_run: str) -> RowBulk:
    """Entities are unfolded first: one without a map index means all instances of its task."""

    def key(entity: BulkInstanceBody | str) -> tuple[str, str, str, int | None]:
        if isinstance(entity, str):
            return chosen_id(path_dag, None, "DAG"), chosen_id(path_run, None, "run"), entity, None
        dag_id = chosen_id(path_dag, entity.dag_id, "DAG")
        return dag_id, chosen_id(path_run, entity.dag_run_id, "run"), entity.task_id, entity.map_index

    def find(keys: Collection[Any]) -> dict[Any, list[TaskInstance]]:
        rows = ti_rows(call).filter(dag_id__in={k[0] for k in keys}, run__run_id__in={k[1] for k in keys}, task_id__in={k[2] for k in keys})
        found: dict[Any, list[TaskInstance]] = {k: [] for k in keys}
        for ti in rows.order_by("map_index"):
            for index in (None, ti.map_index):
                if (k := (ti.dag_id, ti.run.run_id, ti.task_id, index)) in found:
                    found[k].append(ti)
        return found

    def update(ti: TaskInstance, entity: BulkInstanceBody, mask: list[str] | None) -> None:
        from apps.runs.actions import notes

        call.require("edit", "task", ti.dag_id)
        names = named(entity, mask)
        if "note" in names and entity.note is not None:
            notes.set_task_note([ti], entity.note, actor=call.actor)
        if "new_state" in names:
            target: Target = (ti.task_id, ti.map_index) if ti.map_index >= 0 else ti.task_id
            _mark(call, ti.run, [target], entity, f"Task id {ti.task_id} is")

    def delete(ti: TaskInstance) -> None:
        from apps.runs.actions import deletion

        call.require("delete", "task", ti.dag_id)
        deletion.delete_task_instance(ti, actor=call.actor)

    return RowBulk(
        "task instances",
        refusal="Task instances are not created in bulk: trigger or clear a run.",
        key=key,
        find=find,
        label=lambda ti: f"{ti.dag_id}.{ti.run.run_id}.{ti.task_id}[{ti.map_index}]",
        update=update,
        delete=delete,
    )
