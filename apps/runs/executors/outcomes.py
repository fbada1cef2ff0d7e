"""What executors saw becomes transitions: sentences of what waits, ends of tries that could not report, confirmed kills.

For `service`. A try that can speak ends by its own report (`execution.reports`); this is for those that cannot: pods that
were evicted, never began, or vanished. The rules of retries are the same, the budgets differ (`Fault`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import orjson
from django.db import transaction

from apps.runs import claims, logs, reaper, sql, transitions, wake
from apps.runs.execution import exchange, reports
from apps.runs.executors.rows import Live
from trackside.core.messages import FinishReport
from trackside.core.reasons import Reason
from trackside.executors.base import Fault, Phase, Seen

logger = logging.getLogger(__name__)


def explain(why: Mapping[int, Reason | None], now: datetime) -> None:
    """Sentences for queued task instances; those that somebody is just moving are left alone."""
    if why:
        with transaction.atomic():
            free = claims.free_instances(why, "queued")
            changed = transitions.explain({pk: why[pk] for pk in free}, now)
        if changed:
            wake.send(wake.LIVE)


def reasons(seen: Iterable[Seen], live: Mapping[UUID, Live]) -> dict[int, Reason | None]:
    """Why queued tries do not run yet, by task instance."""
    found: dict[int, Reason | None] = {}
    for one in seen:
        row = live.get(one.try_id)
        if (
            row is not None
            and row.state == "queued"
            and row.current
            and one.round in (0, row.round)
            and one.reason is not None
            and one.fault is None
        ):
            found[row.pk] = one.reason
    return found


def end(seen: Sequence[Seen], live: Mapping[UUID, Live], now: datetime) -> None:
    """End the tries of which these were the last signs, without a report of their own. One transaction."""
    ends: dict[UUID, FinishReport] = {}
    for one in seen:
        row = live.get(one.try_id)
        if row is None or not row.current or one.round not in (0, row.round) or row.state not in ("queued", "running"):
            continue
        why = one.reason.text if one.reason else "It ended without saying why."
        outcome = "lost" if one.fault is Fault.INFRA else "failed"
        if one.vague and row.runner_said:
            outcome, why = "lost", f"Its runner ended it ({row.runner_said.strip().rstrip('.')})."
        ends[one.try_id] = FinishReport(str(one.try_id), outcome=outcome, error=why, exit_code=one.exit_code, signal=one.signal)
    if not ends:
        return
    with transaction.atomic():
        settled = reports.end_unreported(ends, now)
        done = exchange.advance_now(settled.run_pks, now)
    ended = {UUID(answer["try_id"]) for answer in settled.answers}
    for one in seen:
        if one.try_id in ended:
            write_log(one.try_id, one.log, one.reason, now)
    exchange.wake_after(done, settled, started=0)


def confirm(try_ids: Collection[UUID], live: Mapping[UUID, Live], now: datetime) -> None:
    """Nothing of these fenced tries runs any more; what was cleared while it ran may begin anew. One transaction."""
    rows = [live[i] for i in try_ids if i in live and not live[i].kill_confirmed]
    if not rows:
        return
    with transaction.atomic():
        claims.lock_runs({r.run_pk for r in rows})
        reaper.confirm_kills([r.id for r in rows])
        cleared = [r.pk for r in rows if r.current and r.ti_state == "restarting"]
        transitions.clear(dict.fromkeys(cleared, 0), now)
        done = exchange.advance_now({r.run_pk for r in rows}, now)
    wake.send(wake.WORK, wake.LIVE, *((wake.SCHEDULER,) if done.ended or done.wake_at is not None else ()))


def write_log(try_id: UUID, text: str, reason: Reason | None, now: datetime) -> None:
    """Add what the executor knows to the log of a try that can write no more, and close it."""
    words = [(line, "info") for line in text.splitlines()] + ([(reason.text, "error")] if reason else [])
    lines = b"".join(_line(line, level, now) for line, level in words)
    try:
        size = logs.append(try_id, logs.size_of(try_id), lines) if lines else logs.size_of(try_id)
    except OSError as e:
        logger.warning("the log of try %s could not be completed: %s", try_id, e)
        return
    sql.run("UPDATE runs_try SET log_ended = true, log_size = greatest(log_size, %s) WHERE id = %s", [size, try_id])


def _line(text: str, level: str, now: datetime) -> bytes:
    moment = now.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return orjson.dumps({"t": moment, "level": level, "logger": "trackside.executor", "event": text, "src": "system"}) + b"\n"


def is_over(one: Seen) -> bool:
    """Nothing of it runs (any more), or it never will."""
    return one.phase in (Phase.ENDED, Phase.GONE) or one.fault is not None
