"""REST: runs. Listing, reading, changing state and note, deleting. Next door: `triggering.py`, `clearing.py`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from django.db import transaction
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from pydantic import Field as Constraint

from apps.access.rest.body import Body, Moment, Note
from apps.access.rest.bulk import BULK_SCHEMA, BulkBody, BulkKind, run_bulk
from apps.access.rest.errors import Problem, flaw, invalid
from apps.access.rest.filters import Custom, Equals, Pattern, Range, States
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import Natural, Param
from apps.access.rest.resources import Resource
from apps.dags.api.lookups import check_dag
from apps.runs.api.fields import RUN_FIELDS, attach_versions
from apps.runs.api.lookups import run_not_found, run_rows, the_run
from apps.runs.models import AssetEvent, Run, TaskInstance
from trackside.core.states import RunState, RunType


def _conf_contains(rows: QuerySet[Any], part: str) -> QuerySet[Any]:
    return rows.alias(conf_text=Cast("conf", TextField())).filter(conf_text__icontains=part)


def _with_version(rows: QuerySet[Any], numbers: list[int]) -> QuerySet[Any]:
    runs = TaskInstance.objects.filter(dag_version__number__in=numbers).values("run_id")
    return rows.filter(dag_version__number__in=numbers) | rows.filter(pk__in=runs)


class ByConsumedAsset(Pattern):
    """Runs that news of an asset with such a name started."""

    def narrow(self, rows: QuerySet[Any], values: Mapping[str, Any]) -> QuerySet[Any]:
        if all(values.get(p.name) is None for p in self.params):
            return rows
        return rows.filter(pk__in=super().narrow(AssetEvent.objects.all(), values).values("runs"))


RUNS = Resource(
    "dag_runs",
    rows=run_rows,
    fields=RUN_FIELDS,
    attach=attach_versions,
    cursors=True,
    filters=(
        Range("run_after"),
        Range("logical_date"),
        Range("start_date"),
        Range("end_date"),
        Range("updated_at"),
        Range("partition_date"),
        Range("duration", kind=float),
        Custom(Param("conf_contains"), _conf_contains),
        States("run_type", RunType),
        States("state", RunState),
        Custom(Param("dag_version", int, many=True), _with_version),
        Equals("bundle_version"),
        Pattern("run_id"),
        Pattern("triggering_user_name"),
        Pattern("dag_id", "dag__dag_id"),
        Pattern("partition_key"),
        ByConsumedAsset("consuming_asset", "asset__name"),
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
        "run_type": "run_type",
        "triggering_user_name": "triggering_user_name",
        "partition_key": "partition_key",
    },
    default_order=("id",),
)


@operation("GET /dags/{dag_id}/dagRuns", may=("read", "run"), query=RUNS.query, returns=RUNS.list_schema)
def get_dag_runs(call: Call, dag_id: str) -> dict[str, Any]:
    """List runs of a DAG, `~` for all DAGs."""
    check_dag(call, dag_id)
    rows = run_rows(call)
    return RUNS.page(call, rows if dag_id == "~" else rows.filter(dag_id=dag_id))


_RANGES = ("run_after", "logical_date", "start_date", "end_date")


class RunsBatchBody(Body):
    """Filters of the list, as a body."""

    order_by: str | None = None
    page_offset: Natural = 0
    page_limit: Natural = 100
    dag_ids: list[str] | None = None
    states: list[RunState | None] | None = None
    run_after_gte: Moment | None = None
    run_after_gt: Moment | None = None
    run_after_lte: Moment | None = None
    run_after_lt: Moment | None = None
    logical_date_gte: Moment | None = None
    logical_date_gt: Moment | None = None
    logical_date_lte: Moment | None = None
    logical_date_lt: Moment | None = None
    start_date_gte: Moment | None = None
    start_date_gt: Moment | None = None
    start_date_lte: Moment | None = None
    start_date_lt: Moment | None = None
    end_date_gte: Moment | None = None
    end_date_gt: Moment | None = None
    end_date_lte: Moment | None = None
    end_date_lt: Moment | None = None
    duration_gte: float | None = None
    duration_gt: float | None = None
    duration_lte: float | None = None
    duration_lt: float | None = None
    conf_contains: str | None = None
    partition_key_pattern: str | None = None
    partition_key_prefix_pattern: str | None = None
    partition_date_gte: Moment | None = None
    partition_date_gt: Moment | None = None
    partition_date_lte: Moment | None = None
    partition_date_lt: Moment | None = None


def only_tilde(**parts: str) -> None:
    """Batch operations exist for all DAGs at once only: other ids in the path are a 422."""
    wrong = [flaw(("path", name), "Input should be '~'", "literal_error") for name, value in parts.items() if value != "~"]
    if wrong:
        raise invalid(*wrong)


def batch_values(body: Any) -> dict[str, Any]:
    """Filter values of a batch body, under the names the list operation uses."""
    values = body.model_dump()
    return values | {
        "limit": values["page_limit"],
        "offset": values["page_offset"],
        "order_by": [values["order_by"]] if values["order_by"] else None,
    }


@operation("POST /dags/{dag_id}/dagRuns/list", may=("read", "run"), body=RunsBatchBody, returns=RUNS.list_schema)
def get_list_dag_runs_batch(call: Call, dag_id: str) -> dict[str, Any]:
    """List runs of several DAGs, with filters in the body."""
    only_tilde(dag_id=dag_id)
    rows = run_rows(call)
    if call.body.dag_ids:
        rows = rows.filter(dag_id__in=call.body.dag_ids)
    values = batch_values(call.body)
    values["state"] = [s for s in values["states"] or () if s is not None]
    return RUNS.page(call, rows, values)


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
            return dag_id, entity
        return agreed(dag_id, entity.dag_id, "DAG"), entity.dag_run_id

    def find(entity: BulkRunBody | str) -> Run:
        dag, run_id = key(entity)
        run = run_rows(call).filter(dag_id=dag, run_id=run_id).first()
        if run is None:
            raise run_not_found(dag, run_id)
        return run

    def update(entity: BulkRunBody, mask: list[str] | None) -> None:
        run = find(entity)
        call.require("edit", "run", run.dag_id)
        change_run(call, run, entity, named(entity, mask))

    def delete(entity: BulkRunBody | str) -> None:
        from apps.runs.actions import deletion

        run = find(entity)
        call.require("delete", "run", run.dag_id)
        deletion.delete_run(run, actor=call.actor)

    kind = BulkKind(
        "runs",
        name_of=lambda entity: ".".join(key(entity)),
        existing=lambda entities: _existing(call, entities, key),
        create=_no_creation,
        update=update,
        delete=delete,
    )
    return run_bulk(kind, call.body)


def _existing(call: Call, entities: Any, key: Any) -> set[str]:
    pairs = {key(e) for e in entities}
    rows = run_rows(call).filter(dag_id__in={d for d, _ in pairs}, run_id__in={r for _, r in pairs})
    return {f"{d}.{r}" for d, r in rows.values_list("dag_id", "run_id") if (d, r) in pairs}


def agreed(path_id: str, body_id: str | None, what: str) -> str:
    """The id both say; the body may only name another one where the path says `~`."""
    if path_id != "~":
        if body_id not in (None, path_id, "~"):
            raise Problem(400, f"The body names the {what} {body_id}, the path {path_id}.")
        return path_id
    if body_id in (None, "~"):
        raise Problem(400, f"Name the {what} of each object: the path says ~.")
    return str(body_id)


def _no_creation(entity: Any) -> None:
    raise Problem(405, "Creating is not supported here: use the operation that triggers or clears.")
