"""REST: setting the state of task instances by hand, one by one, by group and in bulk, and their notes."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from pydantic import field_validator

from apps.access.rest.body import Body, Note
from apps.access.rest.bulk import BULK_SCHEMA, BulkBody, BulkKind, run_bulk
from apps.access.rest.errors import Problem, not_found
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import Param
from apps.dags.models import DagVersion
from apps.runs.api.clearing import shown
from apps.runs.api.lookups import the_run, ti_rows
from apps.runs.api.runs import agreed, named
from apps.runs.api.task_instances import TASK_INSTANCES, tasks_of_group
from apps.runs.models import Run, TaskInstance
from trackside.core.spec import DagSpec
from trackside.core.states import TaskState

_ALLOWED = (TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED)


class PatchInstanceBody(Body):
    """What can be changed about a task instance; an empty note deletes it."""

    new_state: TaskState | None = None
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


def _refuse_same_state(tis: list[TaskInstance], state: TaskState | None, body: PatchInstanceBody) -> None:
    """Setting the state it has is a conflict, unless other instances are meant too."""
    reaches_further = body.include_upstream or body.include_downstream or body.include_future or body.include_past
    if state is not None and len(tis) == 1 and tis[0].state == state and not reaches_further:
        raise Problem(409, f"Task id {tis[0].task_id} is already in {state} state")


def _patch(call: Call, run: Run, targets: list[Target], *, mask: list[str] | None = None) -> dict[str, Any]:
    from apps.runs.actions import marking, notes

    body: PatchInstanceBody = call.body
    names = named(body, mask)
    with transaction.atomic():
        tis = _instances(call, run, targets)
        if "new_state" in names:
            _refuse_same_state(tis, body.new_state, body)
            marking.mark(_request(call, run, targets, body), actor=call.actor)
        if "note" in names and body.note is not None:
            notes.set_task_note(tis, body.note, actor=call.actor)
        return shown(call, tis)  # those named; relatives and other runs are changed but not listed, as in Airflow


def _dry_run(call: Call, run: Run, targets: list[Target]) -> dict[str, Any]:
    from apps.runs.actions import marking

    if "new_state" not in call.body.model_fields_set:
        return shown(call, _instances(call, run, targets))
    return shown(call, marking.preview(_request(call, run, targets, call.body)))


def _targets(call: Call, run: Run, task_id: str, map_index: int | None) -> list[Target]:
    """The task with all its map indexes, or one of them. 404 if the run has no such instance."""
    rows = TaskInstance.objects.filter(run=run, task_id=task_id)
    if map_index is not None:
        rows = rows.filter(map_index=map_index) if abs(map_index) < 2**31 else rows.none()
    if not rows.exists():
        what = f"dag_id: `{run.dag_id}`, run_id: `{run.run_id}` and task_id: `{task_id}`"
        if map_index is None:
            raise not_found(f"The Task Instance with {what} was not found")
        raise Problem(404, [f"The Mapped Task Instance with {what} and map_index: `{map_index}` was not found"])
    return [task_id] if map_index is None else [(task_id, map_index)]


_TI = "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}"
_GROUP = "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}"
_QUERY = (Param("map_index", int), MASK)
_RETURNS = TASK_INSTANCES.list_schema


@operation(_TI, may=("edit", "task"), query=_QUERY, body=PatchInstanceBody, returns=_RETURNS)
def patch_task_instance(call: Call, dag_id: str, dag_run_id: str, task_id: str) -> dict[str, Any]:
    """Set the state or the note of a task instance (of a mapped task: of all its instances)."""
    run = the_run(call, dag_id, dag_run_id)
    targets = _targets(call, run, task_id, call.query["map_index"])
    return _patch(call, run, targets, mask=call.query["update_mask"])


@operation(f"{_TI}/dry_run", may=("edit", "task"), query=_QUERY, body=PatchInstanceBody, returns=_RETURNS)
def patch_task_instance_dry_run(call: Call, dag_id: str, dag_run_id: str, task_id: str) -> dict[str, Any]:
    """What setting the state would change."""
    run = the_run(call, dag_id, dag_run_id)
    return _dry_run(call, run, _targets(call, run, task_id, call.query["map_index"]))


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
    run = the_run(call, dag_id, dag_run_id)
    return _patch(call, run, _targets(call, run, task_id, map_index), mask=call.query["update_mask"])


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
    run = the_run(call, dag_id, dag_run_id)
    return _dry_run(call, run, _targets(call, run, task_id, map_index))


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
    return _patch(call, run, _group_targets(run, group_id), mask=call.query["update_mask"])


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
    bulk = _BulkInstances(call, dag_id, dag_run_id)
    kind = BulkKind("task instances", bulk.name_of, bulk.existing, bulk.create, bulk.update, bulk.delete)
    return run_bulk(kind, call.body)


class _BulkInstances:
    """The four verbs of `bulk_task_instances`."""

    def __init__(self, call: Call, dag_id: str, run_id: str):
        self.call, self.dag_id, self.run_id = call, dag_id, run_id

    def _key(self, entity: BulkInstanceBody | str) -> tuple[str, str, str, int]:
        if isinstance(entity, str):
            return self.dag_id, self.run_id, entity, -1
        dag_id = agreed(self.dag_id, entity.dag_id, "DAG")
        run_id = agreed(self.run_id, entity.dag_run_id, "run")
        return dag_id, run_id, entity.task_id, -1 if entity.map_index is None else entity.map_index

    def name_of(self, entity: BulkInstanceBody | str) -> str:
        dag_id, run_id, task_id, map_index = self._key(entity)
        return f"{dag_id}.{run_id}.{task_id}[{map_index}]"

    def existing(self, entities: Any) -> set[str]:
        wanted = {self._key(e): self.name_of(e) for e in entities}
        rows = ti_rows(self.call).filter(
            dag_id__in={k[0] for k in wanted},
            run__run_id__in={k[1] for k in wanted},
            task_id__in={k[2] for k in wanted},
        )
        keys = rows.values_list("dag_id", "run__run_id", "task_id", "map_index")
        return {wanted[k] for k in keys if k in wanted}

    def create(self, entity: Any) -> None:
        raise Problem(405, "Task instances cannot be created by hand: trigger or clear a run.")

    def _found(self, entity: BulkInstanceBody | str, action: str) -> TaskInstance:
        dag_id, run_id, task_id, map_index = self._key(entity)
        self.call.require(action, "task", dag_id)
        return ti_rows(self.call).get(dag_id=dag_id, run__run_id=run_id, task_id=task_id, map_index=map_index)

    def update(self, entity: BulkInstanceBody, mask: list[str] | None) -> None:
        from apps.runs.actions import marking, notes

        ti, names = self._found(entity, "edit"), named(entity, mask)
        if "new_state" in names and ti.state != entity.new_state:
            target: Target = (ti.task_id, ti.map_index) if ti.map_index >= 0 else ti.task_id
            marking.mark(_request(self.call, ti.run, [target], entity), actor=self.call.actor)
        if "note" in names and entity.note is not None:
            notes.set_task_note([ti], entity.note, actor=self.call.actor)

    def delete(self, entity: BulkInstanceBody | str) -> None:
        from apps.runs.actions import deletion

        deletion.delete_task_instance(self._found(entity, "delete"), actor=self.call.actor)
