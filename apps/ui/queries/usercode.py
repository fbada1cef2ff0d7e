"""What a run page says about user code outside of tries: deadlines, and callbacks with what became of them."""

from __future__ import annotations

from apps.runs.models import Deadline, Errand, Run

SHOWN = 20


def deadlines(run: Run) -> list[Deadline]:
    """Missed ones and those to come, by time."""
    return list(Deadline.objects.filter(run=run).order_by("deadline_time")[:SHOWN])


def callbacks(run: Run) -> list[Errand]:
    """Callbacks and listeners of the run, newest first."""
    return list(Errand.objects.filter(run=run).exclude(kind="deadline").order_by("-id")[:SHOWN])
