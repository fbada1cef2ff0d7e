"""How a DAG's last runs went: durations, waits, failures, and the tasks that take most of the time. Three statements."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection

from apps.runs.models import Run
from apps.ui import words

RUNS = 100
TASKS = 25
CUT = 5.0
"""Bars longer than this many medians are cut, or one hung run would flatten all others."""
RECENT = 10
HEIGHT, PAD = 160, 14
"""Pixels of the longest bar, and above it for notches and the axis."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One run; its places in per cent of the width and in pixels of the height."""

    run_id: str
    state: str
    at: datetime
    wait: float
    """Seconds from queued to started."""
    took: float | None
    """Seconds from start to end; None before its end."""
    x: float = 0.0
    width: float = 0.0
    wait_y: float = 0.0
    wait_height: float = 0.0
    took_y: float = 0.0
    took_height: float = 0.0
    notch_y: float = 0.0
    cut: bool = False


def runs(dag_id: str) -> list[Bar]:
    """The last runs that have started, oldest first. One statement."""
    columns = ("run_id", "state", "run_after", "queued_at", "start_date", "end_date")
    rows = Run.objects.filter(dag_id=dag_id, start_date__isnull=False).order_by("-run_after", "-id").values_list(*columns)[:RUNS]
    return [
        Bar(
            run_id, state, at, max(0.0, (start - queued).total_seconds()) if queued else 0.0, (end - start).total_seconds() if end else None
        )
        for run_id, state, at, queued, start, end in reversed(rows)
    ]


def chart(found: list[Bar]) -> dict[str, Any]:
    """Bars with their geometry (the wait below, the run on top of it), the line of the median and marks of the axis."""
    ended = [b for b in found if b.took is not None]
    done = [b.wait + (b.took or 0.0) for b in ended if b.state == "success"] or [b.wait + (b.took or 0.0) for b in ended]
    usual = words.usual(done)
    totals = [b.wait + (b.took or 0.0) for b in found]
    top = max(totals, default=0.0) or 1.0
    if usual:
        top = min(top, max(CUT * usual, usual + 1.0))
    scale, floor = HEIGHT / top, PAD + HEIGHT
    slot = 100 / max(len(found), 20)
    drawn = []
    for k, bar in enumerate(found):
        wait = min(bar.wait, top)
        wait_height = round(wait * scale, 1)
        took_height = max(1.5, round(min(bar.took or 0.0, top - wait) * scale, 1))
        took_y = round(floor - wait_height - took_height, 1)
        drawn.append(
            replace(bar, x=round(k * slot, 3), width=round(slot * 0.78, 3), wait_y=round(floor - wait_height, 1), wait_height=wait_height,
                    took_y=took_y, took_height=took_height, notch_y=took_y - 4, cut=totals[k] > top * 1.001)
        )  # fmt: skip
    marks = [(round(floor - share * HEIGHT, 1), words.duration(top * share)) for share in (0.5, 1.0)]
    return {
        "bars": drawn, "usual": usual, "usual_y": round(floor - min(usual * scale, HEIGHT), 1) if usual else None, "height": floor,
        "marks": [{"y": y, "text_y": y - 3, "text": text} for y, text in marks], "cut": top if any(b.cut for b in drawn) else None,
    }  # fmt: skip


def numbers(found: list[Bar]) -> dict[str, Any]:
    """Success rate, and how the newest runs compare with those before."""
    ended = [b for b in found if b.state in ("success", "failed")]
    good = [b for b in ended if b.state == "success"]
    took = [b.took for b in good if b.took is not None]
    newest, before = took[-RECENT:], took[:-RECENT]
    usual, was = words.usual(newest), words.usual(before)
    change = (usual / was - 1) * 100 if usual and was and len(before) >= RECENT else None
    return {
        "ended": len(ended), "failed": len(ended) - len(good), "rate": round(100 * len(good) / len(ended)) if ended else None,
        "usual": words.usual(took), "longest": max(took, default=None), "waits": words.usual([b.wait for b in found]),
        "change": round(change) if change is not None else None,
    }  # fmt: skip


def tasks(dag_id: str) -> list[dict[str, Any]]:
    """Tasks of those runs by the time they took together, with their share of it. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH chosen AS (
                SELECT id FROM runs_run WHERE dag_id = %s AND start_date IS NOT NULL ORDER BY run_after DESC, id DESC LIMIT %s)
            SELECT task_id, sum(took), percentile_cont(0.5) WITHIN GROUP (ORDER BY took), max(took),
                   percentile_cont(0.5) WITHIN GROUP (ORDER BY waited), count(*), count(*) FILTER (WHERE state = 'failed'),
                   sum(sum(took)) OVER (), count(*) OVER ()
            FROM (SELECT task_id, state, extract(epoch FROM end_date - start_date)::float AS took,
                         greatest(0, extract(epoch FROM start_date - queued_at))::float AS waited
                  FROM runs_taskinstance WHERE run_id IN (SELECT id FROM chosen) AND start_date IS NOT NULL AND end_date IS NOT NULL) AS ti
            GROUP BY task_id ORDER BY sum(took) DESC NULLS LAST, task_id LIMIT %s
            """,
            [dag_id, RUNS, TASKS],
        )
        rows = cursor.fetchall()
    names = ("task_id", "sum", "usual", "longest", "waits", "count", "failed", "all", "number")
    found = [dict(zip(names, row, strict=True)) for row in rows]
    for line in found:
        line["share"] = round(100 * line["sum"] / line["all"], 1) if line["all"] else 0.0
    return found
