"""Lanes of home: per DAG the runs of the last 24 hours and the planned ones of the next 6, and what is late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from html import escape
from typing import Any
from urllib.parse import quote

from django.db import connection
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from apps.dags.models import Dag, DagFavorite
from apps.ui import words
from apps.ui.queries import dags as dag_queries
from apps.ui.queries.newest import Newest, newest
from trackside.core.timetables import DataInterval, from_dict, preview

BACK, AHEAD = timedelta(hours=24), timedelta(hours=6)
SPAN = BACK + AHEAD
LANES = 40
BARS = 160
"""Newest runs of one DAG that are drawn; more would be narrower than a pixel."""
PLANNED = 40
LATE = 12
LATE_AFTER = timedelta(seconds=30)
SAFE = "!$&'()*+,;=:@~"
"""What `reverse` leaves as it is in a run id, but for the slash."""
WORST = {"failed": 0, "running": 1, "queued": 2}


@dataclass(slots=True)
class Bar:
    """One run, in per cent of the lane."""

    x: float
    width: float
    state: str
    run_id: str
    text: str

    def drawn(self, base: str) -> str:
        """The bar as a link below `base`. Home has hundreds: written by hand, a quarter of its time less than by a template."""
        where = f'x="{self.x}%" y="5" width="{self.width}%" height="14"'
        tip = f'data-s="{words.glyph(self.state)}" data-tip="{escape(self.text)}"'
        return f'<a href="{base}{escape(quote(self.run_id, safe=SAFE))}" tabindex="-1"><rect {tip} {where}/></a>'


@dataclass(slots=True)
class Lane:
    """One DAG."""

    dag: Dag
    starred: bool
    bars: list[Bar] = field(default_factory=list)
    planned: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def drawn(self) -> SafeString:
        """Its runs and planned runs."""
        base = escape(reverse("dag", args=[self.dag.dag_id])) + "/runs/"
        bars = "".join(bar.drawn(base) for bar in self.bars)
        return mark_safe(bars + "".join(f'<rect class="plan" x="{x}%" y="7" width="3" height="10"/>' for x in self.planned))  # noqa: S308

    @property
    def spoken(self) -> str:
        """The lane in words."""
        parts = [words.plural(len(self.bars), "run")]
        if self.failed:
            parts.append(_("%(n)s failed") % {"n": self.failed})
        return ", ".join(parts) + "; " + _("%(n)s planned") % {"n": len(self.planned)}


def look(user: Any, now: datetime) -> dict[str, Newest]:
    """The DAGs with what lanes want to know of each."""
    return newest(user, now, now - BACK, now + AHEAD)


def board(user: Any, now: datetime | None = None, known: dict[str, Newest] | None = None) -> dict[str, Any]:
    """Lanes (favourites first, then what fails or runs), ticks and what is late: three statements more than those for `known`.

    Which DAGs have a lane is judged by a few columns of all of them; only those that are shown become objects with bars.
    """
    now = now or timezone.now()
    stars = set(DagFavorite.objects.filter(user=user).values_list("dag_id", flat=True))
    known = look(user, now) if known is None else known
    last = {d.dag_id: d.state for d in known.values() if d.lately}
    planned = {d.dag_id: d.due for d in known.values() if d.due}
    shown = planned.keys() | last.keys() | (stars & known.keys())
    chosen = sorted(shown, key=lambda k: (k not in stars, WORST.get(last.get(k, ""), 3), k))[:LANES]
    late = sorted((k for k, after in planned.items() if after < now - LATE_AFTER), key=lambda k: planned[k])[:LATE]
    dags = {d.dag_id: d for d in dag_queries.visible(user).filter(dag_id__in={*chosen, *late}).defer("description")}
    lanes = {k: Lane(dags[k], k in stars) for k in chosen if k in dags}
    moment = cache(words.moment)  # many DAGs run at the same moments
    for row in _runs(list(lanes), now):
        _add(lanes[row[0]], row, now, moment)
    for lane in lanes.values():
        if not lane.dag.is_paused:
            lane.planned = [_x(at, now) for at in upcoming(lane.dag, now, now + AHEAD)]
    return {
        "lanes": list(lanes.values()), "lanes_more": len(shown) - len(chosen), "ticks": _ticks(now), "now_x": _x(now, now),
        "late": [dags[k] for k in late if k in dags],
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


def _add(lane: Lane, row: tuple[Any, ...], now: datetime, moment: Callable[[datetime], str]) -> None:
    _dag_id, run_id, state, start, end, run_after = row
    if start > now:
        return
    x = _x(start, now)
    text = f"{moment(run_after)}, {words.said(state)}"
    lane.bars.append(Bar(x, max(0.35, round(_x(end or now, now) - x, 3)), state, run_id, text))
    lane.failed += state == "failed"


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
