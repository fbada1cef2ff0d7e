"""Assets for pages: the list, one with what makes and reads it, its events."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Prefetch, Q, QuerySet

from apps.access import policy
from apps.dags.models import Asset, AssetUse
from apps.runs.assets.models import AssetEvent
from apps.runs.errors import NotFound

PAGE = 100
EVENTS = 50


def _with_uses(user: Any, rows: QuerySet[Asset]) -> QuerySet[Asset]:
    uses = AssetUse.objects.filter(policy.visible_dags(user, "dag"), dag__is_stale=False).order_by("dag_id", "task_id")
    return rows.prefetch_related(Prefetch("uses", uses, to_attr="shown_uses"))


def listing(user: Any, *, search: str = "", group: str = "", offset: int = 0) -> tuple[list[Asset], int, list[str]]:
    """A page of active assets by name, how many there are, and all groups. Five statements.

    Each has `writers` and `readers` (uses, without those of DAGs that the person may not see) and `last` (newest event).
    """
    rows = Asset.objects.filter(is_active=True)
    groups = sorted({g for g in rows.values_list("group", flat=True).distinct() if g})
    if search:
        rows = rows.filter(Q(name__icontains=search) | Q(uri__icontains=search) | Q(group__icontains=search))
    if group:
        rows = rows.filter(group=group)
    found = list(_with_uses(user, rows).order_by("name", "id")[offset : offset + PAGE])
    newest = AssetEvent.objects.filter(asset__in=found).order_by("asset_id", "-timestamp", "-id").distinct("asset_id")
    last = {e.asset_id: e for e in newest}
    for row in found:
        _split(row)
        row.last = last.get(row.pk)  # type: ignore[attr-defined]
    return found, rows.count(), groups


def _split(row: Any) -> None:
    row.writers = [u for u in row.shown_uses if u.kind == AssetUse.OUTLET]
    row.readers = [u for u in row.shown_uses if u.kind != AssetUse.OUTLET]


def get(user: Any, pk: int) -> Asset:
    """The asset with `writers` and `readers`; raises NotFound. Two statements."""
    row = _with_uses(user, Asset.objects.filter(pk=pk)).prefetch_related("aliases").first()
    if row is None:
        raise NotFound(f"There is no asset {pk}. The list of assets holds those that DAGs refer to.")
    _split(row)
    return row


def events(asset: Asset, before: int | None = None) -> list[AssetEvent]:
    """Newest first, each with the number of runs that it started (`started`). One statement."""
    rows = AssetEvent.objects.filter(asset=asset)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    return list(rows.annotate(started=Count("runs")).order_by("-timestamp", "-id")[:EVENTS])
