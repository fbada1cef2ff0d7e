"""`run_once()`: adds the events since the last time to the tallies, and hands ended runs and tries to whoever subscribed.

Exactly once, whoever runs it: events, sums and cursor move in one transaction under an advisory lock. It costs the paths on
which tasks run nothing, because it reads what transitions have written anyway. The scheduler calls it every few seconds;
a number may therefore be that old.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from django.db import transaction

from apps.runs import compiled, sql

BATCH = 2000
"""Event rows at a time, so that no transaction is long."""
LOCK = 7_411_003
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
"""Upper edges of the buckets, seconds."""
TRY_ENDS = frozenset({"succeed", "skip_self", "fail", "retry"})
"""Verbs with which a try ends."""
RUN_ENDS = frozenset({"succeed", "fail", "mark_success", "mark_failed"})
FINAL = frozenset({"success", "failed", "skipped", "upstream_failed", "removed", "up_for_retry"})

_OLDEST = """coalesce((
  SELECT x FROM pg_snapshot_xip(pg_current_snapshot()) x
  WHERE NOT EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.backend_xid = x::xid AND a.datname <> current_database())
  ORDER BY x LIMIT 1), pg_snapshot_xmax(pg_current_snapshot()))"""
_READ = f"""
SELECT e.xid::text::bigint, e.id, e.kind, e.verb, coalesce(e.dag_id, ''), e.run_pk, e.payload->>'state', coalesce(e.payload->'tis', '[]')::text
FROM runs_event e WHERE (e.xid, e.id) > (%s::text::xid8, %s) AND e.xid < {_OLDEST} ORDER BY e.xid, e.id LIMIT {BATCH}
"""
_TRIES = """
SELECT t.id, t.number, t.state, t.executor, t.queue, t.queued_at, t.start_date, coalesce(t.end_date, ti.end_date), t.duration, t.final_state,
       CASE WHEN t.number = 1 THEN coalesce((t.snapshot->>'scheduled_at')::timestamptz, ti.scheduled_at) END,
       ti.id, ti.task_id, ti.map_index, r.id, r.dag_id, r.run_id, r.dag_version_id, v.spec_hash, t.error, ti.state, t.number = ti.try_number, r.clear_number,
       (SELECT min(x.queued_at) FROM runs_try x WHERE x.ti_id = ti.id)
FROM unnest(%(pks)s::bigint[], %(numbers)s::int[]) AS e(pk, number)
JOIN runs_try t ON t.ti_id = e.pk AND t.number = e.number JOIN runs_taskinstance ti ON ti.id = t.ti_id
JOIN runs_run r ON r.id = ti.run_id LEFT JOIN dags_dagversion v ON v.id = r.dag_version_id
"""
_RUNS = "SELECT id, dag_id, run_id, run_type, state, run_after, start_date, end_date, clear_number FROM runs_run WHERE id = ANY(%s::bigint[])"
_UPSTREAM_ENDS = """
SELECT ti.run_id, ti.task_id, max(ti.end_date) FROM unnest(%(runs)s::bigint[], %(tasks)s::text[]) AS e(run_pk, task_id)
JOIN runs_taskinstance ti ON ti.run_id = e.run_pk AND ti.task_id = e.task_id GROUP BY 1, 2
"""
_ADD = """
INSERT INTO runs_tally AS t (name, dag_id, label, count, total, buckets)
SELECT e.name, e.dag_id, e.label, e.count, e.total, (SELECT array_agg(b::bigint ORDER BY o) FROM jsonb_array_elements_text(e.buckets) WITH ORDINALITY AS x(b, o))
FROM unnest(%(names)s::text[], %(dags)s::text[], %(labels)s::text[], %(counts)s::bigint[], %(totals)s::float8[], %(buckets)s::jsonb[])
    AS e(name, dag_id, label, count, total, buckets)
ON CONFLICT (name, dag_id, label) DO UPDATE SET count = t.count + excluded.count, total = t.total + excluded.total,
    buckets = (SELECT array_agg(coalesce(a, 0) + coalesce(b, 0) ORDER BY o) FROM unnest(t.buckets, excluded.buckets) WITH ORDINALITY AS x(a, b, o))
"""


@dataclass(frozen=True, slots=True)
class TryEnd:
    """A try that ended, as subscribers hear it."""

    id: Any
    number: int
    state: str
    executor: str
    queue: str
    queued_at: datetime | None
    start: datetime | None
    end: datetime | None
    duration: float | None
    final: str | None
    scheduled_at: datetime | None
    """When its dependencies were met; of the first try only."""
    ti_pk: int
    task_id: str
    map_index: int
    run_pk: int
    dag_id: str
    run_id: str
    version_id: Any
    spec_hash: str | None
    error: str | None
    ti_state: str
    current: bool
    """No later try has begun."""
    clear_number: int
    began: datetime | None
    """When its task instance first had a try."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run that ended, or (state running) began."""

    pk: int
    dag_id: str
    run_id: str
    run_type: str
    state: str
    run_after: datetime
    start: datetime | None
    end: datetime | None
    clear_number: int


@dataclass(slots=True)
class Sums:
    """What one batch adds."""

    rows: dict[tuple[str, str, str], list[Any]] = field(default_factory=dict)

    def add(self, name: str, dag_id: str = "", label: str = "", *, by: int = 1, seconds: float = 0.0) -> None:
        """Count, and add up seconds."""
        row = self.rows.setdefault((name, dag_id, label), [0, 0.0, None])
        row[0] += by
        row[1] += seconds

    def observe(self, name: str, seconds: float, label: str = "") -> None:
        """Into a histogram of the whole site."""
        self.add(name, "", label, seconds=seconds)
        row = self.rows[name, "", label]
        row[2] = row[2] or [0] * (len(BOUNDS) + 1)
        row[2][bisect_left(BOUNDS, seconds)] += 1


Subscriber = Callable[[Sequence[RunEnd], Sequence[TryEnd]], None]
_subscribers: list[Subscriber] = []


def subscribe(subscriber: Subscriber) -> None:
    """Call it after the commit with what ended; each end is told once, by one process. It must return at once."""
    _subscribers.append(subscriber)


def run_once() -> int:
    """Add what happened since the last time, at most a batch; how many event rows that were."""
    with transaction.atomic():
        if not sql.rows("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])[0][0]:
            return 0
        events = _next()
        if not events:
            return 0
        runs, tries = _ended(events)
        _store(_sums(events, runs, tries))
        sql.run("UPDATE runs_tallycursor SET xid = %s, event_id = %s WHERE id = 1", [events[-1][0], events[-1][1]])
    for subscriber in _subscribers:
        subscriber([r for r in runs if r.end is not None], tries)
    return len(events)


def _next() -> list[tuple[Any, ...]]:
    cursor = sql.rows("SELECT xid, event_id, xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint FROM runs_tallycursor WHERE id = 1")
    if not cursor:
        cursor = sql.rows("INSERT INTO runs_tallycursor (id, xid, event_id) VALUES (1, 0, 0) RETURNING xid, event_id, false")
    xid, event_id, foreign = cursor[0]
    if foreign:
        # restored from another server, which had counted further: its events are in the tallies, ours begin now
        sql.run("UPDATE runs_event SET xid = '3' WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())")
        sql.run("UPDATE runs_tallycursor SET xid = pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1, event_id = %s", [2**62])
        return []
    return sql.rows(_READ, [str(xid), event_id])


def _ended(events: Sequence[tuple[Any, ...]]) -> tuple[list[RunEnd], list[TryEnd]]:
    told = [ti for _, _, kind, verb, *_, tis in events if kind == "task" and verb in TRY_ENDS for ti in orjson.loads(tis)]
    tries = [TryEnd(*row) for row in sql.rows(_TRIES, {"pks": [t[0] for t in told], "numbers": [t[3] for t in told]})] if told else []
    pks = {run_pk for _, _, kind, verb, _, run_pk, *_ in events if kind == "run" and (verb in RUN_ENDS or verb == "begin") and run_pk}
    return [RunEnd(*row) for row in sql.rows(_RUNS, [sorted(pks)])] if pks else [], tries


def _sums(events: Sequence[tuple[Any, ...]], runs: Sequence[RunEnd], tries: Sequence[TryEnd]) -> Sums:
    sums = Sums()
    known = {run.pk: run for run in runs}
    for _, _, kind, verb, dag_id, run_pk, state, tis in events:
        if kind == "task" and verb == "start":
            sums.add("ti_start", dag_id, by=len(orjson.loads(tis)))
        elif kind == "task" and state in FINAL:
            sums.add("ti_finish", dag_id, state, by=len(orjson.loads(tis)))
        elif kind == "run" and run_pk in known:
            _add_run(sums, known[run_pk], verb)
    for one in tries:
        _add_try(sums, one)
    for gap in gaps(tries):
        sums.observe("task_gap", gap)
    return sums


def _add_run(sums: Sums, run: RunEnd, verb: str) -> None:
    if verb == "begin" and run.start:
        sums.add("run_begun", run.dag_id, run.run_type)
        if run.run_type == "scheduled":
            delay = max((run.start - run.run_after).total_seconds(), 0.0)
            sums.add("schedule_delay", run.dag_id, seconds=delay)
            sums.observe("schedule_delay", delay)
    elif verb in RUN_ENDS and run.end:
        sums.add("run_duration", run.dag_id, run.state, seconds=(run.end - run.start).total_seconds() if run.start else 0.0)


def _add_try(sums: Sums, one: TryEnd) -> None:
    if one.state == "lost":
        sums.add("try_lost", one.dag_id, one.executor)
    if one.start is None:
        return
    if one.duration is not None:
        sums.add("task_duration", one.dag_id, one.final or "", seconds=one.duration)
        sums.observe("task_duration", one.duration)
    if one.queued_at and one.queued_at <= one.start:
        sums.observe("queued_duration", (one.start - one.queued_at).total_seconds(), one.queue)
    if one.scheduled_at and one.queued_at and one.scheduled_at <= one.queued_at:
        sums.observe("scheduled_duration", (one.queued_at - one.scheduled_at).total_seconds(), one.queue)


def gaps(tries: Sequence[TryEnd]) -> list[float]:
    """Seconds between the end of the last task directly above and the start of each first try; nothing for tasks without
    any above, and for those that were cleared since."""
    first = [t for t in tries if t.number == 1 and t.start is not None and t.version_id is not None]
    dags = compiled.get_many({(t.version_id, t.spec_hash or "") for t in first}) if first else {}
    above = {t.id: sorted(dags[t.version_id].graph.upstream.get(t.task_id, ())) for t in first if t.version_id in dags}
    pairs = sorted({(t.run_pk, task) for t in first for task in above.get(t.id, ())})
    if not pairs:
        return []
    found = {(run, task): end for run, task, end in sql.rows(_UPSTREAM_ENDS, {"runs": [p[0] for p in pairs], "tasks": [p[1] for p in pairs]})}
    gaps = []
    for one in first:
        ends = [end for task in above.get(one.id, ()) if (end := found.get((one.run_pk, task))) is not None]
        if ends and one.start is not None and max(ends) <= one.start:
            gaps.append((one.start - max(ends)).total_seconds())
    return gaps


def _store(sums: Sums) -> None:
    if not sums.rows:
        return
    items = sorted(sums.rows.items())
    sql.run(_ADD, {
        "names": [k[0] for k, _ in items], "dags": [k[1] for k, _ in items], "labels": [k[2][:256] for k, _ in items],
        "counts": [v[0] for _, v in items], "totals": [v[1] for _, v in items],
        "buckets": [orjson.dumps(v[2]).decode() if v[2] else "[]" for _, v in items],
    })  # fmt: skip


def tidy() -> int:
    """Drop the sums of DAGs that do not exist any more."""
    return sql.run("DELETE FROM runs_tally t WHERE t.dag_id <> '' AND NOT EXISTS (SELECT 1 FROM dags_dag d WHERE d.dag_id = t.dag_id)")
