"""`tick()`: 1 create due runs (by time, by assets), 2 begin queued runs, 3 plan what is due, 4 admit, 5 find lost tries, 6 say when to wake.

Stateless: any number of schedulers run side by side, each step takes rows nobody else has. The loop around it is
`loop.py`; the command is `management/commands/scheduler.py`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from apps.dags import catalogue
from apps.dags.models import Dag
from apps.runs import admission, brain, claims, housekeeping, processes, reaper, sql, transitions, wake
from apps.runs.actions import creation
from apps.runs.assets import consumers
from apps.runs.backfills import actions as backfills
from apps.runs.errands import callbacks, deadlines
from apps.runs.errors import Conflict
from apps.runs.questions import answering
from apps.runs.triggerer import rows as trigger_rows
from apps.runs.triggerer import timeouts
from trackside.core.reasons import Reason
from trackside.core.states import RunState, RunType
from trackside.core.timetables import DataInterval, from_dict, generate_run_id
from trackside.core.timetables.partition import CronPartition

logger = logging.getLogger(__name__)

RUNS_PER_DAG_AND_TICK = 10
RUNS_PER_TRANSACTION = 20
SAFETY = timedelta(seconds=5)
RETRY_SKIPPED = timedelta(milliseconds=50)
POISON_PAUSE = timedelta(minutes=1)
PRUNE_EVERY = timedelta(hours=1)
REAP_EVERY = timedelta(seconds=2)


@dataclass(slots=True)
class Tick:
    """Counters of one pass and the moment the next one is due."""

    created: int = 0
    begun: int = 0
    planned: int = 0
    scheduled: int = 0
    admitted: int = 0
    lost: int = 0
    next_at: datetime | None = None


class Scheduler:
    """One scheduler process. Keeps nothing that matters: only when it last did its slow duties."""

    def __init__(self) -> None:
        self._reaped_at: datetime | None = None
        self._settled_at: datetime | None = None
        self._pruned_at: datetime | None = None

    def tick(self) -> Tick:
        """One pass over everything that is due."""
        now = sql.now()
        tick = Tick()
        tick.created = create_due_runs(now)
        by_assets, passed = consumers.create_runs(now)
        tick.created += by_assets
        tick.begun, skipped = begin_runs(now)
        reaped = self._reap(now, tick)
        timeouts.run_once(now)
        deadlines.run_once(now)
        answering.time_out(now)
        self._advance(tick)
        self._admit(tick)
        if reaped:
            admission.explain_waiting(now)
        tick.next_at = next_due(now)
        if skipped or passed or (tick.next_at <= now and not (tick.created or tick.begun or tick.planned)):
            # what is due is in other hands: soon again, but not at once
            tick.next_at = now + RETRY_SKIPPED
        wake_others(tick)
        return tick

    def _reap(self, now: datetime, tick: Tick) -> bool:
        if self._reaped_at is not None and now - self._reaped_at < REAP_EVERY:
            return False
        self._reaped_at = now
        tick.lost = len(reaper.find_lost(now))
        processes.bury_dead()
        reaper.explain_unserved(now)
        trigger_rows.tidy(now)
        backfills.complete(now)
        if self._settled_at is None or now - self._settled_at >= consumers.SETTLE_EVERY:
            self._settled_at = now
            consumers.settle(now)
        if self._pruned_at is None or now - self._pruned_at >= PRUNE_EVERY:
            self._pruned_at = now
            housekeeping.run_once()
        return True

    def _advance(self, tick: Tick) -> None:
        while True:
            taken, done = brain.advance_due(RUNS_PER_TRANSACTION, sql.now())
            tick.planned += done.planned
            tick.scheduled += done.scheduled
            tick.admitted += done.admitted
            if done.must_kill:
                wake.send(wake.WORK)
            if taken < RUNS_PER_TRANSACTION:
                return
            wake_others(tick)

    def _admit(self, tick: Tick) -> None:
        if admission.anything_scheduled():
            with transaction.atomic():
                tick.admitted += admission.run_once(sql.now())


def wake_others(tick: Tick) -> None:
    """Tell workers and pages what this pass did."""
    channels = []
    if tick.admitted or tick.lost:
        channels.append(wake.WORK)
    if tick.created or tick.begun or tick.planned or tick.admitted or tick.lost:
        channels.append(wake.LIVE)
    if channels:
        wake.send(*channels)


# --- 1 runs that are due ------------------------------------------------------------------------------------------------
def create_due_runs(now: datetime) -> int:
    """Create the scheduled runs whose time has come, a few per DAG and tick; the number created."""
    due = [r[0] for r in sql.rows(
        "SELECT dag_id FROM dags_dag WHERE next_run_after <= %s AND NOT is_paused AND NOT is_stale AND NOT has_import_errors "
        "ORDER BY next_run_after LIMIT 100", [now])]  # fmt: skip
    return sum(_create_for(dag_id, now) for dag_id in due)


_poisoned: dict[str, datetime] = {}
"""DAGs whose runs could not be created, and until when this process leaves them alone. Their due moment stays what it is."""


def _create_for(dag_id: str, now: datetime) -> int:
    if _poisoned.get(dag_id, now) > now:
        return 0
    _poisoned.pop(dag_id, None)
    try:
        with transaction.atomic():
            if not claims.take_dags([dag_id]):
                return 0
            dag = creation.find(dag_id)
            return _create_runs(dag, now) if dag is not None else 0
    except Exception as e:
        # this DAG waits and says why; the others go on
        logger.exception("creating runs of %s failed", dag_id)
        _poisoned[dag_id] = now + POISON_PAUSE
        Dag.objects.filter(dag_id=dag_id).update(
            blocked_reason=f"Creating its next run failed: {type(e).__name__}: {e}. Tried again in a minute."[:2000],
        )
        return 0


def _create_runs(dag: Dag, now: datetime) -> int:
    checked = creation.checked_of(dag)
    created = 0
    if checked is None:
        _block(dag, "It has no version that can be read. Save its file again, or delete the DAG.")
        return 0
    active = sql.rows(
        "SELECT count(*) FROM runs_run WHERE dag_id = %s AND state IN ('queued', 'running') AND backfill_id IS NULL", [dag.dag_id]
    )[0][0]
    while not dag.is_paused and dag.next_run_after and dag.next_run_after <= now and created < RUNS_PER_DAG_AND_TICK:
        if active >= dag.max_active_runs:
            _block(dag, f"{active} runs are active and max_active_runs is {dag.max_active_runs}. The next run is created when one ends.")
            return created
        run_after, logical_date = dag.next_run_after, dag.next_logical_date
        has_interval = dag.next_interval_start is not None and dag.next_interval_end is not None
        interval = DataInterval(dag.next_interval_start, dag.next_interval_end) if has_interval else None  # type: ignore[arg-type]
        date, key = next_partition(dag)
        suffix = creation.partition_suffix(key) if key is not None else creation.random_suffix()
        try:
            creation.create_run(
                dag, checked, run_id=dag.next_run_id or generate_run_id(RunType.SCHEDULED, run_after, logical_date, suffix)[:250],
                run_type=RunType.SCHEDULED, logical_date=logical_date, interval=interval, run_after=run_after, now=now,
                partition_key=key, partition_date=date,
            )  # fmt: skip
            created += 1
            active += 1
        except Conflict:
            logger.info("%s already has a run for %s; going on to the next", dag.dag_id, logical_date)
        # a run about a partition has no interval: the next one follows the moment it was due
        catalogue.schedule_next(dag, DataInterval.exact(run_after) if interval is None and key is not None else interval, now)
        dag.save(update_fields=catalogue.NEXT_COLUMNS)
    _block(dag, None)
    return created


def next_partition(dag: Dag) -> tuple[datetime | None, str | None]:
    """Date and key of the next run of a DAG whose schedule makes partitions; (None, None) for others."""
    if dag.timetable.get("kind") != CronPartition.kind or dag.next_run_after is None:
        return None, None
    timetable = from_dict(dag.timetable)
    assert isinstance(timetable, CronPartition)
    return timetable.partition(dag.next_run_after)


def _block(dag: Dag, why: str | None) -> None:
    if dag.blocked_reason != why:
        dag.blocked_reason = why
        dag.save(update_fields=["blocked_reason"])


# --- 2 runs that may begin ----------------------------------------------------------------------------------------------
# The oldest few of every DAG, so that a DAG with thousands of waiting runs holds up nobody, and all that do not say yet why
# they wait.
_QUEUED = """
SELECT id, dag_id, backfill_id, is_early, is_paused, is_held, max_active_runs, reason_code, run_after FROM (
    SELECT r.id, r.dag_id, r.backfill_id, r.run_after > %(now)s AS is_early, d.is_paused,
           coalesce(b.is_paused AND b.completed_at IS NULL, false) AS is_held, coalesce(b.max_active_runs, d.max_active_runs) AS max_active_runs,
           r.reason_code, r.run_after, row_number() OVER (
               PARTITION BY r.dag_id, r.backfill_id ORDER BY r.run_after > %(now)s, r.backfill_order NULLS FIRST, r.run_after, r.id) AS place
    FROM runs_run r JOIN dags_dag d ON d.dag_id = r.dag_id LEFT JOIN runs_backfill b ON b.id = r.backfill_id WHERE r.state = 'queued'
) q
WHERE (place <= 100 AND NOT is_paused AND NOT is_held AND NOT is_early)
    OR reason_code IS DISTINCT FROM CASE WHEN is_paused THEN 'paused' WHEN is_held THEN 'backfill_paused' WHEN is_early THEN 'run_after'
        ELSE 'max_active_runs' END
ORDER BY is_paused OR is_held, is_early, place, id LIMIT 2000
"""


def begin_runs(now: datetime) -> tuple[int, bool]:
    """Queued → running, oldest first, under max_active_runs (the DAG's, or the backfill's for its runs); the others get
    their sentence.

    The number begun, and whether DAGs were skipped because somebody else works on them (look again soon: their
    holder may have read before our run was there).
    """
    queued = sql.rows(_QUEUED, {"now": now})
    if not queued:
        return 0, False
    with transaction.atomic():
        dags = set(claims.take_dags({q[1] for q in queued}))
        running = {(r[0], r[1]): r[2] for r in sql.rows(
            "SELECT dag_id, backfill_id, count(*) FROM runs_run WHERE state = 'running' AND dag_id = ANY(%s::text[]) GROUP BY 1, 2", [sorted(dags)]
        )}  # fmt: skip
        begin: list[int] = []
        for pk, dag_id, backfill, is_early, paused, held, limit, code, run_after in queued:
            if dag_id not in dags:
                continue
            if paused:
                _hold(pk, code, Reason("paused", "The DAG is paused. Unpause it to let the run begin."), now)
            elif held:
                _hold(pk, code, Reason("backfill_paused", "Its backfill is paused. Unpause the backfill to let the run begin."), now)
            elif is_early:
                _hold(pk, code, Reason("run_after", f"It begins at {run_after:%Y-%m-%d %H:%M:%S} UTC."), now)
            elif running.get((dag_id, backfill), 0) >= limit:
                of = "DAG" if backfill is None else "backfill"
                _hold(pk, code, Reason("max_active_runs", f"{limit} runs of this {of} are running (max_active_runs). It begins when one ends."), now)
            else:
                running[dag_id, backfill] = running.get((dag_id, backfill), 0) + 1
                begin.append(pk)
        begun = transitions.move_run("begin", begin, now, advance_at=now)
        callbacks.run_changed(begun, RunState.RUNNING, "started")
        return len(begun), len(dags) < len({q[1] for q in queued})


def _hold(run_pk: int, code: str | None, why: Reason, now: datetime) -> None:
    if code != why.code:
        sql.run(
            "WITH held AS (UPDATE runs_run SET reason_code = %(code)s, reason = %(text)s, reason_since = %(now)s "
            "WHERE id = %(id)s AND state = 'queued' RETURNING id, dag_id, run_id) "
            "INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload) "
            "SELECT %(now)s, 'run', 'explain', dag_id, id, run_id, '{}'::jsonb FROM held",
            {"code": why.code, "text": why.text, "now": now, "id": run_pk},
        )


# --- 6 when to look again -----------------------------------------------------------------------------------------------
_NEXT = """
SELECT least(
    (SELECT min(advance_at) FROM runs_run WHERE state = 'running' AND advance_at IS NOT NULL),
    (SELECT min(run_after) FROM runs_run WHERE state = 'queued' AND run_after > %(now)s),
    (SELECT min(next_at) FROM runs_taskinstance WHERE state IN ('deferred', 'awaiting_input') AND next_at > %(now)s),
    (SELECT min(deadline_time) FROM runs_deadline WHERE NOT missed),
    (SELECT min(next_run_after) FROM dags_dag WHERE NOT is_paused AND NOT is_stale AND NOT has_import_errors AND blocked_reason IS NULL))
"""


def next_due(now: datetime) -> datetime:
    """When time alone makes work; at most SAFETY ahead, because hints can be lost."""
    first = sql.rows(_NEXT, {"now": now})[0][0]
    return min(first, now + SAFETY) if first else now + SAFETY
