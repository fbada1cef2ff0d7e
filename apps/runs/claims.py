"""Every lock of the ledger, by name. Nobody else says FOR UPDATE or SKIP LOCKED on its tables.

Order: a worker's process row first (exchange only), then runs (ascending id), then task instances; admission's advisory
lock last. Whoever holds the advisory lock takes only rows it can have at once. Without the lock of its run a task
instance is only taken with SKIP LOCKED, or as the single row of a transaction.

All of them are NO KEY locks: foreign keys are checked at COMMIT, when KEY SHARE on the run is asked for by transactions
that hold admission already; a plain FOR UPDATE would make them wait for somebody who waits for admission.

A LIMIT under SKIP LOCKED always stands in a materialized CTE. As `id IN (SELECT … LIMIT n … SKIP LOCKED)` the planner may run
it once per row of the outer side of a nested loop, each time taking n more.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from apps.runs import sql

ADMISSION_KEY = 0x7472_6B31
"""Advisory lock that serialises counting limits and admitting under them."""

PLACE_KEY = 0x7472_6B37
"""First half of the advisory locks of warm pods."""

# Tries a worker may take, best first; rows that anybody is working on are left alone, and so are instances of which an
# earlier try is still being killed: two tries of one instance never run at once.
PICK_TRIES = """
    SELECT t.id, t.ti_id FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id JOIN runs_run r ON r.id = ti.run_id
    WHERE t.state = 'queued' AND ti.state = 'queued' AND ti.try_id = t.id AND t.executor = %(executor)s::text AND t.queue = ANY(%(queues)s::text[])
        AND NOT EXISTS (SELECT 1 FROM runs_try o WHERE o.ti_id = t.ti_id AND NOT o.kill_confirmed)
    ORDER BY ti.priority_weight DESC, r.run_after, ti.map_index, ti.id
    LIMIT %(limit)s::int FOR NO KEY UPDATE OF t, ti SKIP LOCKED
"""

# The same for a worker that a broker brings its tries to.
PICK_WANTED = PICK_TRIES.replace("t.queue = ANY(%(queues)s::text[])", "t.id = ANY(%(wanted)s::uuid[])")

# One certain try, for a runner that was started for it.
PICK_ONE_TRY = """
    SELECT t.id, t.ti_id FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id
    WHERE t.id = %(try_id)s::uuid AND t.state = 'queued' AND ti.state = 'queued' AND ti.try_id = t.id
        AND NOT EXISTS (SELECT 1 FROM runs_try o WHERE o.ti_id = t.ti_id AND NOT o.kill_confirmed) FOR NO KEY UPDATE OF t, ti SKIP LOCKED
"""

# Tries that their executor must send on their way: new ones, and those it knows to have been lost on the way.
TAKE_UNSUBMITTED = """
    WITH picked AS MATERIALIZED (
        SELECT t.id FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id
        WHERE t.state = 'queued' AND ti.state = 'queued' AND ti.try_id = t.id AND t.executor = %(executor)s::text
            AND (t.submitted_at IS NULL OR t.id = ANY(%(again)s::uuid[]))
            AND NOT EXISTS (SELECT 1 FROM runs_try o WHERE o.ti_id = t.ti_id AND NOT o.kill_confirmed)
        ORDER BY ti.priority_weight DESC, t.queued_at, ti.id LIMIT %(limit)s::int FOR NO KEY UPDATE OF t SKIP LOCKED)
    UPDATE runs_try s SET submitted_at = clock_timestamp(), submissions = s.submissions + 1 FROM picked WHERE s.id = picked.id
    RETURNING s.id
"""


# The next try for a warm pod that has none: nobody but this pod starts it from here on.
HAND_TO_PLACE = """
    WITH picked AS MATERIALIZED (
        SELECT t.id FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id JOIN runs_run r ON r.id = ti.run_id
        WHERE t.reuse_key = %(key)s::text AND t.reuse_key > '' AND t.state IN ('queued', 'running') AND t.state = 'queued' AND t.place = ''
            AND ti.state = 'queued' AND ti.try_id = t.id
            AND NOT EXISTS (SELECT 1 FROM runs_try o WHERE o.ti_id = t.ti_id AND NOT o.kill_confirmed)
        ORDER BY ti.priority_weight DESC, r.run_after, ti.map_index, ti.id LIMIT 1 FOR NO KEY UPDATE OF t SKIP LOCKED)
    UPDATE runs_try s SET place = %(place)s::text, facts = coalesce(s.facts, '{}'::jsonb) || jsonb_build_object('pod', %(place)s::text)
    FROM picked WHERE s.id = picked.id
    RETURNING s.id
"""


# The same for tries that no executor has taken up yet: this is their submission.
SUBMIT_TO_PLACE = """
    WITH picked AS MATERIALIZED (
        SELECT t.id FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id
        WHERE t.id = ANY(%(ids)s::uuid[]) AND t.state = 'queued' AND t.submitted_at IS NULL AND ti.state = 'queued' AND ti.try_id = t.id
            AND NOT EXISTS (SELECT 1 FROM runs_try o WHERE o.ti_id = t.ti_id AND NOT o.kill_confirmed)
        ORDER BY array_position(%(ids)s::uuid[], t.id) LIMIT 1 FOR NO KEY UPDATE OF t SKIP LOCKED)
    UPDATE runs_try s SET reuse_key = %(key)s::text, place = %(place)s::text, submitted_at = clock_timestamp(), submissions = s.submissions + 1,
        facts = coalesce(s.facts, '{}'::jsonb) || jsonb_build_object('pod', %(place)s::text)
    FROM picked WHERE s.id = picked.id
    RETURNING s.id
"""


def lock_place(place: str) -> None:
    """Against other calls of the same warm pod (a connection that broke may still be served); held to the end of the transaction."""
    sql.rows("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [PLACE_KEY, place])


# Triggers nobody alive waits for, most important first; the rows are the claimer's from here on.
TAKE_TRIGGERS = """
    WITH picked AS MATERIALIZED (
        SELECT t.id FROM runs_trigger t JOIN runs_taskinstance i ON i.id = t.ti_id AND i.state = 'deferred' AND i.try_id = t.try_id
        LEFT JOIN runs_process p ON p.id = t.triggerer_id
        WHERE (p.id IS NULL OR p.ended_at IS NOT NULL OR p.lease_until < clock_timestamp())
            AND (t.queue = ANY(%(queues)s::text[]) OR (%(queues)s::text[] IS NULL))
        ORDER BY i.priority_weight DESC, t.id LIMIT %(limit)s::int FOR NO KEY UPDATE OF t SKIP LOCKED)
    UPDATE runs_trigger g SET triggerer_id = %(me)s::uuid, claimed_at = %(now)s::timestamptz
    FROM picked, runs_taskinstance ti WHERE g.id = picked.id AND ti.id = g.ti_id
    RETURNING g.id, ti.id, ti.run_id, g.classpath, ti.reason_code
"""

_TAKE_WATCHERS = """
    WITH picked AS MATERIALIZED (
        SELECT w.id FROM runs_watcher w LEFT JOIN runs_process p ON p.id = w.triggerer_id
        WHERE (p.id IS NULL OR p.ended_at IS NOT NULL OR p.lease_until < clock_timestamp())
            AND (w.failed_at IS NULL OR w.failed_at < %(now)s::timestamptz - interval '30 seconds')
        ORDER BY w.id LIMIT %(limit)s::int FOR NO KEY UPDATE OF w SKIP LOCKED)
    UPDATE runs_watcher w SET triggerer_id = %(me)s::uuid, claimed_at = %(now)s::timestamptz FROM picked WHERE w.id = picked.id
    RETURNING w.id
"""
WATCHERS_KEY = 0x7472_6B36
"""Advisory lock of whoever makes the rows of watchers what the assets say."""


def take_watchers(me: UUID, limit: int, now: datetime) -> list[int]:
    """Claim watchers of assets that no living triggerer holds and that did not just fail."""
    return [r[0] for r in sql.rows(_TAKE_WATCHERS, {"me": me, "limit": limit, "now": now})]


def try_watchers() -> bool:
    """The right to change rows of watchers, unless somebody has it; held to the end of the transaction."""
    return bool(sql.rows("SELECT pg_try_advisory_xact_lock(%s)", [WATCHERS_KEY])[0][0])


# Triggers whose instance does not wait for them any more; those just being fired are left to whoever fires them.
DELETE_DEAD_TRIGGERS = """
    WITH picked AS MATERIALIZED (
        SELECT t.id FROM runs_trigger t JOIN runs_taskinstance i ON i.id = t.ti_id
        WHERE i.state <> 'deferred' OR i.try_id <> t.try_id LIMIT 1000 FOR NO KEY UPDATE OF t SKIP LOCKED)
    DELETE FROM runs_trigger g USING picked WHERE g.id = picked.id
"""


def lock_runs(run_pks: Iterable[int]) -> list[int]:
    """Lock these runs, waiting for whoever has them (short transactions only); those that still exist, ascending."""
    return [r[0] for r in sql.rows("SELECT id FROM runs_run WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE", [sorted(set(run_pks))])]


_RUNS_OF_TRIES = """
SELECT id FROM runs_run WHERE id IN (SELECT ti.run_id FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id WHERE t.id = ANY(%s::uuid[]))
ORDER BY id FOR NO KEY UPDATE
"""


def lock_runs_of(try_ids: Iterable[UUID]) -> list[int]:
    """`lock_runs` for the runs of these tries."""
    return [r[0] for r in sql.rows(_RUNS_OF_TRIES, [list(try_ids)])]


def lock_instances(pks: Iterable[int]) -> dict[int, tuple[str, UUID]]:
    """Lock task instances of runs that the caller has locked, so that no claim or admission moves them meanwhile:
    pk → (state, current try id)."""
    return {
        pk: (state, try_id)
        for pk, state, try_id in sql.rows(
            "SELECT id, state, try_id FROM runs_taskinstance WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE", [sorted(set(pks))]
        )
    }


def free_instances(pks: Iterable[int], state: str) -> list[int]:
    """Lock those of the task instances that are in this state and that nobody works on, for callers without the run's lock."""
    return [
        r[0]
        for r in sql.rows(
            "SELECT id FROM runs_taskinstance WHERE id = ANY(%s::bigint[]) AND state = %s ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
            [list(pks), state],
        )
    ]


def lock_worker(worker: UUID) -> tuple[int, int] | None:
    """Lock a worker's row against its own other calls: (epoch, slots), None if it is not known. Before any other lock."""
    rows = sql.rows("SELECT epoch, slots FROM runs_process WHERE id = %s FOR NO KEY UPDATE", [worker])
    return rows[0] if rows else None


def try_lock_runs(run_pks: Iterable[int]) -> list[int]:
    """Lock those of the runs that nobody else works on."""
    return [
        r[0]
        for r in sql.rows("SELECT id FROM runs_run WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED", [sorted(set(run_pks))])
    ]


def take_due_runs(limit: int) -> list[int]:
    """Lock running runs whose planner time has come, oldest first, skipping those in other hands."""
    return [
        r[0]
        for r in sql.rows(
            "SELECT id FROM runs_run WHERE state = 'running' AND advance_at <= clock_timestamp() "
            "ORDER BY advance_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED",
            [limit],
        )
    ]


def lock_queued_assets(dag_id: str) -> list[tuple[int, datetime]]:
    """Lock the news a consumer has not used yet, waiting for tasks that are just adding to them: (row id, newest event).
    The DAG is locked; the order is that of `assets.events`."""
    statement = "SELECT id, updated_at FROM runs_queuedasset WHERE dag_id = %s ORDER BY asset_id FOR NO KEY UPDATE"
    return sql.rows(statement, [dag_id])  # type: ignore[return-value]


def take_dags(dag_ids: Iterable[str]) -> list[str]:
    """Lock DAG rows (creation and start of runs under max_active_runs), skipping those in other hands."""
    return [
        r[0]
        for r in sql.rows(
            "SELECT dag_id FROM dags_dag WHERE dag_id = ANY(%s::text[]) ORDER BY dag_id FOR NO KEY UPDATE SKIP LOCKED",
            [sorted(set(dag_ids))],
        )
    ]


def lock_admission() -> None:
    """Wait for the right to count and admit; held to the end of the transaction."""
    sql.rows("SELECT pg_advisory_xact_lock(%s)", [ADMISSION_KEY])


_TAKE_ERRANDS = """
    WITH picked AS MATERIALIZED (
        SELECT o.id FROM runs_errand o LEFT JOIN runs_process p ON p.id = o.process_id
        WHERE o.runs_in = %(where)s AND (o.status = 'queued' OR (o.status = 'running'
            AND (p.id IS NULL OR p.ended_at IS NOT NULL OR p.lease_until < clock_timestamp())))
        ORDER BY o.id LIMIT %(limit)s FOR NO KEY UPDATE OF o SKIP LOCKED)
    UPDATE runs_errand e SET status = 'running', process_id = %(me)s::uuid, started_at = clock_timestamp(), attempts = attempts + 1
    FROM picked WHERE e.id = picked.id
    RETURNING e.id, e.attempts
"""


def take_errands(process: UUID, limit: int, runs_in: str) -> list[tuple[int, int]]:
    """Claim errands that nobody alive runs, oldest first: (pk, how often it was started, this time included)."""
    return sorted(sql.rows(_TAKE_ERRANDS, {"me": process, "where": runs_in, "limit": limit}))  # type: ignore[arg-type]
