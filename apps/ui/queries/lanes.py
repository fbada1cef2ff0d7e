"""Lanes of home: per DAG the runs of the last 24 hours and the planned ones of the next 6, and what is late."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from apps.dags.models import Dag, DagFavorite
from apps.ui import words
from apps.ui.queries import dags as dag_queries
from trackside.core.timetables import DataInterval, from_dict, preview

BACK, AHEAD = timedelta(hours=24), timedelta(hours=6)
SPAN = BACK + AHEAD
LANES = 40
BARS = 160
"""Newest runs of one DAG that are drawn; more would be narrower than a pixel."""
PLANNED = 40
LATE_AFTER = timedelta(seconds=30)
WORST = {"failed": 0, "running": 1, "queued": 2}


@dataclass(slots=True)
class Bar:
    """One run, in per cent of the lane."""

    x: float
    width: float
    state: str
    run_id: str
    text: str


@dataclass(slots=True)
class Lane:
    """One DAG."""

    dag: Dag
    starred: bool
    bars: list[Bar] = field(default_factory=list)
    planned: list[float] = field(default_factory=list)
    failed: int = 0
    last: str = ""

    @property
    def spoken(self) -> str:
        """The lane in words."""
        told = words.plural(len(self.bars), "run")
        if self.failed:
            told += f", {self.failed} failed"
        return f"{told}; {len(self.planned)} planned"


def board(user: Any, now: datetime | None = None) -> dict[str, Any]:
    """Lanes (favourites first, then what fails or runs), ticks and what is late: three statements."""
    now = now or timezone.now()
    stars = set(DagFavorite.objects.filter(user=user).values_list("dag_id", flat=True))
    dags = {d.dag_id: d for d in dag_queries.visible(user).defer("description").order_by("dag_id")[:5000]}
    lanes = {dag_id: Lane(d, dag_id in stars) for dag_id, d in dags.items()}
    recent = [d.dag_id for d in dags.values() if d.last_state or d.dag_id in stars]
    for row in _runs(recent, now):
        _add(lanes[row[0]], row, now)
    planned = [d for d in dags.values() if not d.is_paused and d.next_run_after and d.next_run_after <= now + AHEAD]
    shown = {d.dag_id for d in planned} | {k for k, lane in lanes.items() if lane.bars or lane.starred}
    chosen = sorted((lanes[k] for k in shown), key=lambda lane: (not lane.starred, WORST.get(lane.last, 3), lane.dag.dag_id))[:LANES]
    for lane in chosen:
        if not lane.dag.is_paused:
            lane.planned = [_x(at, now) for at in upcoming(lane.dag, now, now + AHEAD)]
    late = [d for d in planned if d.next_run_after is not None and d.next_run_after < now - LATE_AFTER]
    return {
        "lanes": chosen, "lanes_more": len(shown) - len(chosen), "ticks": _ticks(now), "now_x": _x(now, now),
        "late": sorted(late, key=lambda d: d.next_run_after or now)[:12],
    }  # fmt: skip


_RUNS = """
SELECT d.dag_id, r.run_id, r.state, coalesce(r.start_date, r.queued_at, r.run_after), r.end_date, r.run_after
FROM unnest(%s::text[]) AS d(dag_id) CROSS JOIN LATERAL (
    SELECT * FROM runs_run r WHERE r.dag_id = d.dag_id AND r.run_after >= %s ORDER BY r.run_after DESC, r.id DESC LIMIT %s
) r WHERE coalesce(r.end_date, %s) >= %s ORDER BY r.run_after, r.id
"""


def _runs(dag_ids: list[str], now: datetime) -> list[tuple[Any, ...]]:
    since = now - BACK
    with connection.cursor() as cursor:
        cursor.execute(_RUNS, [dag_ids, since - BACK, BARS, now, since])
        return cursor.fetchall()


def _add(lane: Lane, row: tuple[Any, ...], now: datetime) -> None:
    _, run_id, state, start, end, run_after = row
    if start > now:
        return
    x = _x(start, now)
    text = f"{words.moment(run_after)}, {words.said(state)}"
    lane.bars.append(Bar(x, max(0.35, round(_x(end or now, now) - x, 3)), state, run_id, text))
    lane.failed += state == "failed"
    lane.last = state


def _x(moment: datetime, now: datetime) -> float:
    return round(min(100.0, max(0.0, (moment - (now - BACK)) / SPAN * 100)), 3)


def upcoming(dag: Dag, now: datetime, until: datetime, limit: int = PLANNED) -> list[datetime]:
    """Planned moments of a DAG up to `until`; the first is the catalogue's, late ones stand at now."""
    first = dag.next_run_after
    if first is None or first > until:
        return []
    found = [max(first, now)]
    start, end = dag.next_interval_start, dag.next_interval_end
    last = DataInterval(start, end) if start and end else None
    try:
        runs = preview(from_dict(dag.timetable), max(first, now), limit, last=last, earliest=dag.start_date, latest=dag.end_date)
    except Exception:  # a timetable of a version to come, or of user code: the catalogue's moment is all that is known
        return found
    return found + [r.run_after for r in runs if first < r.run_after <= until]


def _ticks(now: datetime) -> list[tuple[float, str]]:
    """Every six hours of the reader's day."""
    local = now.astimezone(timezone.get_current_timezone())
    at = (local - BACK).replace(minute=0, second=0, microsecond=0)
    at += timedelta(hours=6 - at.hour % 6)
    ticks = []
    while at < local + AHEAD:
        ticks.append((_x(at, now), words.clock(at)))
        at += timedelta(hours=6)
    return ticks
