"""`advance(run_pks)`: lock → snapshot → plan → apply → admit. One brain, called where the news is.

The execution API calls it in the request that reports a finished try; the scheduler's tick calls it for runs that are
due. A run that raises is pushed away with back-off and shown; the others go on. Nothing is kept in memory: a crash
anywhere rolls the transaction back and the run is planned again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction

from apps.runs import admission, claims, compiled, hooks, instances, snapshots, sql, transitions, wake
from trackside.core.planning import Plan, plan
from trackside.core.snapshot import CompiledDag, Snapshot
from trackside.core.states import RunState, TaskState

logger = logging.getLogger(__name__)

LARGE_RUN = 2_000
"""Unfinished task instances above which the execution API leaves planning to the scheduler."""
WIDE_RUN, WAITING, WIDE_PAUSE = 250, 32, timedelta(seconds=0.1)
"""Task instances of a run, and those of them that wait for a slot, above which one plan is made for all reports of this time."""
BACK_OFF = (1, 2, 5, 15, 60, 300)
"""Seconds a run that raised is pushed away, by consecutive troubles."""


@dataclass(slots=True)
class Advanced:
    """What one call did, for wake-ups and counters."""

    planned: int = 0
    scheduled: int = 0
    admitted: int = 0
    ended: list[int] = field(default_factory=list)
    """Runs that ended."""
    wake_at: datetime | None = None
    """Earliest moment at which time alone may change one of the runs."""
    must_kill: bool = False
    """Running tries were fenced: workers should hear at once."""


def advance(run_pks: Iterable[int], now: datetime, *, admit: bool = True) -> Advanced:
    """Plan runs that the caller has locked in the current transaction, then admit what fits."""
    done = Advanced()
    for snapshot in _load(list(run_pks), now).values():
        _advance_one(snapshot, now, done)
    if admit and (done.scheduled or admission.anything_scheduled()):
        done.admitted = admission.run_once(now)
    return done


def _load(run_pks: Sequence[int], now: datetime) -> dict[int, Snapshot]:
    found = snapshots.load(run_pks)
    loaded = {pk: s for pk, s in found.items() if s.run.state == RunState.RUNNING}
    for pk in set(run_pks) - set(loaded):
        # ended meanwhile: nothing to plan until something changes
        if pk in found or not sql.rows("SELECT 1 FROM runs_run WHERE id = %s AND state = 'running'", [pk]):
            sql.run("UPDATE runs_run SET advance_at = NULL WHERE id = %s", [pk])
        else:
            _push_away(pk, LookupError("the DAG version of this run is gone or cannot be read"), sql.now())
    return loaded


def _advance_one(snapshot: Snapshot, now: datetime, done: Advanced) -> None:
    run_pk = snapshot.run.pk
    try:
        with transaction.atomic():
            while True:
                decided = plan(snapshot, now)
                _apply(snapshot, decided, now, done)
                if all(e.starts for e in decided.expand) and all(g.starts for g in decided.grow):
                    break
                snapshot = snapshots.load([run_pk])[run_pk]  # new indexes are looked at one by one; there is an end: each round makes some
        done.planned += 1
        if snapshot.dag.needs_past and snapshot.run.logical_date is not None:
            later = (snapshot.dag.spec.dag_id, snapshot.run.logical_date)
            transaction.on_commit(lambda: _tell_later_runs(*later))
    except Exception as e:
        logger.exception("planning run %s of %s failed", snapshot.run.run_id, snapshot.dag.spec.dag_id)
        _push_away(run_pk, e, now)


def _push_away(run_pk: int, error: Exception, now: datetime) -> None:
    """Poison never loops: this run waits longer each time, says why, and nobody else waits with it."""
    troubles = sql.rows("UPDATE runs_run SET troubles = troubles + 1 WHERE id = %s RETURNING troubles", [run_pk])[0][0]
    again = now + timedelta(seconds=BACK_OFF[min(troubles, len(BACK_OFF)) - 1])
    text = f"Planning this run failed {troubles} times ({type(error).__name__}: {error}). It is tried again at {again:%H:%M:%S} UTC."
    sql.run(
        "UPDATE runs_run SET advance_at = %s, reason_code = 'trouble', reason = %s, reason_since = coalesce(reason_since, %s) WHERE id = %s",
        [again, text[:2000], now, run_pk],
    )


def _apply(snapshot: Snapshot, decided: Plan, now: datetime, done: Advanced) -> None:
    """Carry out a plan. Every verb guards its own old states, so the order only matters for reading the code."""
    run_pk = snapshot.run.pk
    transitions.remove(decided.remove, now)
    transitions.skip(decided.skip, now)
    transitions.upstream_fail(decided.upstream_fail, now)
    stopped = transitions.mark(decided.stop_failed, TaskState.FAILED, now) + transitions.mark(decided.stop_skipped, TaskState.SKIPPED, now)
    done.must_kill |= bool(stopped)
    transitions.complete(decided.complete, now)
    schedule = list(decided.schedule)
    for e in decided.expand:
        new = instances.expand(run_pk, snapshot.dag, snapshots.version_of(run_pk), e.pk, e.task_id, e.length, now)
        schedule += new if e.starts else ()
    for g in decided.grow:
        tasks = [(snapshot.dag.graph.tasks[g.task_id], i) for i in g.indexes]
        grown = instances.insert(run_pk, snapshot.dag, snapshots.version_of(run_pk), tasks, now)
        schedule += [r[0] for r in grown] if g.starts else ()
    scheduled = transitions.schedule(schedule, now)
    if any(begins_in_trigger(snapshot.dag, c.task_id) for c in scheduled):
        from apps.runs.triggerer import direct  # it needs this module, too

        deferred = {c.pk for c in direct.begin(snapshot.dag, scheduled, now)}
        scheduled = [c for c in scheduled if c.pk not in deferred]
    done.scheduled += len(scheduled)
    instances.follow_tries([(c.pk, c.task_id, c.try_number) for c in scheduled], snapshot.dag)
    transitions.explain(decided.reasons, now)
    _settle_run(snapshot, decided, now, done)


def begins_in_trigger(dag: CompiledDag, task_id: str) -> bool:
    """Whether a task may begin in the triggerer (`triggerer.direct` says which do)."""
    task = dag.graph.tasks.get(task_id)
    return task is not None and task.start_from_trigger


def _settle_run(snapshot: Snapshot, decided: Plan, now: datetime, done: Advanced) -> None:
    run_pk = snapshot.run.pk
    if decided.outcome is None:
        transitions.planned_run(run_pk, now, decided.run_reason, decided.wake_at)
        if decided.wake_at is not None and (done.wake_at is None or decided.wake_at < done.wake_at):
            done.wake_at = decided.wake_at
        return
    verb = "succeed" if decided.outcome is RunState.SUCCESS else "fail"
    if transitions.move_run(verb, [run_pk], now, decided.run_reason):
        done.ended.append(run_pk)
        hooks.run_ended(run_pk, snapshot.dag, decided.outcome, decided.run_reason, now)


def _tell_later_runs(dag_id: str, logical_date: datetime) -> None:
    """depends_on_past: what ended here may let the next run go on. After commit and row by row, so that no lock is held
    while another is waited for; a crash before it costs the waiting run its own poll (`planning.PAST_POLL`)."""
    told = sql.run(
        "UPDATE runs_run SET advance_at = clock_timestamp() WHERE id = (SELECT id FROM runs_run WHERE dag_id = %s AND state = 'running' "
        "AND logical_date > %s AND reason_code = 'past_run' ORDER BY logical_date LIMIT 1)",
        [dag_id, logical_date],
    )
    if told:
        wake.send(wake.SCHEDULER)


def advance_due(limit: int, now: datetime) -> tuple[int, Advanced]:
    """One transaction of the scheduler: lock due runs nobody else has, advance them; how many were taken."""
    with transaction.atomic():
        pks = claims.take_due_runs(limit)
        if not pks:
            return 0, Advanced()
        _follow_versions(pks, now)
        return len(pks), advance(pks, now)


_BEHIND = """
SELECT r.id, v.id, v.spec_hash FROM runs_run r JOIN dags_dag d ON d.dag_id = r.dag_id JOIN dags_dagversion v ON v.id = d.current_version_id
WHERE r.id = ANY(%s::bigint[]) AND r.dag_version_id IS DISTINCT FROM v.id AND r.bundle_version IS NULL
"""


def _follow_versions(run_pks: Sequence[int], now: datetime) -> None:
    """Runs of bundles without versions (a plain folder) go on with the newest DAG version (Airflow's rule)."""
    for run_pk, version_id, spec_hash in sql.rows(_BEHIND, [list(run_pks)]):
        if (dag := compiled.get_many([(version_id, spec_hash)]).get(version_id)) is not None:
            instances.follow_version(run_pk, dag, version_id, now)


def touch(run_pks: Iterable[int], at: datetime) -> bool:
    """Have the scheduler plan these open runs at `at` or earlier. False if it was going to."""
    statement = """UPDATE runs_run SET advance_at = %(at)s
        WHERE id = ANY(%(runs)s::bigint[]) AND state IN ('queued', 'running') AND (advance_at IS NULL OR advance_at > %(at)s) RETURNING id"""
    return bool(sql.rows(statement, {"at": at, "runs": list(run_pks)}))
