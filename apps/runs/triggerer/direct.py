"""Tasks that begin in the triggerer (`start_from_trigger`): deferred where they would have been scheduled, without a worker.

For `brain`. Only tasks that are not mapped: what a mapped one waits for is known to its process alone, so those begin on a worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from apps.runs import transitions
from apps.runs.transitions import Changed, End
from apps.runs.triggerer import rows
from trackside.core.snapshot import CompiledDag
from trackside.core.spec import TaskSpec
from trackside.runner.jsonio import exact_dumps


def begins_here(task: TaskSpec | None) -> bool:
    """Whether a task of this kind begins in the triggerer."""
    return task is not None and task.start_from_trigger and not task.mapped and bool((task.start_trigger_args or {}).get("trigger_cls"))


def begin(dag: CompiledDag, scheduled: Sequence[Changed], now: datetime) -> list[Changed]:
    """Defer those of the instances just scheduled that begin in the triggerer; they are deferred when this returns."""
    wanted = [(c, dag.graph.tasks[c.task_id].start_trigger_args or {}) for c in scheduled if begins_here(dag.graph.tasks.get(c.task_id))]
    if not wanted:
        return []
    deferrals = {c.pk: _deferral(args) for c, args in wanted}
    ends = [
        End(c.pk, c.try_id, next_at=_limit(args, now), next_method=str(args.get("next_method") or "execute_complete"),
            next_kwargs=exact_dumps(args.get("next_kwargs") or {}).decode())
        for c, args in wanted
    ]  # fmt: skip
    changed = transitions.begin_deferred(ends, now)
    rows.store(changed, deferrals, now)
    return changed


def _deferral(args: dict[str, Any]) -> dict[str, Any]:
    return {
        "classpath": args["trigger_cls"], "kwargs": args.get("trigger_kwargs") or {}, "queue": args.get("trigger_queue"),
        "timeout_s": args.get("timeout"),
    }  # fmt: skip


def _limit(args: dict[str, Any], now: datetime) -> datetime | None:
    timeout = args.get("timeout")
    return now + timedelta(seconds=float(timeout)) if isinstance(timeout, int | float) else None
