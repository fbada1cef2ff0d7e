"""REST: what happened to assets, which of it made a run, and making it happen by hand."""

from __future__ import annotations

from typing import Annotated, Any

from django.db import transaction
from django.db.models import QuerySet
from pydantic import Field as Constraint

from apps.access import audit
from apps.access.rest.body import Body
from apps.access.rest.fields import anything, constant, listed, moment, text, whole
from apps.access.rest.filters import Equals, Pattern, Range
from apps.access.rest.operations import Call, operation
from apps.access.rest.resources import Resource
from apps.dags.models import Asset
from apps.runs import sql
from apps.runs.actions import trail
from apps.runs.api.assets import the_asset
from apps.runs.api.lookups import the_run
from apps.runs.assets import events
from apps.runs.assets.models import AssetEvent
from apps.runs.models import Run

_RUN_FIELDS = (
    text("run_id"),
    text("dag_id"),
    moment("logical_date"),
    moment("start_date"),
    moment("end_date"),
    text("state"),
    moment("data_interval_start"),
    moment("data_interval_end"),
    text("partition_key", null=True),
    constant("triggering", True),
)
EVENT_FIELDS = (
    whole("id"),
    whole("asset_id"),
    text("uri", "asset.uri", null=True),
    text("name", "asset.name", null=True),
    text("group", "asset.group", null=True),
    anything("extra"),
    text("source_task_id", null=True),
    text("source_dag_id", null=True),
    text("source_run_id", null=True),
    whole("source_map_index"),
    listed("created_dagruns", _RUN_FIELDS, "shown_runs"),
    moment("timestamp", null=False),
    text("partition_key", null=True),
)
_BIG = Annotated[int, Constraint(ge=-(2**63), le=2**63 - 1)]
_INT = Annotated[int, Constraint(ge=-(2**31), le=2**31 - 1)]


def _attach_runs(rows: list[Any], call: Call) -> None:
    """Runs that the events of a page made, in two queries."""
    model = AssetEvent.runs.through
    pairs = list(model.objects.filter(assetevent__in=rows).order_by("run_id").values_list("assetevent_id", "run_id"))
    runs = Run.objects.defer("conf", "note").in_bulk([run for _, run in pairs])
    for row in rows:
        row.shown_runs = [runs[run] for event, run in pairs if event == row.pk and run in runs]


def _rows(call: Call) -> QuerySet[AssetEvent]:
    return AssetEvent.objects.select_related("asset")


EVENTS = Resource(
    "asset_events",
    rows=_rows,
    fields=EVENT_FIELDS,
    attach=_attach_runs,
    filters=(
        Equals("asset_id", kind=_BIG),
        Equals("source_dag_id"),
        Equals("source_task_id"),
        Equals("source_run_id"),
        Equals("source_map_index", kind=_INT),
        Pattern("name", "asset__name"),
        Range("timestamp"),
    ),
    orders={
        "timestamp": "timestamp",
        "source_dag_id": "source_dag_id",
        "source_task_id": "source_task_id",
        "source_run_id": "source_run_id",
        "source_map_index": "source_map_index",
    },
    default_order=("timestamp",),
)


@operation("GET /assets/events", may=("read", "asset"), query=EVENTS.query, returns=EVENTS.list_schema)
def get_asset_events(call: Call) -> dict[str, Any]:
    """List events of all assets."""
    return EVENTS.page(call)


class EventAccess(Body):
    """Whose DAGs may use an event."""

    consumer_teams: list[str] | None = None
    allow_global: bool = True


class EventBody(Body):
    """News of an asset that come from outside."""

    asset_id: _BIG
    extra: dict[str, Any] = Constraint(default_factory=dict)
    partition_key: Annotated[str, Constraint(pattern=r"\S", max_length=250)] | None = None
    access_control: EventAccess | None = None


@operation("POST /assets/events", may=("create", "asset"), body=EventBody, returns=EVENTS.schema)
def create_asset_event(call: Call) -> dict[str, Any]:
    """Say that an asset has news; DAGs that wait for it start."""
    body: EventBody = call.body
    asset = the_asset(Asset.objects.all(), body.asset_id)
    sent = "extra" in body.model_fields_set
    extra = {**body.extra, "from_rest_api": True} if sent else {}  # no extra, no mark: as in Airflow
    with transaction.atomic():
        pk = events.by_hand(asset, extra, body.partition_key, sql.now())
        after = {"extra": trail.conf_of(extra), "partition_key": body.partition_key}
        audit.record("create_asset_event", call.actor, object_type="asset", object_id=str(asset.pk), extra={"after": after})
        return EVENTS.one(_rows(call).get(pk=pk), call)


@operation("GET /dags/{dag_id}/dagRuns/{dag_run_id}/upstreamAssetEvents", may=("read", "run"), returns=EVENTS.list_schema)
def get_upstream_asset_events(call: Call, dag_id: str, dag_run_id: str) -> dict[str, Any]:
    """The events that made a run."""
    run = the_run(call, dag_id, dag_run_id)
    return EVENTS.collection(list(_rows(call).filter(runs=run).order_by("timestamp", "id")), call)
