"""REST: backfills."""

from __future__ import annotations

from typing import Any, Literal

from django.db.models import QuerySet

from apps.access import policy
from apps.access.rest.body import Body, Moment, SmallInt
from apps.access.rest.errors import not_found
from apps.access.rest.fields import anything, flag, listed, moment, schema_of, text, whole
from apps.access.rest.filters import Equals
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import MAX_BIGINT, Param
from apps.access.rest.resources import Resource
from apps.runs.backfills.models import REPROCESS, Backfill

_ID = {"backfill_id": int}


class _OfDag(Equals):
    """`dag_id`, which has to be there (Airflow's rule)."""

    def __init__(self) -> None:
        super().__init__("dag_id")
        self.params = (Param("dag_id", required=True),)


def _rows(call: Call) -> QuerySet[Backfill]:
    return Backfill.objects.filter(policy.visible_dags(call.user, "dag")).select_related("dag")


BACKFILLS = Resource(
    "backfills",
    rows=_rows,
    fields=(
        whole("id"),
        text("dag_id"),
        moment("from_date", null=False),
        moment("to_date", null=False),
        anything("dag_run_conf"),
        flag("is_paused"),
        text("reprocess_behavior", words=REPROCESS),
        whole("max_active_runs"),
        moment("created_at", null=False),
        moment("completed_at"),
        moment("updated_at", null=False),
        text("dag_display_name", "dag.dag_display_name"),
    ),
    filters=(_OfDag(),),
    orders={"id": "id"},
    default_order=("id",),
)
_SLOT = (moment("logical_date", "info.logical_date"), text("partition_key", null=True), moment("partition_date"))
_PREVIEW = Resource("backfills", fields=_SLOT)
_PREVIEW_SCHEMA = schema_of((listed("backfills", _SLOT), whole("total_entries")))


class BackfillBody(Body):
    """What to backfill."""

    dag_id: str
    from_date: Moment
    to_date: Moment
    run_backwards: bool = False
    dag_run_conf: dict[str, Any] | None = None
    reprocess_behavior: Literal["none", "failed", "completed"] = "none"
    max_active_runs: SmallInt = 10
    run_on_latest_version: bool | None = None


def _shown(call: Call, backfill_id: int) -> dict[str, Any]:
    row = _rows(call).filter(pk=backfill_id).first() if abs(backfill_id) <= MAX_BIGINT else None
    if row is None:
        raise not_found("Backfill not found")
    return BACKFILLS.one(row, call)


def _request(call: Call) -> Any:
    from apps.runs.backfills.actions import Request

    return Request(**call.body.model_dump())


@operation("GET /backfills", may=("read", "backfill"), query=BACKFILLS.query, returns=BACKFILLS.list_schema, filtered=True)
def list_backfills(call: Call) -> dict[str, Any]:
    """List the backfills of a DAG."""
    return BACKFILLS.page(call)


@operation("POST /backfills", may=("create", "backfill"), body=BackfillBody, returns=BACKFILLS.schema)
def create_backfill(call: Call) -> dict[str, Any]:
    """Create a backfill and its runs."""
    from apps.runs.backfills import actions

    return _shown(call, actions.create(_request(call), actor=call.actor).pk)


@operation("POST /backfills/dry_run", may=("create", "backfill"), body=BackfillBody, returns=_PREVIEW_SCHEMA)
def create_backfill_dry_run(call: Call) -> dict[str, Any]:
    """The runs that a backfill would make."""
    from apps.runs.backfills import actions

    return _PREVIEW.collection(actions.preview(_request(call)), call)


@operation("GET /backfills/{backfill_id}", may=("read", "backfill"), path=_ID, returns=BACKFILLS.schema, filtered=True)
def get_backfill(call: Call, backfill_id: int) -> dict[str, Any]:
    """One backfill."""
    return _shown(call, backfill_id)


@operation("PUT /backfills/{backfill_id}/pause", may=("edit", "backfill"), path=_ID, returns=BACKFILLS.schema)
def pause_backfill(call: Call, backfill_id: int) -> dict[str, Any]:
    """Let no further run of it begin."""
    from apps.runs.backfills import actions

    _shown(call, backfill_id)
    actions.set_paused(backfill_id, True, actor=call.actor)
    return _shown(call, backfill_id)


@operation("PUT /backfills/{backfill_id}/unpause", may=("edit", "backfill"), path=_ID, returns=BACKFILLS.schema)
def unpause_backfill(call: Call, backfill_id: int) -> dict[str, Any]:
    """Let its runs begin again."""
    from apps.runs.backfills import actions

    _shown(call, backfill_id)
    actions.set_paused(backfill_id, False, actor=call.actor)
    return _shown(call, backfill_id)


@operation("PUT /backfills/{backfill_id}/cancel", may=("edit", "backfill"), path=_ID, returns=BACKFILLS.schema)
def cancel_backfill(call: Call, backfill_id: int) -> dict[str, Any]:
    """End it: what has not begun fails."""
    from apps.runs.backfills import actions

    _shown(call, backfill_id)
    actions.cancel(backfill_id, actor=call.actor)
    return _shown(call, backfill_id)
