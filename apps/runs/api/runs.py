"""REST: runs. Listing, reading, changing state and note, deleting. Next door: `triggering.py`, `clearing.py`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Any

from django.db import transaction
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast
from pydantic import Field as Constraint

from apps.access.rest.batches import BatchBody, batch_values, with_ranges
from apps.access.rest.body import Body, Note
from apps.access.rest.bulk import BULK_SCHEMA, BulkBody, RowBulk, chosen_id, run_row_bulk
from apps.access.rest.errors import Problem, bad_request, flaw, invalid
from apps.access.rest.filters import Custom, Declared, Equals, Pattern, Range, States
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import Param
from apps.access.rest.resources import Resource
from apps.dags.api.dags import is_partitioned
from apps.dags.api.lookups import check_dag, the_dag, timetable_zone
from apps.runs.api.fields import RUN_FIELDS, attach_versions
from apps.runs.api.lookups import listed_runs, run_rows, the_run
from apps.runs.models import AssetEvent, Run, TaskInstance
from trackside.core.states import RunState, RunType


def _conf_contains(rows: QuerySet[Any], part: str) -> QuerySet[Any]:
    return rows.alias(conf_text=Cast("conf", TextField())).filter(conf_text__icontains=part)


def _with_version(rows: QuerySet[Any], numbers: list[int]) -> QuerySet[Any]:
    runs = TaskInstance.objects.filter(dag_version__number__in=numbers).values("run_id")
    return rows.filter(dag_version__number__in=numbers) | rows.filter(pk__in=runs)


def _by_asset(rows: QuerySet[Any], part: str) -> QuerySet[Any]:
    """Runs that news of an asset with such a name or URI started."""
    if not part:
        return rows
    named = Q(asset__name__icontains=part) | Q(asset__uri__icontains=part)
    return rows.filter(pk__in=AssetEvent.objects.filter(named).values("runs"))


_PARTITION_DAYS = (
    Param("partition_date_gte", date, help="First day, in the time zone of the DAG's timetable."),
    Param("partition_date_lte", date, help="Last day, in the time zone of the DAG's timetable."),
)


RUNS = Resource(
    "dag_runs",
    rows=listed_runs,
    fields=RUN_FIELDS,
    attach=attach_versions,
    cursors=True,
    filters=(
        Range("run_after"),
        Range("logical_date"),
        Range("start_date", open_end=True),
        Range("end_date", open_end=True),
        Range("updated_at"),
        Declared(*_PARTITION_DAYS),
        Range("duration", kind=float),
        Custom(Param("conf_contains"), _conf_contains),
        States("run_type", RunType),
        States("state", RunState),
        Custom(Param("dag_version", int, many=True), _with_version),
        Equals("bundle_version"),
        Pattern("run_id"),
        Pattern("triggering_user_name"),
        Pattern("dag_id", "dag__dag_id"),
        Pattern("partition_key", alternatives=False),
        Custom(Param("consuming_asset_pattern", help="Part of the name or URI of an asset, any case, nothing is a wildcard."), _by_asset),
    ),
    orders={
        "id": "id",
        "run_id": "run_id",
        "dag_run_id": "run_id",
        "dag_id": "dag_id",
        "state": "state",
        "run_after": "run_after",
        "logical_date": "logical_date",
        "start_date": "start_date",
        "end_date": "end_date",
        "updated_at": "updated_at",
        "duration": "duration",
        "conf": "conf",
        "partition_date": "partition_date",
    },
    default_order=("id",),
)


@operation("GET /dags/{dag_id}/dagRuns", may=("read", "run"), query=RUNS.query, returns=RUNS.list_schema)
def get_dag_runs(call: Call, dag_id: str) -> dict[str, Any]:
    """List runs of a DAG, `~` for all DAGs."""
    check_dag(call, dag_id)
    rows = listed_runs(call)
    return RUNS.page(call, _of_days(call, dag_id, rows if dag_id == "~" else rows.filter(dag_id=dag_id)))


def _of_days(call: Call, dag_id: str, rows: QuerySet[Any]) -> QuerySet[Any]:
    """`rows` whose partition lies in the days asked for; only partitioned DAGs have such."""
    first, last = call.query["partition_date_gte"], call.query["partition_date_lte"]
    if first is None and last is None:
        return rows
    if dag_id == "~":
        raise bad_request("partition_date_gte and partition_date_lte require a specific dag_id.")
    dag = the_dag(call, dag_id)
    if not is_partitioned(dag):
        raise bad_request(f"Dag with dag_id: '{dag_id}' is not partitioned; partition_date_gte and partition_date_lte are not supported.")
    zone = timetable_zone(dag)
    if first is not None:
        rows = rows.filter(partition_date__gte=datetime.combine(first, time.min, zone))
    if last is not None:
        rows = rows.filter(partition_date__lt=datetime.combine(last + timedelta(days=1), time.min, zone))
    return rows


class _RunsBatch(BatchBody):
    dag_ids: list[str] | None = None
    states: list[RunState | None] | None = None
    conf_contains: str | None = None


RUNS_BATCH = Resource(
    "dag_runs",
    fields=RUN_FIELDS,
    attach=attach_versions,
    cursors=True,
    filters=(
        *(Range(name) for name in ("run_after", "logical_date", "start_date", "end_date")),
        Range("duration", kind=float),
        Custom(Param("conf_contains"), _conf_contains),
        States("state", RunState),
    ),
    orders={name: column for name, column in RUNS.orders.items() if name not in ("duration", "partition_date")},
    default_order=("id",),
)
"""The list that takes its filters from a body."""

RunsBatchBody = with_ranges(_RunsBatch, "RunsBatchBody", RUNS_BATCH.filters)


def only_tilde(**parts: str) -> None:
    """Batch operations exist for all DAGs at once only: other ids in the path are a 422."""
    wrong = [flaw(("path", name), "Input should be '~'", "literal_error") for name, value in parts.items() if value != "~"]
    if wrong:
        raise invalid(*wrong)


@operation("POST /dags/{dag_id}/dagRuns/list", may=("read", "run"), body=RunsBatchBody, returns=RUNS.list_schema)
def get_list_dag_runs_batch(call: Call, dag_id: str) -> dict[str, Any]:
    """List runs of several DAGs, with filters in the body."""
    only_tilde(dag_id=dag_id)
    rows = listed_runs(call)
    if call.body.dag_ids:
        rows = rows.filter(dag_id__in=call.body.dag_ids)
    values = batch_values(call.body)
    return RUNS_BATCH.page(call, rows, values | {"state": values["states"]})


@operation("GET /dags/{dag_id}/dagRuns/{dag_run_id}", may=("read", "run"), returns=RUNS.schema)
def get_dag_run(call: Call, dag_id: str, dag_run_id: str) -> dict[str, Any]:
    """One run."""
    return RUNS.one(the_run(call, dag_id, dag_run_id), call)


class RunPatchState(StrEnum):
    """States a person may give a run."""

    QUEUED = "queued"
    SUCCESS = "success"
    FAILED = "failed"


class RunPatchBody(Body):
    """What can be changed about a run; an empty note deletes it."""

    state: RunPatchState | None = None
    note: Note | None = None


def change_run(call: Call, run: Run, body: RunPatchBody, names: set[str]) -> None:
    """Apply the named fields of the body."""
    from apps.runs.actions import marking, notes

    if "state" in names and body.state is not None:
        marking.mark_run(run, RunState(body.state.value), actor=call.actor)
    if "note" in names:
        notes.set_run_note(run, body.note, actor=call.actor)


MASK = Param("update_mask", many=True, help="Names of the fields to change; unknown names are ignored.")


def named(body: Body, mask: list[str] | None) -> set[str]:
    """Fields that were sent and that the mask lets through."""
    return set(body.model_fields_set) if mask is None else set(body.model_fields_set) & set(mask)


@operation(
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}",
    may=("edit", "run"),
    query=(MASK,),
    body=RunPatchBody,
    returns=RUNS.schema,
)
def patch_dag_run(call: Call, dag_id: str, dag_run_id: str) -> dict[str, Any]:
    """Set a run's state by hand, or its note."""
    with transaction.atomic():  # the answer shows the run as the change left it, before anybody goes on with it
        change_run(call, the_run(call, dag_id, dag_run_id), call.body, named(call.body, call.query["update_mask"]))
        return RUNS.one(the_run(call, dag_id, dag_run_id), call)


@operation("DELETE /dags/{dag_id}/dagRuns/{dag_run_id}", may=("delete", "run"), status=204)
def delete_dag_run(call: Call, dag_id: str, dag_run_id: str) -> None:
    """Delete a run that is not running, with everything below it."""
    from apps.runs.actions import deletion

    deletion.delete_run(the_run(call, dag_id, dag_run_id), actor=call.actor)


class BulkRunBody(RunPatchBody):
    """A run to change or delete; its DAG may be named here when the path says `~`."""

    dag_run_id: Annotated[str, Constraint(min_length=1)]
    dag_id: str | None = None


@operation("PATCH /dags/{dag_id}/dagRuns", may=("edit", "run"), body=BulkBody[BulkRunBody], returns=BULK_SCHEMA)
def bulk_dag_runs(call: Call, dag_id: str) -> dict[str, Any]:
    """Change and delete runs in one call; the answer names them `dag.run`."""

    def key(entity: BulkRunBody | str) -> tuple[str, str]:
        if isinstance(entity, str):
            return chosen_id(dag_id, None, "DAG"), entity
        return chosen_id(dag_id, entity.dag_id, "DAG"), entity.dag_run_id

    def find(keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Run]]:
        rows = run_rows(call).filter(dag_id__in={d for d, _ in keys}, run_id__in={r for _, r in keys})
        found = {(run.dag_id, run.run_id): [run] for run in rows}
        return {k: found[k] for k in keys if k in found}

    def update(run: Run, entity: BulkRunBody, mask: list[str] | None) -> None:
        call.require("edit", "run", run.dag_id)
        names = named(entity, mask)
        change_run(call, run, entity, names if entity.note is not None else names - {"note"})

    def delete(run: Run) -> None:
        from apps.runs.actions import deletion

        call.require("delete", "run", run.dag_id)
        deletion.delete_run(run, actor=call.actor)

    kind = RowBulk(
        "runs",
        refusal="Runs are not created in bulk: use the operation that triggers.",
        key=key,
        find=find,
        label=lambda run: f"{run.dag_id}.{run.run_id}",
        update=update,
        delete=delete,
    )
    return run_row_bulk(kind, call.body)


def agreed(path_id: str, body_id: str | None, what: str) -> str:
    """The id both say; the body may only name another one where the path says `~`."""
    if path_id != "~":
        if body_id not in (None, path_id, "~"):
            raise Problem(400, f"The body names the {what} {body_id}, the path {path_id}.")
        return path_id
    if body_id in (None, "~"):
        raise Problem(400, f"Name the {what} of each object: the path says ~.")
    return str(body_id)
