"""Runs that ended in another system are born ended: no verb moves them, nothing plans them.

For `apps.runs.imports.history`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from apps.runs.models import Run, TaskInstance
from trackside.core.states import FINISHED, RUN_FINISHED, TaskState


def ended_run(state: str, **fields: Any) -> Run:
    """A run as it ended, not stored yet. Raises ValueError for one that has not ended."""
    if state not in RUN_FINISHED:
        raise ValueError(f"a run that is {state or 'without state'} has not ended")
    return Run(state=state, expanded=True, **fields)


def ended_task(state: str | None, **fields: Any) -> TaskInstance:
    """A task instance of such a run, not stored yet; what had not ended with its run counts as removed."""
    return TaskInstance(state=state if state in FINISHED else TaskState.REMOVED if state else TaskState.NONE, **fields)


def store(runs: Iterable[Run], tasks: Iterable[TaskInstance]) -> None:
    """Insert both, in the caller's transaction."""
    Run.objects.bulk_create(runs)
    TaskInstance.objects.bulk_create(tasks, batch_size=1000)
