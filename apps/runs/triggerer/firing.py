"""What a trigger found moves its task, once: compare-and-set under the run's lock, and the trigger's row goes with it.

For `service`. Two triggerers may run the same trigger after a lease ran out, and a child may die after it spoke: the first
outcome that finds the row of its trigger and an instance still deferred with its try wins, every other changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings
from django.db import transaction

from apps.runs import brain, claims, sql, transitions, wake
from apps.runs.errands import callbacks
from apps.runs.execution import exchange, reports
from apps.runs.transitions import End
from trackside.core.states import TaskState
from trackside.runner.jsonio import exact_dumps

FAIL = "__fail__"
"""The method that raises what went wrong with a deferral (Airflow's name)."""
ENDS = {"success": TaskState.SUCCESS, "failed": TaskState.FAILED, "skipped": TaskState.SKIPPED}


@dataclass(slots=True)
class Outcome:
    """What became of one trigger."""

    trigger_id: int
    kind: str
    """event: the task goes on with it. success, failed, skipped: ends the task. error: the trigger itself failed."""
    payload: Any = None
    """JSON with typed envelopes."""
    xcoms: dict[str, Any] | None = None
    shown: dict[str, Any] = field(default_factory=dict)
    """Those of `xcoms` that hold secrets, as people may see them."""
    error: str = ""


@dataclass(slots=True)
class _Held:
    trigger_id: int
    pk: int
    try_id: UUID
    run_pk: int
    dag_id: str
    task_id: str
    map_index: int


_HELD = """
SELECT g.id, ti.id, ti.try_id, ti.run_id, ti.dag_id, ti.task_id, ti.map_index
FROM runs_trigger g JOIN runs_taskinstance ti ON ti.id = g.ti_id AND ti.state = 'deferred' AND ti.try_id = g.try_id
WHERE g.id = ANY(%s::bigint[])
"""


def apply(outcomes: Sequence[Outcome]) -> int:
    """Carry out outcomes in one transaction; how many moved a task."""
    by_id = {o.trigger_id: o for o in reversed(outcomes)}  # the first word of a trigger counts
    with transaction.atomic():
        claims.lock_runs(h.run_pk for h in _held(by_id))
        now = sql.now()
        held = _held(by_id)  # again, now that nobody else can move them
        groups: dict[str, list[End]] = defaultdict(list)
        for h in held:
            kind, end = _end(h, by_id[h.trigger_id])
            groups[kind].append(end)
        _store_xcoms(held, by_id, now)
        moved = transitions.resume(groups["resume"], now)
        for kind, state in ENDS.items():
            ended = transitions.end_deferred(groups[kind], state, now)
            callbacks.tries_ended(groups[kind], state, ended)
            moved += ended
        sql.run("DELETE FROM runs_trigger WHERE id = ANY(%s::bigint[])", [list(by_id)])
        done = exchange.advance_now({h.run_pk for h in held}, now)
    wake_after(done)
    return len(moved)


def _held(by_id: dict[int, Outcome]) -> list[_Held]:
    return [_Held(*r) for r in sql.rows(_HELD, [list(by_id)])]


def _end(h: _Held, o: Outcome) -> tuple[str, End]:
    if o.kind in ENDS:
        return o.kind, End(h.pk, h.try_id, error="Its trigger ended it as failed." if o.kind == "failed" else None)
    if o.kind == "event":
        event = exact_dumps({"event": o.payload}).decode().replace("\\u0000", "")
        if len(event) <= settings.MAX_XCOM_BYTES:
            return "resume", End(h.pk, h.try_id, next_kwargs=event)
        o.error = f"The trigger's event has {len(event):,} bytes; the limit is {settings.MAX_XCOM_BYTES:,}."
    return "resume", failure(h.pk, h.try_id, o.error or "Trigger failure")


def failure(pk: int, try_id: UUID, error: str) -> End:
    """The deferral went wrong: the task goes on in order to raise it."""
    return End(pk, try_id, next_method=FAIL, next_kwargs=orjson.dumps({"error": error.replace("\x00", "")[:4000]}).decode())


def _store_xcoms(held: Sequence[_Held], by_id: dict[int, Outcome], now: datetime) -> None:
    left = [(h, o.shown, key, value) for h in held if (o := by_id[h.trigger_id]).kind in ENDS for key, value in (o.xcoms or {}).items()]
    reports.store_xcoms([
        (h.run_pk, h.dag_id, h.task_id, h.map_index, str(key)[:512], exact_dumps(value).decode(), None, reports.shown_text(shown.get(key)))
        for h, shown, key, value in left
    ], now)  # fmt: skip


def wake_after(done: brain.Advanced) -> None:
    """Tell the others, after commit."""
    channels = [wake.LIVE]
    if done.admitted or done.must_kill:
        channels.append(wake.WORK)
    if done.ended or done.wake_at is not None:
        channels.append(wake.SCHEDULER)
    wake.send(*channels)
