"""REST: clearing. Dry run is the default everywhere, as in Airflow: it lists what would be cleared and changes nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from django.db import transaction
from pydantic import Field, model_validator

from apps.access.rest.body import Body, Moment, Note
from apps.access.rest.errors import bad_request
from apps.access.rest.operations import Call, operation
from apps.access.rest.resources import Resource
from apps.dags.api.lookups import the_dag, timetable_zone
from apps.runs.api.fields import TI_FIELDS, attach_specs
from apps.runs.api.lookups import in_order, run_not_found, run_rows, the_run, ti_rows
from apps.runs.api.runs import RUNS, RunPatchBody, agreed
from apps.runs.api.task_instances import TASK_INSTANCES
from apps.runs.models import Run, TaskInstance

PLAIN_INSTANCES = Resource("task_instances", fields=TI_FIELDS, attach=attach_specs)
"""Collections without cursor fields."""
_NEW = {"type": "object", "properties": {"task_id": {"type": "string"}, "task_display_name": {"type": "string"}}, "required": ["task_id"]}
_DRY_RUN = {
    "type": "object",
    "properties": {
        "task_instances": {"type": "array", "items": {"anyOf": [PLAIN_INSTANCES.schema, _NEW]}},
        "total_entries": {"type": "integer"},
    },
    "required": ["task_instances", "total_entries"],
}
"""What clearing a run answers as a dry run; tasks that would be new have no instance yet."""


class ClearTaskInstancesBody(Body):
    """Which task instances to clear. Without `dag_run_id` it is about all runs of the DAG in the range of logical dates."""

    dry_run: bool = True
    start_date: Moment | None = None
    end_date: Moment | None = None
    only_failed: bool = True
    only_running: bool = False
    reset_dag_runs: bool = True
    task_ids: list[str | tuple[str, int]] | None = None
    dag_run_id: str | None = None
    include_upstream: bool = False
    include_downstream: bool = False
    include_future: bool = False
    include_past: bool = False
    run_on_latest_version: bool | None = None
    prevent_running_task: bool = False
    note: Note | None = None

    @model_validator(mode="before")
    @classmethod
    def _fields_fit_together(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if data.get("only_failed") and data.get("only_running"):
            raise ValueError("only_failed and only_running both are set to True")
        if data.get("dag_run_id") and (data.get("start_date") or data.get("end_date")):
            raise ValueError("Name a run (dag_run_id) or a range of logical dates (start_date, end_date), not both")
        if data.get("task_ids") == []:
            raise ValueError("task_ids list should have at least 1 element.")
        return data

    @model_validator(mode="after")
    def _range_goes_forward(self) -> ClearTaskInstancesBody:
        if self.start_date and self.end_date and self.start_date > self.end_date:
            raise ValueError("end_date is sooner than start_date")
        return self


def shown(call: Call, tis: list[TaskInstance], resource: Resource = TASK_INSTANCES) -> dict[str, Any]:
    """A collection of these task instances, read anew. Those that do not exist yet are only named (dry run of only_new)."""
    answer = resource.collection(in_order([ti.pk for ti in tis if ti.pk], ti_rows(call)), call)
    new = [{"task_id": ti.task_id, "task_display_name": ti.task_display_name or ti.task_id} for ti in tis if not ti.pk]
    answer[resource.name] += new
    answer["total_entries"] += len(new)
    return answer


@operation(
    "POST /dags/{dag_id}/clearTaskInstances",
    may=("edit", "task"),
    body=ClearTaskInstancesBody,
    returns=TASK_INSTANCES.list_schema,
)
def post_clear_task_instances(call: Call, dag_id: str) -> dict[str, Any]:
    """Clear task instances of a run or of several, with what lies up- or downstream, in past or future runs."""
    from apps.runs.actions import clearing, notes

    body: ClearTaskInstancesBody = call.body
    the_dag(call, dag_id)
    runs = None
    if body.dag_run_id is not None:
        runs = [the_run(call, dag_id, body.dag_run_id).pk]
    request = clearing.ClearRequest(
        dag_id=dag_id,
        run_pks=runs,
        task_ids=list(body.task_ids) if body.task_ids is not None else None,
        only_failed=body.only_failed,
        only_running=body.only_running,
        upstream=body.include_upstream,
        downstream=body.include_downstream,
        future=body.include_future,
        past=body.include_past,
        start_date=body.start_date,
        end_date=body.end_date,
        reset_dag_runs=body.reset_dag_runs,
        run_on_latest_version=body.run_on_latest_version,
        prevent_running_task=body.prevent_running_task,
    )
    if body.dry_run:
        return shown(call, clearing.preview(request))
    with transaction.atomic():  # the answer shows the instances as clearing left them
        cleared = clearing.clear(request, actor=call.actor)
        answer = shown(call, cleared)  # without the new note, as in Airflow
        if body.note is not None:
            notes.set_task_note(cleared, body.note, actor=call.actor)
        return answer


class RunClearBody(Body):
    """How to clear a run."""

    dry_run: bool = True
    only_failed: bool = False
    only_new: bool = False
    run_on_latest_version: bool | None = None
    note: Note | None = None

    @model_validator(mode="after")
    def _one_choice(self) -> RunClearBody:
        if self.only_failed and self.only_new:
            raise ValueError("only_failed and only_new are mutually exclusive")
        return self


def _clear(call: Call, run: Run, body: RunClearBody) -> list[TaskInstance]:
    from apps.runs.actions import clearing

    return clearing.clear_run(
        run,
        actor=call.actor,
        only_failed=body.only_failed,
        only_new=body.only_new,
        run_on_latest_version=body.run_on_latest_version,
        note=body.note,
        dry_run=body.dry_run,
    )


@operation(
    "POST /dags/{dag_id}/dagRuns/{dag_run_id}/clear", may=("edit", "run"), body=RunClearBody, returns={"anyOf": [RUNS.schema, _DRY_RUN]}
)
def clear_dag_run(call: Call, dag_id: str, dag_run_id: str) -> dict[str, Any]:
    """Run a run again: all of it, its failed tasks, or the tasks that are new in the DAG."""
    the_dag(call, dag_id)
    run = the_run(call, dag_id, dag_run_id)
    with transaction.atomic():
        cleared = _clear(call, run, call.body)
        if call.body.dry_run:
            return shown(call, cleared, PLAIN_INSTANCES)
        return RUNS.one(the_run(call, dag_id, dag_run_id), call)


class RunToClear(RunPatchBody):
    """Names a run. State and note may be sent, as in other bulk calls, and mean nothing here."""

    dag_run_id: str
    dag_id: str | None = None


class ClearRunsBody(RunClearBody):
    """Several runs of the DAG, named or chosen by partition."""

    dag_runs: list[RunToClear] = Field(default_factory=list)
    partition_key: str | None = None
    partition_date_start: datetime | None = None
    partition_date_end: datetime | None = None

    @model_validator(mode="after")
    def _one_selection(self) -> ClearRunsBody:
        dates = self.partition_date_start is not None or self.partition_date_end is not None
        if sum((bool(self.dag_runs), self.partition_key is not None, dates)) != 1:
            raise ValueError(
                "Name either dag_runs, or partition_key, or days (partition_date_start, partition_date_end): exactly one of them"
            )
        if self.partition_date_start and self.partition_date_end and self.partition_date_start > self.partition_date_end:
            raise ValueError("partition_date_start must be on or before partition_date_end")
        return self


@operation("POST /dags/{dag_id}/clearDagRuns", may=("edit", "run"), body=ClearRunsBody, returns={"anyOf": [RUNS.list_schema, _DRY_RUN]})
def clear_dag_runs(call: Call, dag_id: str) -> dict[str, Any]:
    """Run several runs again; `~` in the path when they are of several DAGs."""
    body: ClearRunsBody = call.body
    runs = _named_runs(call, dag_id, body.dag_runs) if body.dag_runs else runs_of_partitions(call, dag_id, body)
    for run in runs:
        call.require("edit", "run", run.dag_id)
    with transaction.atomic():
        cleared = [ti for run in runs for ti in _clear(call, run, body)]
        if body.dry_run:
            return shown(call, cleared, PLAIN_INSTANCES)
        return RUNS.collection(in_order([run.pk for run in runs], run_rows(call)), call)


def _named_runs(call: Call, dag_id: str, named: list[RunToClear]) -> list[Run]:
    keys = list(dict.fromkeys((agreed(dag_id, r.dag_id, "DAG"), r.dag_run_id) for r in named))
    if dag_id != "~":
        the_dag(call, dag_id)
    rows = run_rows(call).filter(dag_id__in={d for d, _ in keys}, run_id__in={r for _, r in keys})
    found = {(run.dag_id, run.run_id): run for run in rows}
    for key in keys:
        if key not in found:
            raise run_not_found(*key)
    return [found[key] for key in keys]


class Partitions(Protocol):
    """A body that chooses runs by their partition: one key, or days."""

    partition_key: str | None
    partition_date_start: datetime | None
    partition_date_end: datetime | None


def runs_of_partitions(call: Call, dag_id: str, body: Partitions) -> list[Run]:
    """The runs of a DAG whose partition a body chooses, oldest partition first."""
    if dag_id == "~":
        raise bad_request("Partition selectors require a concrete dag_id; '~' is not supported.")
    dag = the_dag(call, dag_id)
    rows = run_rows(call).filter(dag_id=dag_id)
    if body.partition_key is not None:
        rows = rows.filter(partition_key=body.partition_key)
    else:
        zone = timetable_zone(dag)
        if body.partition_date_start:
            rows = rows.filter(partition_date__gte=_in_zone(body.partition_date_start, zone))
        if body.partition_date_end:
            rows = rows.filter(partition_date__lte=_in_zone(body.partition_date_end, zone))
        rows = rows.filter(partition_date__isnull=False)
    return list(rows.order_by("partition_date", "run_id"))


def _in_zone(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)
