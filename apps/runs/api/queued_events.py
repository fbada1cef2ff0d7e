"""REST: news of assets that a consumer has not used yet, by asset and by DAG."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from pydantic import TypeAdapter, ValidationError

from apps.access import audit, policy
from apps.access.rest.errors import bad_request, not_found
from apps.access.rest.fields import moment, text, whole
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import MAX_BIGINT, DateTime, Param
from apps.access.rest.resources import Resource
from apps.runs.assets.models import QueuedAsset

QUEUED = Resource(
    "queued_events",
    fields=(
        text("dag_id"),
        whole("asset_id"),
        moment("created_at", null=False),
        text("dag_display_name", "dag.dag_display_name"),
    ),
)
_BEFORE = Param("before", help="Only what was queued before this moment.")
_ASSET = {"asset_id": int}


def _before(call: Call) -> datetime | None:
    """The moment; anything else is a 400 with a text (sic)."""
    given = call.query["before"]
    if given is None:
        return None
    try:
        return TypeAdapter(DateTime).validate_python(given)
    except ValidationError as e:
        raise bad_request(f"Invalid datetime: {given!r}. Use a moment with a zone, like 2026-01-31T12:00:00Z.") from e


def _rows(call: Call, *, dag_id: str | None = None, asset_id: int | None = None) -> QuerySet[QueuedAsset]:
    rows = QueuedAsset.objects.filter(policy.visible_dags(call.user, "dag")).select_related("dag").order_by("created_at", "id")
    if dag_id is not None:
        rows = rows.filter(dag=dag_id)
    if asset_id is not None:
        rows = rows.filter(asset=asset_id) if abs(asset_id) <= MAX_BIGINT else rows.none()
    before = _before(call)
    return rows if before is None else rows.filter(created_at__lt=before)


def _delete(call: Call, rows: QuerySet[QueuedAsset], what: str) -> None:
    deleted, _ = QueuedAsset.objects.filter(pk__in=list(rows.values_list("pk", flat=True))).delete()
    if not deleted:
        raise not_found(f"Queue event with {what} was not found")
    audit.record("delete_queued_asset_events", call.actor, extra={"of": what, "before": {"waiting": deleted}})


@operation("GET /assets/{asset_id}/queuedEvents", may=("read", "asset"), path=_ASSET, query=(_BEFORE,), returns=QUEUED.list_schema)
def get_asset_queued_events(call: Call, asset_id: int) -> dict[str, Any]:
    """Consumers that have not used the news of an asset."""
    return QUEUED.collection(list(_rows(call, asset_id=asset_id)), call)


@operation("DELETE /assets/{asset_id}/queuedEvents", may=("delete", "asset"), path=_ASSET, query=(_BEFORE,), status=204)
def delete_asset_queued_events(call: Call, asset_id: int) -> None:
    """Have all consumers forget the news of an asset."""
    _delete(call, _rows(call, asset_id=asset_id), f"asset_id: `{asset_id}`")


@operation("GET /dags/{dag_id}/assets/queuedEvents", may=("read", "asset"), query=(_BEFORE,), returns=QUEUED.list_schema)
def get_dag_asset_queued_events(call: Call, dag_id: str) -> dict[str, Any]:
    """Assets whose news a DAG has not used."""
    return QUEUED.collection(list(_rows(call, dag_id=dag_id)), call)


@operation("DELETE /dags/{dag_id}/assets/queuedEvents", may=("delete", "asset"), query=(_BEFORE,), status=204)
def delete_dag_asset_queued_events(call: Call, dag_id: str) -> None:
    """Have a DAG forget what it waits with."""
    _delete(call, _rows(call, dag_id=dag_id), f"dag_id: `{dag_id}`")


@operation("GET /dags/{dag_id}/assets/{asset_id}/queuedEvents", may=("read", "asset"), path=_ASSET, query=(_BEFORE,), returns=QUEUED.schema)
def get_dag_asset_queued_event(call: Call, dag_id: str, asset_id: int) -> dict[str, Any]:
    """Whether a DAG has unused news of an asset."""
    found = _rows(call, dag_id=dag_id, asset_id=asset_id).first()
    if found is None:
        raise not_found(f"Queued event with dag_id: `{dag_id}` and asset_id: `{asset_id}` was not found")
    return QUEUED.one(found, call)


@operation("DELETE /dags/{dag_id}/assets/{asset_id}/queuedEvents", may=("delete", "asset"), path=_ASSET, query=(_BEFORE,), status=204)
def delete_dag_asset_queued_event(call: Call, dag_id: str, asset_id: int) -> None:
    """Have a DAG forget the news of an asset."""
    _delete(call, _rows(call, dag_id=dag_id, asset_id=asset_id), f"dag_id: `{dag_id}` and asset_id: `{asset_id}`")
