"""The only module that writes `state`: one verb, one conditional UPDATE, one event row per run, in one statement.

Every verb takes many ids, moves those that are in one of its source states (`trackside.core.states`) and returns what
really changed; a lost race is simply not in the answer. Callers hold a transaction; those that end tries or change a
run's tasks hold the run's lock (`claims.lock_runs`). Wake-ups are sent by the caller after commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.runs import claims, sql
from trackside.core.reasons import Reason
from trackside.core.states import RUN_TRANSITIONS, TASK_TRANSITIONS, TRY_ENDED, TaskState


@dataclass(frozen=True, slots=True)
class Changed:
    """One task instance that moved."""

    pk: int
    run_pk: int
    dag_id: str
    task_id: str
    map_index: int
    try_number: int
    try_id: UUID


_MOVE = """
WITH changed AS (
    UPDATE runs_taskinstance ti SET state = %(target)s::text, updated_at = %(now)s::timestamptz{sets}
    FROM runs_run r {source}
    WHERE ti.id = {match} AND ti.state = ANY(%(sources)s::text[]) AND r.id = ti.run_id
    RETURNING ti.id, ti.run_id AS run_pk, ti.dag_id, ti.task_id, ti.map_index, ti.try_number, ti.try_id, r.run_id{returning}
), said AS (
    INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload)
    SELECT %(now)s::timestamptz, 'task', %(verb)s::text, dag_id, run_pk, run_id, jsonb_build_object('state', %(target)s::text, 'tis',
           jsonb_agg(jsonb_build_array(id, task_id, map_index, try_number) ORDER BY id))
    FROM changed GROUP BY dag_id, run_pk, run_id
){more}
SELECT id, run_pk, dag_id, task_id, map_index, try_number, try_id FROM changed
"""


def _statement(sets: str = "", *, source: str = "", match: str = "ANY(%(ids)s::bigint[])", returning: str = "", more: str = "") -> str:
    return _MOVE.format(sets=f", {sets}" if sets else "", source=source, match=match, returning=returning, more=more)


def _move(verb: str, statement: str, now: datetime, **parameters: Any) -> list[Changed]:
    rule = TASK_TRANSITIONS[verb]
    base = {"target": rule.target, "sources": sorted(rule.sources), "verb": verb, "now": now}
    return [Changed(*row) for row in sql.rows(statement, base | parameters)]


_CLEAN = "reason = NULL, reason_code = NULL, reason_since = NULL"
_END_NOW = (
    "start_date = coalesce(ti.start_date, %(now)s::timestamptz), end_date = %(now)s::timestamptz, "
    "duration = extract(epoch FROM %(now)s::timestamptz - coalesce(ti.start_date, %(now)s::timestamptz))"
)

# --- planner --------------------------------------------------------------------------------------------------------
_SCHEDULE = _statement(
    "try_number = ti.try_number + CASE WHEN ti.state IN ('none', 'up_for_retry') THEN 1 ELSE 0 END, "
    f"scheduled_at = %(now)s::timestamptz, next_at = NULL, {_CLEAN}"
)
_COMPLETE = _statement(
    "try_number = ti.try_number + CASE WHEN ti.state IN ('none', 'up_for_retry') THEN 1 ELSE 0 END, "
    f"start_date = %(now)s::timestamptz, end_date = %(now)s::timestamptz, duration = 0, next_at = NULL, {_CLEAN}"
)
_FINAL = _statement(f"next_at = NULL, {_END_NOW}")
_PLAIN = _statement()
_WAITS_FOR_WORKER = "reason_code = 'worker', reason = 'Waits for a free worker slot.', reason_since = %(now)s::timestamptz"
_REQUEUE = _statement(_WAITS_FOR_WORKER)
_UNQUEUE = _statement(_CLEAN)


def schedule(ids: Sequence[int], now: datetime) -> list[Changed]:
    """May run as soon as limits allow. A new try begins unless a parked one goes on."""
    return _move("schedule", _SCHEDULE, now, ids=list(ids)) if ids else []


def complete(ids: Sequence[int], now: datetime) -> list[Changed]:
    """Success without a process: the task has no work."""
    return _move("complete", _COMPLETE, now, ids=list(ids)) if ids else []


def skip(ids: Sequence[int], now: datetime) -> list[Changed]:
    """Skipped by a rule or a branch. A queued try among them is fenced."""
    changed = _move("skip", _FINAL, now, ids=list(ids)) if ids else []
    _fence([c.try_id for c in changed], now, final_state=TaskState.SKIPPED)
    return changed


def upstream_fail(ids: Sequence[int], now: datetime) -> list[Changed]:
    """The trigger rule can no longer be met. A parked try among them is fenced."""
    changed = _move("upstream_fail", _FINAL, now, ids=list(ids)) if ids else []
    _fence([c.try_id for c in changed], now, final_state=TaskState.UPSTREAM_FAILED)
    return changed


def remove(ids: Sequence[int], now: datetime) -> list[Changed]:
    """The DAG version of the run no longer has this task or index. A parked or queued try among them is fenced."""
    changed = _move("remove", _PLAIN, now, ids=list(ids)) if ids else []
    _fence([c.try_id for c in changed], now, final_state=TaskState.REMOVED)
    return changed


def restore(ids: Sequence[int], now: datetime) -> list[Changed]:
    """A removed task is back in the DAG."""
    return _move("restore", _PLAIN, now, ids=list(ids)) if ids else []


# --- admission and claim ----------------------------------------------------------------------------------------------
_ADMIT = _statement(
    f"queued_at = %(now)s::timestamptz, {_WAITS_FOR_WORKER}",
    returning=", ti.executor, ti.queue, ti.dag_version_id",
    more=""", tries AS (
    INSERT INTO runs_try (id, ti_id, number, state, executor, queue, queued_at, worker_epoch, hostname, kill_confirmed,
                          dag_version_id, snapshot, log_size, log_ended)
    SELECT try_id, id, try_number, 'queued', coalesce(executor, 'local'), queue, %(now)s::timestamptz, 0, '', true, dag_version_id, '{{}}', 0, false FROM changed
    ON CONFLICT (id) DO UPDATE SET state = 'queued', queued_at = excluded.queued_at, executor = excluded.executor,
        queue = excluded.queue, dag_version_id = excluded.dag_version_id
    WHERE runs_try.state IN ('parked', 'queued')
)""".replace("{{}}", "{}"),
)


def admit(ids: Sequence[int], now: datetime) -> list[Changed]:
    """Scheduled → queued: takes its slots; the try row is made, or a parked one is queued again."""
    return _move("admit", _ADMIT, now, ids=list(ids)) if ids else []


_START = f"""
WITH picked AS ({{picked}}), numbered AS (
    SELECT id, ti_id, row_number() OVER () AS n FROM picked
), tries AS (
    UPDATE runs_try t SET state = 'running', worker_id = %(worker)s::uuid, worker_epoch = %(epoch)s::int, hostname = %(hostname)s::text,
        token_hash = (%(hashes)s::text[])[numbered.n], start_date = coalesce(t.start_date, %(now)s::timestamptz), heartbeat_at = %(now)s::timestamptz,
        kill_confirmed = true
    FROM numbered WHERE t.id = numbered.id RETURNING t.id, t.ti_id, numbered.n
), wiped AS (
    DELETE FROM runs_xcom x USING runs_taskinstance ti, tries
    WHERE ti.id = tries.ti_id AND ti.next_method IS NULL AND (ti.try_number > 1 OR ti.reschedules > 0)
        AND x.run_id = ti.run_id AND x.task_id = ti.task_id AND x.map_index = ti.map_index
), changed AS (
    UPDATE runs_taskinstance ti SET state = 'running', updated_at = %(now)s::timestamptz, hostname = %(hostname)s::text, unixname = '', pid = NULL,
        start_date = CASE WHEN ti.next_method IS NOT NULL OR ti.reschedules > 0 THEN coalesce(ti.start_date, %(now)s::timestamptz) ELSE %(now)s::timestamptz END,
        end_date = NULL, duration = NULL, {_CLEAN}
    FROM tries, runs_run r WHERE ti.id = tries.ti_id AND ti.state = 'queued' AND r.id = ti.run_id
    RETURNING ti.id, ti.run_id AS run_pk, ti.dag_id, ti.task_id, ti.map_index, ti.try_number, ti.try_id, r.run_id, tries.n
), said AS (
    INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload)
    SELECT %(now)s::timestamptz, 'task', 'start', dag_id, run_pk, run_id, jsonb_build_object('state', 'running', 'tis',
           jsonb_agg(jsonb_build_array(id, task_id, map_index, try_number) ORDER BY id))
    FROM changed GROUP BY dag_id, run_pk, run_id
)
SELECT id, try_id, n FROM changed ORDER BY n
"""
_START_MANY = _START.replace("{picked}", claims.PICK_TRIES)
_START_ONE = _START.replace("{picked}", claims.PICK_ONE_TRY)


def start(
    *, worker: UUID | None, epoch: int, hostname: str, executor: str, queues: Sequence[str], hashes: Sequence[str], now: datetime
) -> list[tuple[int, UUID, int]]:
    """Claim up to len(hashes) queued tries for a worker: (task instance pk, try id, which hash it got, from 1).

    Compare-and-set under SKIP LOCKED: a try starts once, whoever asks at the same time. XComs of an earlier try are wiped.
    """
    parameters = {
        "worker": worker, "epoch": epoch, "hostname": hostname, "executor": executor, "queues": list(queues),
        "hashes": list(hashes), "limit": len(hashes), "now": now,
    }  # fmt: skip
    return [(row[0], row[1], row[2]) for row in sql.rows(_START_MANY, parameters)] if hashes else []


def start_one(try_id: UUID, *, hostname: str, digest: str, now: datetime) -> list[tuple[int, UUID, int]]:
    """Claim one certain try for a runner of its own (pod, message); empty if it is not queued."""
    parameters = {"try_id": try_id, "worker": None, "epoch": 0, "hostname": hostname, "hashes": [digest], "now": now}
    return [(row[0], row[1], row[2]) for row in sql.rows(_START_ONE, parameters)]


def requeue(try_ids: Sequence[UUID], now: datetime) -> list[Changed]:
    """Running → queued for orders that never reached their worker: the try has not started, so it keeps its number."""
    pks = [r[0] for r in sql.rows(
        "UPDATE runs_try SET state = 'queued', worker_id = NULL, token_hash = NULL, start_date = NULL "
        "WHERE id = ANY(%s::uuid[]) AND state = 'running' RETURNING ti_id", [list(try_ids)])]  # fmt: skip
    return _move("requeue", _REQUEUE, now, ids=pks) if pks else []


def unqueue(ids: Sequence[int], now: datetime) -> list[Changed]:
    """Queued → scheduled: gives the slots back (its executor cannot take it now)."""
    return _move("unqueue", _UNQUEUE, now, ids=list(ids)) if ids else []


# --- ends of a try ----------------------------------------------------------------------------------------------------
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


_ENDS = """, unnest(%(pks)s::bigint[], %(durations)s::float8[], %(errors)s::text[], %(next_ats)s::timestamptz[], %(lost)s::bool[],
    %(rendered)s::jsonb[], %(indexes)s::text[], %(methods)s::text[], %(kwargs)s::jsonb[], %(pids)s::int[])
    AS e(pk, duration, error, next_at, lost, rendered, map_name, method, kwargs, pid)"""
_E = {"source": _ENDS, "match": "e.pk"}
_KEEP = "rendered_fields = coalesce(e.rendered, ti.rendered_fields), rendered_map_index = coalesce(e.map_name, ti.rendered_map_index), pid = coalesce(e.pid, ti.pid)"
_ENDED = (
    "end_date = %(now)s::timestamptz, duration = coalesce(e.duration, extract(epoch FROM %(now)s::timestamptz - coalesce(ti.start_date, %(now)s::timestamptz))), "
    f"next_method = NULL, next_kwargs = NULL, trigger_id = NULL, {_KEEP}"
)
_SUCCEED = _statement(f"{_ENDED}, next_at = NULL, {_CLEAN}", **_E)
_WHY_FAILED = "reason = e.error, reason_code = CASE WHEN e.lost THEN 'lost' ELSE 'failed' END, reason_since = %(now)s::timestamptz"
_FAIL = _statement(f"{_ENDED}, next_at = NULL, infra_failures = ti.infra_failures + e.lost::int, {_WHY_FAILED}", **_E)
_RETRY = _statement(
    f"{_ENDED}, next_at = e.next_at, try_id = gen_random_uuid(), reschedules = 0, max_tries = ti.max_tries + e.lost::int, "
    f"infra_failures = ti.infra_failures + e.lost::int, {_WHY_FAILED}", **_E)  # fmt: skip
_PARK = (
    "next_at = e.next_at, next_method = coalesce(e.method, ti.next_method), next_kwargs = coalesce(e.kwargs, ti.next_kwargs), "
    f"{_KEEP}, {_CLEAN}"
)
_RESCHEDULE = _statement(f"{_PARK}, reschedules = ti.reschedules + 1", **_E)
_DEFER = _statement(_PARK, **_E)

_END_TRIES = """
UPDATE runs_try t SET state = e.state, final_state = e.final, end_date = CASE WHEN e.state = 'parked' THEN NULL ELSE %(now)s::timestamptz END,
    duration = coalesce(e.duration, extract(epoch FROM %(now)s::timestamptz - t.start_date)), exit_code = e.exit_code, signal = e.signal,
    error = e.error, log_size = greatest(t.log_size, e.log_size), pid = coalesce(e.pid, t.pid, ti.pid),
    snapshot = jsonb_build_object('pool', ti.pool, 'pool_slots', ti.pool_slots, 'queue', ti.queue, 'priority_weight', ti.priority_weight,
        'max_tries', ti.max_tries, 'operator', ti.operator, 'executor', ti.executor, 'scheduled_at', ti.scheduled_at, 'queued_at', ti.queued_at,
        'start_date', ti.start_date, 'rendered_map_index', ti.rendered_map_index, 'rendered_fields', ti.rendered_fields, 'hostname', ti.hostname,
        'unixname', ti.unixname, 'pid', coalesce(e.pid, ti.pid), 'task_display_name', ti.task_display_name)
FROM unnest(%(ids)s::uuid[], %(durations)s::float8[], %(exit_codes)s::int[], %(signals)s::int[], %(errors)s::text[], %(sizes)s::bigint[],
    %(states)s::text[], %(finals)s::text[], %(pids)s::int[]) AS e(id, duration, exit_code, signal, error, log_size, state, final, pid), runs_taskinstance ti
WHERE t.id = e.id AND ti.id = t.ti_id AND t.state IN ('running', 'queued', 'parked')
"""


def _end_tries(ends: Sequence[End], states: Sequence[str], finals: Sequence[str | None], now: datetime) -> None:
    sql.run(_END_TRIES, {
        "ids": [e.try_id for e in ends], "durations": [e.duration for e in ends], "exit_codes": [e.exit_code for e in ends],
        "signals": [e.signal for e in ends], "errors": [e.error for e in ends], "sizes": [e.log_size for e in ends],
        "states": list(states), "finals": list(finals), "pids": [e.pid for e in ends], "now": now,
    })  # fmt: skip


def _end(verb: str, statement: str, ends: Sequence[End], try_state: str, final: str | None, now: datetime) -> list[Changed]:
    if not ends:
        return []
    # tries first: the task instance row still says what this try had (its id changes with a retry)
    _end_tries(ends, ["lost" if e.lost else try_state for e in ends], [final] * len(ends), now)
    return _move(
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


def await_input(ends: Sequence[End], now: datetime) -> list[Changed]:
    """Waits for a person's answer."""
    return _end("await_input", _DEFER, ends, "parked", "awaiting_input", now)


_RESUME = _statement(
    "next_method = coalesce(e.method, ti.next_method), next_kwargs = CASE WHEN e.method IS NULL "
    "THEN coalesce(ti.next_kwargs, '{}'::jsonb) || e.kwargs ELSE e.kwargs END, "
    f"scheduled_at = %(now)s::timestamptz, next_at = NULL, trigger_id = NULL, {_CLEAN}",
    source=", unnest(%(pks)s::bigint[], %(tries)s::uuid[], %(methods)s::text[], %(kwargs)s::jsonb[]) AS e(pk, try_id, method, kwargs)",
    match="e.pk AND ti.try_id = e.try_id AND ti.state = %(parked)s::text",
)


def resume(ends: Sequence[End], now: datetime, *, parked: TaskState = TaskState.DEFERRED) -> list[Changed]:
    """Parked → scheduled: the same try goes on. `next_kwargs` are added to those it left; with a `next_method` of its own
    (a failure, a timeout) they replace them. The run is locked; what is not parked with this try any more stays as it is."""
    return _move(
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


# --- people -----------------------------------------------------------------------------------------------------------
_FENCE = """
UPDATE runs_try t SET state = 'fenced', final_state = coalesce(%(final)s::text, t.final_state), end_date = %(now)s::timestamptz,
    duration = extract(epoch FROM %(now)s::timestamptz - t.start_date), kill_confirmed = (t.state <> 'running'),
    error = %(error)s::text
WHERE t.id = ANY(%(ids)s::uuid[]) AND NOT t.state = ANY(%(ended)s::text[])
"""


def _fence(try_ids: Iterable[UUID], now: datetime, *, final_state: str | None, error: str | None = None) -> int:
    """End these tries from the server's side; whoever runs one learns it at the next call and kills it."""
    ids = list(try_ids)
    if not ids:
        return 0
    return sql.run(_FENCE, {"ids": ids, "now": now, "final": final_state, "error": error, "ended": [str(s) for s in TRY_ENDED]})


_MARK = _statement(f"next_at = NULL, next_method = NULL, next_kwargs = NULL, trigger_id = NULL, {_END_NOW}, {_CLEAN}")
_MARKS = {TaskState.SUCCESS: "mark_success", TaskState.FAILED: "mark_failed", TaskState.SKIPPED: "mark_skipped"}


def mark(ids: Sequence[int], state: TaskState, now: datetime, *, error: str | None = None) -> list[Changed]:
    """Set success, failed or skipped by hand (or by a timeout, or fail_fast); running tries are fenced and killed."""
    changed = _move(_MARKS[state], _MARK, now, ids=list(ids)) if ids else []
    _fence([c.try_id for c in changed], now, final_state=state, error=error or f"Marked {state}.")
    return changed


_RESTART = _statement("max_tries = ti.try_number + (%(retries)s::int[])[array_position(%(ids)s::bigint[], ti.id)]")
_CLEAR = _statement(
    "try_id = gen_random_uuid(), reschedules = 0, infra_failures = 0, next_at = NULL, next_method = NULL, next_kwargs = NULL, trigger_id = NULL, "
    "max_tries = CASE WHEN ti.state = 'restarting' THEN ti.max_tries "
    "ELSE ti.try_number + (%(retries)s::int[])[array_position(%(ids)s::bigint[], ti.id)] END, "
    f"rendered_map_index = CASE WHEN ti.map_index >= 0 THEN ti.map_index::text END, {_CLEAN}"
)


def restart(retries: Mapping[int, int], now: datetime) -> list[Changed]:
    """Running → restarting (clear of a running task): its try is fenced; once it is confirmed dead the instance is cleared.

    `retries`: task instance pk → retries the task has now.
    """
    changed = _move("restart", _RESTART, now, ids=list(retries), retries=list(retries.values())) if retries else []
    _fence([c.try_id for c in changed], now, final_state=TaskState.FAILED, error="Cleared while it was running.")
    return changed


def clear(retries: Mapping[int, int], now: datetime) -> list[Changed]:
    """Back to none with a new try to come; max_tries = tries so far + retries (Airflow's rule)."""
    if not retries:
        return []
    # locked before anything is fenced: a claim in between would leave a running instance with a fenced try
    held = claims.lock_instances(retries)
    _fence([try_id for state, try_id in held.values() if state != TaskState.RUNNING], now, final_state=None)
    return _move("clear", _CLEAR, now, ids=list(retries), retries=list(retries.values()))


_BACK = (
    "state", "map_index", "try_id", "try_number", "max_tries", "infra_failures", "queued_at", "scheduled_at", "start_date", "end_date", "duration",
    "next_at", "reschedules", "next_method", "next_kwargs", "trigger_id", "reason_code", "reason", "reason_since", "note", "note_user",
    "rendered_map_index", "pool", "pool_slots", "queue", "priority_weight", "executor", "operator", "dag_version_id",
)  # fmt: skip
_RUN_BACK = (
    "state", "queued_at", "start_date", "end_date", "last_scheduling_decision", "clear_number", "reason_code", "reason", "reason_since", "note",
    "note_user", "dag_version_id",
)  # fmt: skip
_PUT_BACK = f"""
WITH gone AS (
    DELETE FROM runs_taskinstance ti USING runs_undo u WHERE u.id = %(undo)s AND ti.run_id = ANY(%(runs)s::bigint[])
        AND NOT EXISTS (SELECT 1 FROM jsonb_array_elements(u.instances) e WHERE (e->>'id')::bigint = ti.id)
), old AS (
    SELECT o.* FROM runs_undo u, jsonb_populate_recordset(NULL::runs_taskinstance, u.instances) o WHERE u.id = %(undo)s
), unstarted AS (
    DELETE FROM runs_try t USING old WHERE t.ti_id = old.id AND t.state = 'queued' AND t.start_date IS NULL AND t.id <> old.try_id
), changed AS (
    UPDATE runs_taskinstance ti SET updated_at = %(now)s::timestamptz, {", ".join(f"{c} = old.{c}" for c in _BACK)}
    FROM old, runs_run r WHERE ti.id = old.id AND r.id = ti.run_id AND (ti.state, ti.try_id, ti.try_number, ti.max_tries, ti.note, ti.reason)
        IS DISTINCT FROM (old.state, old.try_id, old.try_number, old.max_tries, old.note, old.reason)
    RETURNING ti.id, ti.run_id AS run_pk, ti.dag_id, ti.task_id, ti.map_index, ti.try_number, ti.state, r.run_id
), said AS (
    INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload)
    SELECT %(now)s::timestamptz, 'task', 'undo', dag_id, run_pk, run_id, jsonb_build_object('state', state, 'tis',
           jsonb_agg(jsonb_build_array(id, task_id, map_index, try_number) ORDER BY id))
    FROM changed GROUP BY dag_id, run_pk, run_id, state
), old_run AS (
    SELECT o.* FROM runs_undo u, jsonb_populate_recordset(NULL::runs_run, u.runs) o WHERE u.id = %(undo)s
), changed_run AS (
    UPDATE runs_run r SET updated_at = %(now)s::timestamptz, advance_at = NULL, {", ".join(f"{c} = old_run.{c}" for c in _RUN_BACK)}
    FROM old_run WHERE r.id = old_run.id RETURNING r.id, r.dag_id, r.run_id, r.state
)
INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload)
SELECT %(now)s::timestamptz, 'run', 'undo', dag_id, id, run_id, jsonb_build_object('state', state) FROM changed_run
"""


def put_back(undo: UUID, run_pks: Sequence[int], now: datetime) -> None:
    """Write back what `runs_undo` kept of these runs. The caller locked runs and instances and knows that nothing started
    since; tries that were made but never handed out are forgotten."""
    sql.run(_PUT_BACK, {"undo": undo, "runs": list(run_pks), "now": now})


# --- words ------------------------------------------------------------------------------------------------------------
_EXPLAIN = """
WITH changed AS (
    UPDATE runs_taskinstance ti SET reason_code = e.code, reason = e.text,
        reason_since = CASE WHEN ti.reason_code IS NOT DISTINCT FROM e.code THEN coalesce(ti.reason_since, %(now)s::timestamptz) ELSE %(now)s::timestamptz END
    FROM unnest(%(ids)s::bigint[], %(codes)s::text[], %(texts)s::text[]) AS e(pk, code, text), runs_run r
    WHERE ti.id = e.pk AND r.id = ti.run_id AND (ti.reason_code, ti.reason) IS DISTINCT FROM (e.code, e.text)
    RETURNING ti.id, ti.run_id AS run_pk, ti.dag_id, ti.task_id, ti.map_index, ti.try_number, r.run_id
), said AS (
    INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload)
    SELECT %(now)s::timestamptz, 'task', 'explain', dag_id, run_pk, run_id, jsonb_build_object('tis',
           jsonb_agg(jsonb_build_array(id, task_id, map_index, try_number) ORDER BY id))
    FROM changed GROUP BY dag_id, run_pk, run_id
)
SELECT count(*) FROM changed
"""


def explain(why: Mapping[int, Reason | None], now: datetime) -> int:
    """Write the sentences of task instances, None clears; how many are new. Pages hear "explain" (no state) for those."""
    if not why:
        return 0
    values = list(why.values())
    parameters = {"ids": list(why), "codes": [w and w.code for w in values], "texts": [w and w.text for w in values], "now": now}
    return sql.rows(_EXPLAIN, parameters)[0][0]


# --- runs -------------------------------------------------------------------------------------------------------------
_MOVE_RUN = """
WITH changed AS (
    UPDATE runs_run r SET state = %(target)s::text, updated_at = %(now)s::timestamptz, advance_at = %(advance_at)s::timestamptz, troubles = 0,
        reason_code = %(code)s::text, reason = %(text)s::text, reason_since = CASE WHEN %(code)s::text IS NULL THEN NULL ELSE %(now)s::timestamptz END{sets}
    WHERE r.id = ANY(%(ids)s::bigint[]) AND r.state = ANY(%(sources)s::text[])
    RETURNING r.id, r.dag_id, r.run_id
), said AS (
    INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload)
    SELECT %(now)s::timestamptz, 'run', %(verb)s::text, dag_id, id, run_id, jsonb_build_object('state', %(target)s::text) FROM changed
)
SELECT id FROM changed
"""
_RUN_SETS = {
    "begin": ", start_date = coalesce(r.start_date, %(now)s::timestamptz), end_date = NULL",
    "succeed": ", end_date = %(now)s::timestamptz, last_scheduling_decision = %(now)s::timestamptz",
    "fail": ", end_date = %(now)s::timestamptz, last_scheduling_decision = %(now)s::timestamptz, start_date = coalesce(r.start_date, %(now)s::timestamptz)",
    "mark_success": ", end_date = %(now)s::timestamptz",
    "mark_failed": ", end_date = %(now)s::timestamptz",
    "requeue": ", queued_at = %(now)s::timestamptz, start_date = NULL, end_date = NULL, last_scheduling_decision = NULL",
}
_RUN_STATEMENTS = {verb: _MOVE_RUN.format(sets=sets) for verb, sets in _RUN_SETS.items()}


def move_run(
    verb: str, run_pks: Sequence[int], now: datetime, why: Reason | None = None, *, advance_at: datetime | None = None
) -> list[int]:
    """Make a run transition (`core.states.RUN_TRANSITIONS`); the pks that moved."""
    rule = RUN_TRANSITIONS[verb]
    parameters = {
        "target": rule.target, "sources": sorted(rule.sources), "verb": verb, "now": now, "ids": list(run_pks),
        "code": why and why.code, "text": why and why.text, "advance_at": advance_at,
    }  # fmt: skip
    return [r[0] for r in sql.rows(_RUN_STATEMENTS[verb], parameters)] if run_pks else []


_EXPLAIN_RUN = """
WITH before AS (SELECT id, dag_id, run_id, state, reason FROM runs_run WHERE id = %(id)s), said AS (
    INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload)
    SELECT %(now)s::timestamptz, 'run', 'explain', dag_id, id, run_id, '{}'::jsonb FROM before WHERE reason IS DISTINCT FROM %(text)s::text
)
UPDATE runs_run r SET advance_at = %(advance_at)s::timestamptz, last_scheduling_decision = %(now)s::timestamptz, troubles = 0, reason_code = %(code)s::text, reason = %(text)s::text,
    reason_since = CASE WHEN %(code)s::text IS NULL THEN NULL WHEN r.reason_code IS NOT DISTINCT FROM %(code)s::text THEN coalesce(r.reason_since, %(now)s::timestamptz)
        ELSE %(now)s::timestamptz END
WHERE r.id = %(id)s
"""


def planned_run(run_pk: int, now: datetime, why: Reason | None, advance_at: datetime | None) -> None:
    """Note that a run was planned: its sentence, and when time alone may change something."""
    sql.run(_EXPLAIN_RUN, {"id": run_pk, "now": now, "code": why and why.code, "text": why and why.text, "advance_at": advance_at})
