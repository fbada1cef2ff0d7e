"""What the planner decides about task instances that no process holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from apps.runs.transitions.statements import CLEAN, END_NOW, Changed, fence, move, statement
from trackside.core.states import TaskState

_SCHEDULE = statement(
    "try_number = ti.try_number + CASE WHEN ti.state IN ('none', 'up_for_retry') THEN 1 ELSE 0 END, "
    f"scheduled_at = %(now)s::timestamptz, next_at = NULL, {CLEAN}"
)
_COMPLETE = statement(
    "try_number = ti.try_number + CASE WHEN ti.state IN ('none', 'up_for_retry') THEN 1 ELSE 0 END, "
    f"start_date = %(now)s::timestamptz, end_date = %(now)s::timestamptz, duration = 0, next_at = NULL, {CLEAN}"
)
_FINAL = statement(f"next_at = NULL, {END_NOW}")
_PLAIN = statement()


def schedule(ids: Sequence[int], now: datetime) -> list[Changed]:
    """May run as soon as limits allow. A new try begins unless a parked one goes on."""
    return move("schedule", _SCHEDULE, now, ids=list(ids)) if ids else []


def complete(ids: Sequence[int], now: datetime) -> list[Changed]:
    """Success without a process: the task has no work."""
    return move("complete", _COMPLETE, now, ids=list(ids)) if ids else []


def skip(ids: Sequence[int], now: datetime) -> list[Changed]:
    """Skipped by a rule or a branch. A queued try among them is fenced."""
    changed = move("skip", _FINAL, now, ids=list(ids)) if ids else []
    fence([c.try_id for c in changed], now, final_state=TaskState.SKIPPED)
    return changed


def upstream_fail(ids: Sequence[int], now: datetime) -> list[Changed]:
    """The trigger rule can no longer be met. A parked try among them is fenced."""
    changed = move("upstream_fail", _FINAL, now, ids=list(ids)) if ids else []
    fence([c.try_id for c in changed], now, final_state=TaskState.UPSTREAM_FAILED)
    return changed


def remove(ids: Sequence[int], now: datetime) -> list[Changed]:
    """The DAG version of the run no longer has this task or index. A parked or queued try among them is fenced."""
    changed = move("remove", _PLAIN, now, ids=list(ids)) if ids else []
    fence([c.try_id for c in changed], now, final_state=TaskState.REMOVED)
    return changed


def restore(ids: Sequence[int], now: datetime) -> list[Changed]:
    """A removed task is back in the DAG."""
    return move("restore", _PLAIN, now, ids=list(ids)) if ids else []
