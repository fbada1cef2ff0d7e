"""Why is a run not done: the chain from a last task that has not ended well back to the task that holds everything up."""

from __future__ import annotations

from collections.abc import Sequence

from apps.ui.queries.runs import TaskLine
from apps.ui.queries.structure import Structure

DONE = frozenset({"success", "skipped", "removed"})
BLAME = (
    "failed", "awaiting_input", "up_for_retry", "restarting", "running", "queued", "scheduled", "deferred", "up_for_reschedule",
    "upstream_failed", "none",
)  # fmt: skip
"""What is most likely the cause, first."""
SHOWN = 12


def chain(lines: Sequence[TaskLine], structure: Structure | None, since: str | None = None) -> list[TaskLine]:
    """From the last task (or the task `since`) back to the root cause; empty when every last task ended well.

    Long chains lose their middle. Of several last tasks and of several causes the most telling one is followed.
    """
    by_id = {line.task_id: line for line in lines}
    if structure is None:
        return []
    up: dict[str, list[str]] = {}
    has_down = set()
    for a, b in structure.edges:
        if a in by_id and b in by_id:
            up.setdefault(b, []).append(a)
            has_down.add(a)
    open_ends = [line for line in lines if line.task_id not in has_down and line.state not in DONE]
    if not open_ends:
        return []
    found = [by_id[since] if since in by_id else min(open_ends, key=_blame)]
    while causes := [by_id[u] for u in up.get(found[-1].task_id, ()) if by_id[u].state not in DONE]:
        found.append(min(causes, key=_blame))
    return found if len(found) <= SHOWN else [*found[: SHOWN // 2], *found[-SHOWN // 2 :]]


def _blame(line: TaskLine) -> int:
    return BLAME.index(line.state) if line.state in BLAME else len(BLAME)
