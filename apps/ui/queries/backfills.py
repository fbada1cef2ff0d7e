"""Backfills of one DAG with the states of their runs."""

from __future__ import annotations

from typing import Any

from django.db.models import Count

from apps.runs.models import Backfill, Run
from apps.ui.queries.runs import STATE_ORDER

SHOWN = 50


def of_dag(dag_id: str) -> list[Backfill]:
    """Newest first, each with `counts` [(run state, number)] and `total`. Two statements."""
    found = list(Backfill.objects.filter(dag_id=dag_id).order_by("-created_at", "-id")[:SHOWN])
    counts: dict[int, list[tuple[str, int]]] = {}
    runs = Run.objects.filter(backfill_id__in=[b.pk for b in found])
    for pk, state, n in runs.values_list("backfill_id", "state").annotate(n=Count("id")):
        counts.setdefault(pk, []).append((state, n))
    for row in found:
        mine: list[Any] = sorted(counts.get(row.pk, []), key=lambda pair: STATE_ORDER.index(pair[0]))
        row.counts, row.total = mine, sum(n for _, n in mine)  # type: ignore[attr-defined]
    return found
