"""Ends of tries, and of what parked ones wait for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from django.conf import settings

from apps.runs import sql
from apps.runs.transitions.statements import CLEAN, Changed, move, statement
from trackside.core.states import TaskState


@dataclass(slots=True)
class End:
    """How one running try ended; parallel arrays of these go into one statement."""

    pk: int
    try_id: UUID
    duration: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    error: str | None = None
    next_at: datetime | None = None
    """retry: when the next try may start; reschedule: when to look again."""
    lost: bool = False
    """Ended by machinery: counts against the infrastructure budget, not the user's retries."""
    rendered_fields: str | None = None
    """JSON text."""
    rendered_map_index: str | None = None
    log_size: int = 0
    pid: int | None = None
    next_method: str | None = None
    next_kwargs: str | None = None
    """JSON text."""
    retry_reason: str | None = None
    """What a retry policy said about the failure."""


_ENDS = """, unnest(%(pks)s::bigint[], %(durations)s::float8[], %(errors)s::text[], %(next_ats)s::timestamptz[], %(lost)s::bool[],
    %(rendered)s::jsonb[], %(indexes)s::text[], %(methods)s::text[], %(kwargs)s::jsonb[], %(pids)s::int[])
    AS e(pk, duration, error, next_at, lost, rendered, map_name, method, kwargs, pid)"""
_E = {"source": _ENDS, "match": "e.pk"}
_KEEP = "rendered_fields = coalesce(e.rendered, ti.rendered_fields), rendered_map_index = coalesce(e.map_name, ti.rendered_map_index), pid = coalesce(e.pid, ti.pid)"
_ENDED = (
    "end_date = %(now)s::timestamptz, duration = coalesce(e.duration, extract(epoch FROM %(now)s::timestamptz - coalesce(ti.start_date, %(now)s::timestamptz))), "
    f"next_method = NULL, next_kwargs = NULL, trigger_id = NULL, {_KEEP}"
)
_SUCCEED = statement(f"{_ENDED}, next_at = NULL, {CLEAN}", **_E)
_WHY_FAILED = "reason = e.error, reason_code = CASE WHEN e.lost THEN 'lost' ELSE 'failed' END, reason_since = %(now)s::timestamptz"
_FAIL = statement(f"{_ENDED}, next_at = NULL, infra_failures = ti.infra_failures + e.lost::int, {_WHY_FAILED}", **_E)
_RETRY = statement(
    f"{_ENDED}, next_at = e.next_at, try_id = gen_random_uuid(), reschedules = 0, max_tries = ti.max_tries + e.lost::int, "
    f"infra_failures = ti.infra_failures + e.lost::int, {_WHY_FAILED}", **_E)  # fmt: skip
_PARK = (
    "next_at = e.next_at, next_method = coalesce(e.method, ti.next_method), next_kwargs = coalesce(e.kwargs, ti.next_kwargs), "
    f"{_KEEP}, {CLEAN}"
)
_RESCHEDULE = statement(f"{_PARK}, reschedules = ti.reschedules + 1", **_E)
_DEFER = statement(_PARK, **_E)

_END_TRIES = """
UPDATE runs_try t SET state = e.state, final_state = e.final, end_date = CASE WHEN e.state = 'parked' THEN NULL ELSE %(now)s::timestamptz END,
    duration = coalesce(e.duration, extract(epoch FROM %(now)s::timestamptz - t.start_date)), exit_code = e.exit_code, signal = e.signal,
    error = e.error, retry_reason = coalesce(e.retry_reason, t.retry_reason), log_size = greatest(t.log_size, e.log_size), pid = coalesce(e.pid, t.pid, ti.pid),
    snapshot = jsonb_build_object('pool', ti.pool, 'pool_slots', ti.pool_slots, 'queue', ti.queue, 'priority_weight', ti.priority_weight,
        'max_tries', ti.max_tries, 'operator', ti.operator, 'executor', ti.executor, 'scheduled_at', ti.scheduled_at, 'queued_at', ti.queued_at,
        'start_date', ti.start_date, 'rendered_map_index', ti.rendered_map_index, 'rendered_fields', ti.rendered_fields, 'hostname', ti.hostname,
        'unixname', ti.unixname, 'pid', coalesce(e.pid, ti.pid), 'task_display_name', ti.task_display_name)
FROM unnest(%(ids)s::uuid[], %(durations)s::float8[], %(exit_codes)s::int[], %(signals)s::int[], %(errors)s::text[], %(sizes)s::bigint[],
    %(states)s::text[], %(finals)s::text[], %(pids)s::int[], %(reasons)s::text[])
    AS e(id, duration, exit_code, signal, error, log_size, state, final, pid, retry_reason), runs_taskinstance ti
WHERE t.id = e.id AND ti.id = t.ti_id AND t.state IN ('running', 'queued', 'parked')
"""


def _end_tries(ends: Sequence[End], states: Sequence[str], finals: Sequence[str | None], now: datetime) -> None:
    sql.run(_END_TRIES, {
        "ids": [e.try_id for e in ends], "durations": [e.duration for e in ends], "exit_codes": [e.exit_code for e in ends],
        "signals": [e.signal for e in ends], "errors": [e.error for e in ends], "sizes": [e.log_size for e in ends],
        "states": list(states), "finals": list(finals), "pids": [e.pid for e in ends], "now": now,
        "reasons": [e.retry_reason for e in ends],
    })  # fmt: skip


def _end(verb: str, statement: str, ends: Sequence[End], try_state: str, final: str | None, now: datetime) -> list[Changed]:
    if not ends:
        return []
    # tries first: the task instance row still says what this try had (its id changes with a retry)
    _end_tries(ends, ["lost" if e.lost else try_state for e in ends], [final] * len(ends), now)
    return move(
        verb, statement, now, pks=[e.pk for e in ends], durations=[e.duration for e in ends], errors=[e.error for e in ends],
        next_ats=[e.next_at for e in ends], lost=[e.lost for e in ends], rendered=[e.rendered_fields for e in ends],
        indexes=[e.rendered_map_index for e in ends], methods=[e.next_method for e in ends], kwargs=[e.next_kwargs for e in ends],
        pids=[e.pid for e in ends],
    )  # fmt: skip


def succeed(ends: Sequence[End], now: datetime) -> list[Changed]:
    """The task said it is done."""
    return _end("succeed", _SUCCEED, ends, "success", "success", now)


def skip_self(ends: Sequence[End], now: datetime) -> list[Changed]:
    """The task skipped itself."""
    return _end("skip_self", _SUCCEED, ends, "skipped", "skipped", now)


def fail(ends: Sequence[End], now: datetime) -> list[Changed]:
    """Failed, and no retry is left."""
    return _end("fail", _FAIL, ends, "failed", "failed", now)


def retry(ends: Sequence[End], now: datetime) -> list[Changed]:
    """Failed, but a retry is left: waits until next_at; the next try gets a UUID of its own."""
    return _end("retry", _RETRY, ends, "failed", "failed", now)


def reschedule(ends: Sequence[End], now: datetime) -> list[Changed]:
    """A sensor gives its slot back; the same try goes on at next_at."""
    return _end("reschedule", _RESCHEDULE, ends, "parked", "up_for_reschedule", now)


def defer(ends: Sequence[End], now: datetime) -> list[Changed]:
    """Waits for a trigger; the same try goes on with next_method."""
    return _end("defer", _DEFER, ends, "parked", "deferred", now)


_BEGIN_TRIES = """
INSERT INTO runs_try (id, ti_id, number, state, executor, queue, queued_at, worker_epoch, hostname, kill_confirmed,
                      dag_version_id, snapshot, log_size, log_ended)
SELECT try_id, id, try_number, 'parked', coalesce(%(names)s::jsonb ->> executor, executor, %(default)s::text), queue, %(now)s::timestamptz,
    0, '', true, dag_version_id, '{}', 0, false
FROM runs_taskinstance WHERE id = ANY(%(ids)s::bigint[]) AND state = 'scheduled' AND next_method IS NULL AND reschedules = 0
ON CONFLICT (id) DO NOTHING RETURNING ti_id
"""
_BEGIN_DEFERRED = statement(f"start_date = %(now)s::timestamptz, {_PARK}", **_E)


def begin_deferred(ends: Sequence[End], now: datetime) -> list[Changed]:
    """Scheduled → deferred: a try that begins by waiting for a trigger, without a worker. Those that go on are left alone."""
    names = orjson.dumps(settings.EXECUTOR_NAMES).decode()
    ids = {"ids": [e.pk for e in ends], "now": now, "names": names, "default": settings.EXECUTORS[0].alias}
    made = {r[0] for r in sql.rows(_BEGIN_TRIES, ids)}
    return _end("defer", _BEGIN_DEFERRED, [e for e in ends if e.pk in made], "parked", "deferred", now)


def await_input(ends: Sequence[End], now: datetime) -> list[Changed]:
    """Waits for a person's answer."""
    return _end("await_input", _DEFER, ends, "parked", "awaiting_input", now)


_RESUME = statement(
    "next_method = coalesce(e.method, ti.next_method), next_kwargs = CASE WHEN e.method IS NULL "
    "THEN coalesce(ti.next_kwargs, '{}'::jsonb) || e.kwargs ELSE e.kwargs END, "
    f"scheduled_at = %(now)s::timestamptz, next_at = NULL, trigger_id = NULL, {CLEAN}",
    source=", unnest(%(pks)s::bigint[], %(tries)s::uuid[], %(methods)s::text[], %(kwargs)s::jsonb[]) AS e(pk, try_id, method, kwargs)",
    match="e.pk AND ti.try_id = e.try_id AND ti.state = %(parked)s::text",
)


def resume(ends: Sequence[End], now: datetime, *, parked: TaskState = TaskState.DEFERRED) -> list[Changed]:
    """Parked → scheduled: the same try goes on. `next_kwargs` are added to those it left; with a `next_method` of its own
    (a failure, a timeout) they replace them. The run is locked; what is not parked with this try any more stays as it is."""
    return move(
        "schedule", _RESUME, now, parked=str(parked), pks=[e.pk for e in ends], tries=[e.try_id for e in ends],
        methods=[e.next_method for e in ends], kwargs=[e.next_kwargs or "{}" for e in ends],
    ) if ends else []  # fmt: skip


def end_deferred(ends: Sequence[End], state: TaskState, now: datetime) -> list[Changed]:
    """Deferred → success, failed or skipped without a worker: its trigger said so. The run is locked."""
    match state:
        case TaskState.SUCCESS:
            return _end("complete", _SUCCEED, ends, "success", "success", now)
        case TaskState.SKIPPED:
            return _end("skip_self", _SUCCEED, ends, "skipped", "skipped", now)
    return _end("fail", _FAIL, ends, "failed", "failed", now)
