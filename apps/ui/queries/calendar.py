"""A DAG's runs per day for a quarter back, and the planned ones of the days to come."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from django.db import connection
from django.utils import timezone

from apps.dags.models import Dag
from apps.ui import words
from apps.ui.queries.lanes import upcoming

WEEKS_BACK, WEEKS_AHEAD = 13, 2
PLANNED = 1_000
"""Moments looked ahead; a schedule that is denser is shown for the days that are known whole."""


@dataclass(slots=True)
class Day:
    """One day in the reader's zone."""

    day: date
    counts: list[tuple[str, int]] = field(default_factory=list)
    planned: int = 0

    @property
    def state(self) -> str:
        """The state that stands for the day; empty when nothing ran."""
        return words.worst({s for s, _ in self.counts}) if self.counts else ""

    @property
    def text(self) -> str:
        """`3 success, 1 failed; 2 planned`."""
        told = ", ".join(f"{words.number(n)} {words.said(s)}" for s, n in self.counts)
        return "; ".join(t for t in (told, f"{self.planned} planned" if self.planned else "") if t)


def weeks(dag: Dag, now: datetime | None = None) -> list[list[Day]]:
    """Weeks from Monday, oldest first: one statement."""
    now = now or timezone.now()
    zone = timezone.get_current_timezone()
    today = now.astimezone(zone).date()
    first = today - timedelta(days=today.weekday() + 7 * (WEEKS_BACK - 1))
    days = {first + timedelta(days=k): Day(first + timedelta(days=k)) for k in range(7 * (WEEKS_BACK + WEEKS_AHEAD))}
    begin = datetime.combine(first, datetime.min.time(), zone)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (run_after AT TIME ZONE %s)::date, state, count(*) FROM runs_run WHERE dag_id = %s AND run_after >= %s "
            "GROUP BY 1, 2 ORDER BY 1, 2",
            [str(zone), dag.dag_id, begin],
        )
        for day, state, count in cursor.fetchall():
            if day in days:
                days[day].counts.append((state, count))
    if not dag.is_paused:
        until = begin + timedelta(days=7 * (WEEKS_BACK + WEEKS_AHEAD))
        moments = upcoming(dag, now, until, PLANNED)
        cut = moments[-1].astimezone(zone).date() if len(moments) > PLANNED else None
        for moment in moments:
            if (day := moment.astimezone(zone).date()) in days and day != cut:
                days[day].planned += 1
    ordered = list(days.values())
    return [ordered[k : k + 7] for k in range(0, len(ordered), 7)]
