"""Finds what nobody will end: tries of dead workers, fenced tries whose killer died, queues nobody serves.

A lost try does not use the user's retries; it has a budget of its own (settings.MAX_INFRA_FAILURES), so that a task
that kills its worker ends failed in time.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction

from apps.access import audit
from apps.runs import claims, sql, transitions
from apps.runs.errands import callbacks
from apps.runs.transitions import End
from trackside.core.reasons import Reason
from trackside.core.states import TaskState
from trackside.executors import registry

_LOST = """
SELECT t.id, ti.id, ti.run_id, CASE WHEN ti.try_id = t.id THEN ti.state ELSE 'superseded' END, ti.infra_failures,
  w.name, t.facts->>'pod', t.facts->>'node', t.facts->>'node_silent'
FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id LEFT JOIN runs_process w ON w.id = t.worker_id
WHERE (t.state = 'running' OR NOT t.kill_confirmed)
  AND CASE WHEN t.worker_id IS NULL AND t.executor <> 'local' THEN coalesce(t.heartbeat_at, t.start_date, t.queued_at) < clock_timestamp() - %(alone)s::interval
           ELSE w.id IS NULL OR w.ended_at IS NOT NULL OR w.lease_until < clock_timestamp() END
ORDER BY ti.run_id LIMIT 500
"""
ALONE = 1.5
"""Leases after which a try that gives its own signs of life counts as lost: its executor, which knows more, looks first."""


def find_lost(now: datetime) -> list[int]:
    """End the tries of workers whose lease ran out; the runs that must be planned. One transaction."""
    parameters = {"alone": timedelta(seconds=ALONE * settings.LEASE)}
    candidates = sql.rows(_LOST, parameters)
    if not candidates:
        return []
    with transaction.atomic():
        locked = set(claims.lock_runs({c[2] for c in candidates}))
        rows = [r for r in sql.rows(_LOST, parameters) if r[2] in locked]  # again, now that nobody else can end them
        settle_lost([(try_id, pk, state, infra, _silence(*who_where)) for try_id, pk, _, state, infra, *who_where in rows], now)
        run_pks = sorted({r[2] for r in rows})
        sql.run("UPDATE runs_run SET advance_at = %s WHERE id = ANY(%s::bigint[]) AND state = 'running'", [now, run_pks])
    return run_pks


def settle_lost(lost: list[tuple[UUID, int, str, int, str]], now: datetime) -> None:
    """End lost tries: (try id, task instance pk, its state if this is its current try, its infra_failures, what happened);
    the runs are locked."""
    retry, fail, cleared = [], [], []
    for try_id, pk, state, infra_failures, what in lost:
        if state == "restarting":
            cleared.append(pk)
        elif state in ("running", "queued"):
            error = f"{what}; the task did not fail by itself."
            if infra_failures < settings.MAX_INFRA_FAILURES:
                retry.append(End(pk, try_id, error=f"{error} It starts again without using a retry.", next_at=now, lost=True))
            else:
                error += f" That happened {infra_failures + 1} times, so it is not started again; clear it to try once more."
                fail.append(End(pk, try_id, error=error, lost=True))
    callbacks.tries_ended(retry, TaskState.UP_FOR_RETRY, transitions.retry(retry, now))
    callbacks.tries_ended(fail, TaskState.FAILED, transitions.fail(fail, now))
    transitions.clear(dict.fromkeys(cleared, 0), now)
    confirm_kills([try_id for try_id, *_ in lost])
    for end in (*retry, *fail):
        audit.record(
            "heartbeat timeout",
            audit.Actor("scheduler", "scheduler"),
            object_type="try",
            object_id=str(end.try_id),
            extra={"error": end.error},
        )


def who(worker: str | None) -> str:
    """Who had a try: its worker, or the runner it had for itself (a pod)."""
    return f"Worker {worker}" if worker else "Its runner"


def _silence(worker: str | None, pod: str | None, node: str | None, node_silent: str | None) -> str:
    """What stopped answering, and where it was, if its executor told."""
    if worker or not node:
        return f"{who(worker)} stopped answering"
    if node_silent == "true":
        return f"Node {node}, where its pod ran, no longer answers"
    return f"{who(worker)} stopped answering (pod {pod} on node {node})"


def confirm_kills(try_ids: list[UUID]) -> None:
    """The processes of these fenced tries are gone."""
    if try_ids:
        sql.run("UPDATE runs_try SET kill_confirmed = true WHERE id = ANY(%s::uuid[]) AND NOT kill_confirmed", [try_ids])


_UNSERVED = """
SELECT ti.id, t.executor, t.queue FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id AND ti.try_id = t.id
WHERE t.state = 'queued' AND ti.state = 'queued' AND t.executor = ANY(%(served)s::text[]) AND t.queued_at < %(before)s
  AND ti.reason_code IS DISTINCT FROM 'no_worker'
  AND NOT EXISTS (SELECT 1 FROM runs_process w WHERE w.kind = 'worker' AND w.ended_at IS NULL AND w.lease_until > clock_timestamp()
    AND w.queues ? t.queue AND coalesce(w.info->>'executor', 'local') = t.executor)
LIMIT 2000
"""
_HOMELESS = """
SELECT ti.id, t.executor FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id AND ti.try_id = t.id
WHERE t.state = 'queued' AND ti.state = 'queued' AND NOT t.executor = ANY(%(known)s::text[]) AND ti.reason_code IS DISTINCT FROM 'no_executor' LIMIT 2000
"""

_UNBROUGHT = """
SELECT ti.id, t.executor FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id AND ti.try_id = t.id
WHERE t.state = 'queued' AND ti.state = 'queued' AND t.submitted_at IS NULL AND t.executor = ANY(%(remote)s::text[]) AND t.queued_at < %(before)s
  AND ti.reason_code IS DISTINCT FROM 'no_executor_process'
  AND NOT EXISTS (SELECT 1 FROM runs_process p WHERE p.kind = 'executor' AND p.ended_at IS NULL AND p.lease_until > clock_timestamp()) LIMIT 2000
"""


def explain_unserved(now: datetime) -> None:
    """Queued tries whose queue no living worker serves say so, and those whose executor this site does not have."""
    served = [e.alias for e in settings.EXECUTORS if e.kind in (registry.LOCAL, "celery")]
    why: dict[int, Reason | None] = {}
    for pk, executor, queue in sql.rows(_UNSERVED, {"before": now - timedelta(seconds=3), "served": served}):
        command = "trackside worker" if executor == registry.LOCAL else "trackside celery worker"
        kind = "worker" if executor == registry.LOCAL else f"worker of executor {executor}"
        why[pk] = Reason("no_worker", f"No {kind} serves queue {queue}. Start one: {command} --queues {queue}")
    remote = [e.alias for e in settings.EXECUTORS if e.kind != registry.LOCAL]
    for pk, executor in sql.rows(_UNBROUGHT, {"before": now - timedelta(seconds=3), "remote": remote}) if remote else ():
        why[pk] = Reason("no_executor_process", f"Nobody brings tasks to executor {executor}. Start its process: trackside executor")
    have = ", ".join(e.alias for e in settings.EXECUTORS)
    for pk, executor in sql.rows(_HOMELESS, {"known": [e.alias for e in settings.EXECUTORS]}):
        text = f"Executor {executor} is not configured here; there is {have}. Add it to TRACKSIDE_EXECUTOR, or change the DAG and clear the task."
        why[pk] = Reason("no_executor", text)
    if why:
        with transaction.atomic():
            free = set(claims.free_instances(why, "queued"))
            transitions.explain({pk: reason for pk, reason in why.items() if pk in free}, now)
