"""Admission and claim: scheduled → queued → running, and back when an order never arrived."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import orjson
from django.conf import settings

from apps.runs import claims, sql
from apps.runs.transitions.statements import CLEAN, Changed, move, statement

_WAITS_FOR_WORKER = "reason_code = 'worker', reason = 'Waits for a free worker slot.', reason_since = %(now)s::timestamptz"
_REQUEUE = statement(_WAITS_FOR_WORKER)
_UNQUEUE = statement(CLEAN)
_ADMIT = statement(
    f"queued_at = %(now)s::timestamptz, {_WAITS_FOR_WORKER}",
    returning=", ti.executor, ti.queue, ti.dag_version_id",
    more=""", tries AS (
    INSERT INTO runs_try (id, ti_id, number, state, executor, queue, queued_at, worker_epoch, hostname, kill_confirmed,
                          dag_version_id, snapshot, log_size, log_ended)
    SELECT try_id, id, try_number, 'queued', coalesce(%(names)s::jsonb ->> executor, executor, %(default)s::text), queue, %(now)s::timestamptz, 0, '', true, dag_version_id, '{{}}', 0, false FROM changed
    ON CONFLICT (id) DO UPDATE SET state = 'queued', queued_at = excluded.queued_at, executor = excluded.executor,
        queue = excluded.queue, dag_version_id = excluded.dag_version_id, round = runs_try.round + 1, submitted_at = NULL, submissions = 0,
        reuse_key = '', place = ''
    WHERE runs_try.state IN ('parked', 'queued')
)""".replace("{{}}", "{}"),
)


def admit(ids: Sequence[int], now: datetime) -> list[Changed]:
    """Scheduled → queued: takes its slots; the try row is made, or a parked one is queued again."""
    if not ids:
        return []
    names = orjson.dumps(settings.EXECUTOR_NAMES).decode()
    return move("admit", _ADMIT, now, ids=list(ids), names=names, default=settings.EXECUTORS[0].alias)


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
        end_date = NULL, duration = NULL, {CLEAN}
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
_START_WANTED = _START.replace("{picked}", claims.PICK_WANTED)
_START_ONE = _START.replace("{picked}", claims.PICK_ONE_TRY)


def start(
    *, worker: UUID | None, epoch: int, hostname: str, executor: str, queues: Sequence[str], hashes: Sequence[str], now: datetime,
    wanted: Sequence[UUID] | None = None,
) -> list[tuple[int, UUID, int]]:
    """Claim up to len(hashes) queued tries for a worker: (task instance pk, try id, which hash it got, from 1).
    `wanted`: only these, whatever their queue.

    Compare-and-set under SKIP LOCKED: a try starts once, whoever asks at the same time. XComs of an earlier try are wiped.
    """
    parameters = {
        "worker": worker, "epoch": epoch, "hostname": hostname, "executor": executor, "queues": list(queues),
        "hashes": list(hashes), "limit": len(hashes), "now": now, "wanted": list(wanted or ()),
    }  # fmt: skip
    if not hashes:
        return []
    return [(row[0], row[1], row[2]) for row in sql.rows(_START_MANY if wanted is None else _START_WANTED, parameters)]


def start_one(try_id: UUID, *, hostname: str, digest: str, now: datetime, epoch: int = 0) -> list[tuple[int, UUID, int]]:
    """Claim one certain try for a runner of its own (pod, message); empty if it is not queued."""
    parameters = {"try_id": try_id, "worker": None, "epoch": epoch, "hostname": hostname, "hashes": [digest], "now": now}
    return [(row[0], row[1], row[2]) for row in sql.rows(_START_ONE, parameters)]


def requeue(try_ids: Sequence[UUID], now: datetime) -> list[Changed]:
    """Running → queued for orders that never reached their worker: the try has not started, so it keeps its number."""
    pks = [r[0] for r in sql.rows(
        "UPDATE runs_try SET state = 'queued', worker_id = NULL, token_hash = NULL, start_date = NULL "
        "WHERE id = ANY(%s::uuid[]) AND state = 'running' RETURNING ti_id", [list(try_ids)])]  # fmt: skip
    return move("requeue", _REQUEUE, now, ids=pks) if pks else []


def unqueue(ids: Sequence[int], now: datetime) -> list[Changed]:
    """Queued → scheduled: gives the slots back (its executor cannot take it now)."""
    return move("unqueue", _UNQUEUE, now, ids=list(ids)) if ids else []
