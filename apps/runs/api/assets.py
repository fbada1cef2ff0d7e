"""REST: assets, their aliases, and running the DAG that makes one. Next door: `asset_events.py`, `queued_events.py`."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Prefetch, QuerySet

from apps.access import policy
from apps.access.rest.body import Body, Moment
from apps.access.rest.errors import Problem, not_found
from apps.access.rest.fields import anything, constant, listed, moment, nested, text, whole
from apps.access.rest.filters import Custom, Pattern
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import MAX_BIGINT, Param
from apps.access.rest.resources import Resource
from apps.dags.models import Asset, AssetAlias, AssetUse
from apps.runs.api.lookups import the_run
from apps.runs.api.runs import RUNS
from apps.runs.assets.models import AssetEvent
from trackside.core.states import RunType

ALIAS_FIELDS = (whole("id"), text("name"), text("group"))
_TIMES = (moment("created_at", null=False), moment("updated_at", null=False))
_TASK = (text("dag_id"), text("task_id"), *_TIMES)
_WATCHER = (text("name", lambda w: w["name"]), constant("trigger_id"), constant("created_date"))

ASSET_FIELDS = (
    whole("id"),
    text("name"),
    text("uri"),
    text("group"),
    anything("extra"),
    moment("created_at", null=False),
    moment("updated_at", null=False),
    listed("scheduled_dags", (text("dag_id"), *_TIMES), lambda a: _used(a, AssetUse.SCHEDULE)),
    listed("producing_tasks", _TASK, lambda a: _used(a, AssetUse.OUTLET)),
    listed("consuming_tasks", _TASK, lambda a: _used(a, AssetUse.INLET)),
    listed("aliases", ALIAS_FIELDS, lambda a: a.aliases.all()),
    listed("watchers", _WATCHER),
    nested("last_asset_event", (whole("id"), moment("timestamp")), "last_event"),
)


def _used(asset: Any, kind: str) -> list[AssetUse]:
    return [use for use in asset.shown_uses if use.kind == kind]


def _attach_last(rows: list[Any], call: Call) -> None:
    """The newest event of each asset, one query for a page."""
    events = AssetEvent.objects.filter(asset__in=rows).order_by("asset_id", "-timestamp", "-id").distinct("asset_id")
    last = {e.asset_id: e for e in events.only("id", "timestamp", "asset_id")}
    for row in rows:
        row.last_event = last.get(row.pk)


def _rows(call: Call) -> QuerySet[Asset]:
    uses = AssetUse.objects.filter(policy.visible_dags(call.user, "dag"), dag__is_stale=False).order_by("dag_id", "task_id")
    return Asset.objects.prefetch_related(Prefetch("uses", uses, to_attr="shown_uses"), "aliases")


def _by_dags(rows: QuerySet[Any], dag_ids: list[str]) -> QuerySet[Any]:
    return rows.filter(pk__in=AssetUse.objects.filter(dag__in=dag_ids, asset__isnull=False).values("asset"))


ASSETS = Resource(
    "assets",
    rows=_rows,
    fields=ASSET_FIELDS,
    attach=_attach_last,
    filters=(
        Pattern("name"),
        Pattern("uri"),
        Custom(Param("dag_ids", many=True), _by_dags),
        Custom(Param("only_active", bool, True), lambda rows, wanted: rows.filter(is_active=True) if wanted else rows),
    ),
    orders={"id": "id", "name": "name", "uri": "uri", "created_at": "created_at", "updated_at": "updated_at"},
    default_order=("id",),
)
ALIASES = Resource(
    "asset_aliases",
    rows=lambda call: AssetAlias.objects.all(),
    fields=ALIAS_FIELDS,
    filters=(Pattern("name"),),
    orders={"id": "id", "name": "name"},
    default_order=("id",),
)


def the_asset(rows: QuerySet[Asset], asset_id: int) -> Asset:
    """The asset a path names, or the 404 that says it is not there."""
    asset = rows.filter(pk=asset_id).first() if abs(asset_id) <= MAX_BIGINT else None
    if asset is None:
        raise not_found(f"The Asset with ID: `{asset_id}` was not found")
    return asset


@operation("GET /assets", may=("read", "asset"), query=ASSETS.query, returns=ASSETS.list_schema)
def get_assets(call: Call) -> dict[str, Any]:
    """List assets; those that nothing refers to only with only_active=false."""
    return ASSETS.page(call)


@operation("GET /assets/aliases", may=("read", "asset"), query=ALIASES.query, returns=ALIASES.list_schema)
def get_asset_aliases(call: Call) -> dict[str, Any]:
    """List aliases."""
    return ALIASES.page(call)


@operation("GET /assets/aliases/{asset_alias_id}", may=("read", "asset"), path={"asset_alias_id": int}, returns=ALIASES.schema)
def get_asset_alias(call: Call, asset_alias_id: int) -> dict[str, Any]:
    """One alias."""
    alias = AssetAlias.objects.filter(pk=asset_alias_id).first() if abs(asset_alias_id) <= MAX_BIGINT else None
    if alias is None:
        raise not_found(f"The Asset Alias with ID: `{asset_alias_id}` was not found")
    return ALIASES.one(alias, call)


@operation("GET /assets/{asset_id}", may=("read", "asset"), path={"asset_id": int}, returns=ASSETS.schema)
def get_asset(call: Call, asset_id: int) -> dict[str, Any]:
    """One asset."""
    return ASSETS.one(the_asset(_rows(call), asset_id), call)


class MaterializeBody(Body):
    """How to run the DAG that makes the asset."""

    dag_run_id: str | None = None
    data_interval_start: Moment | None = None
    data_interval_end: Moment | None = None
    logical_date: Moment | None = None
    run_after: Moment | None = None
    conf: dict[str, Any] | None = None
    note: str | None = None
    partition_key: str | None = None


@operation(
    "POST /assets/{asset_id}/materialize",
    may=("create", "asset"),
    path={"asset_id": int},
    body=MaterializeBody,
    body_optional=True,
    returns=RUNS.schema,
)
def materialize_asset(call: Call, asset_id: int) -> dict[str, Any]:
    """Run the one DAG that has a task which writes the asset."""
    from apps.runs.actions import creation

    the_asset(Asset.objects.all(), asset_id)
    makers = AssetUse.objects.filter(asset=asset_id, kind=AssetUse.OUTLET, dag__is_stale=False).values_list("dag_id", flat=True)
    found = list(makers.distinct().order_by("dag_id")[:2])
    if not found:
        raise not_found(f"No DAG materializes asset with ID: {asset_id}")
    if len(found) > 1:
        raise Problem(409, f"More than one DAG materializes asset with ID: {asset_id}")
    call.require("trigger", "run", found[0])
    body: MaterializeBody = call.body or MaterializeBody()
    start, end = body.data_interval_start, body.data_interval_end
    with transaction.atomic():  # the answer shows the run queued, as it was made
        run = creation.trigger(
            found[0],
            actor=call.actor,
            run_id=body.dag_run_id or None,
            logical_date=body.logical_date,
            data_interval=(start, end) if start is not None and end is not None else None,
            run_after=body.run_after,
            conf=body.conf,
            note=body.note,
            partition_key=body.partition_key,
            run_type=RunType.ASSET_MATERIALIZATION,
        )
        return RUNS.one(the_run(call, found[0], run.run_id), call)
