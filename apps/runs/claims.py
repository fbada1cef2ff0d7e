"""Every lock of the ledger, by name. Nobody else says FOR UPDATE or SKIP LOCKED on its tables.

Order: runs first (ascending id), then task instances; admission's advisory lock last. Whoever holds the advisory lock
takes only rows it can have at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from apps.runs import sql

ADMISSION_KEY = 0x7472_6B31
"""Advisory lock that serialises counting limits and admitting under them."""

# Tries a worker may take, best first; rows that anybody is working on are left alone.
PICK_TRIES = """
    SELECT t.id, t.ti_id FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id JOIN runs_run r ON r.id = ti.run_id
    WHERE t.state = 'queued' AND ti.state = 'queued' AND ti.try_id = t.id AND t.executor = %(executor)s::text AND t.queue = ANY(%(queues)s::text[])
    ORDER BY ti.priority_weight DESC, r.run_after, ti.map_index, ti.id
    LIMIT %(limit)s::int FOR UPDATE OF t, ti SKIP LOCKED
"""

# One certain try, for a runner that was started for it.
PICK_ONE_TRY = """
    SELECT t.id, t.ti_id FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id
    WHERE t.id = %(try_id)s::uuid AND t.state = 'queued' AND ti.state = 'queued' AND ti.try_id = t.id FOR UPDATE OF t, ti SKIP LOCKED
"""


def lock_runs(run_pks: Iterable[int]) -> list[int]:
    """Lock these runs, waiting for whoever has them (short transactions only); those that still exist, ascending."""
    return [r[0] for r in sql.rows("SELECT id FROM runs_run WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE", [sorted(set(run_pks))])]


def try_lock_runs(run_pks: Iterable[int]) -> list[int]:
    """Lock those of the runs that nobody else works on."""
    return [
        r[0]
        for r in sql.rows("SELECT id FROM runs_run WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE SKIP LOCKED", [sorted(set(run_pks))])
    ]


def take_due_runs(limit: int) -> list[int]:
    """Lock running runs whose planner time has come, oldest first, skipping those in other hands."""
    return [
        r[0]
        for r in sql.rows(
            "SELECT id FROM runs_run WHERE state = 'running' AND advance_at <= clock_timestamp() "
            "ORDER BY advance_at LIMIT %s FOR UPDATE SKIP LOCKED",
            [limit],
        )
    ]


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
