"""Section about calls of the REST API on a full ledger: a page of runs out of a million, a page of instances of a large run, a trigger.

The rows are written by SQL and taken away again; no task runs. Measured is CPU of web process and PostgreSQL per call: how many
statements a call takes is held by `apps/runs/tests/test_api_cost.py`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from bench import machine, workloads
from config.embedded_postgres import read_server_info

if TYPE_CHECKING:
    from bench.sections import Bench

DAG, WIDE, TASKS = "bench_reads", "wide", 10
_RUNS = """
INSERT INTO runs_run (dag_id, run_id, run_type, state, run_after, queued_at, start_date, end_date, updated_at, conf, triggered_by,
    dag_version_id, clear_number, expanded, troubles)
SELECT d.dag_id, CASE WHEN n = 0 THEN 'wide' ELSE 'r' || n END, 'manual', 'success', at, at, at, at + interval '1 minute', at, '{}',
    'rest_api', d.current_version_id, 0, true, 0
FROM dags_dag d, generate_series(0, %(count)s) n, LATERAL (SELECT now() - make_interval(mins => n) AS at) m WHERE d.dag_id = %(dag)s
"""
_INSTANCES = """
INSERT INTO runs_taskinstance (run_id, dag_id, task_id, map_index, state, try_id, try_number, max_tries, infra_failures, start_date,
    end_date, duration, updated_at, operator, task_display_name, pool, pool_slots, queue, priority_weight, hostname, unixname,
    dag_version_id, reschedules)
SELECT r.id, r.dag_id, 't00', n, 'success', gen_random_uuid(), 1, 0, 0, r.start_date,
    r.end_date, 60, r.end_date, '@task', 't00', 'default_pool', 1, 'default', 1, '', '',
    r.dag_version_id, 0
FROM runs_run r, generate_series(1, %(count)s) n WHERE r.dag_id = %(dag)s AND r.run_id = 'wide'
"""


def write(folder: Path) -> None:
    """The DAG of this section; it stays paused."""
    workloads.chain(folder, DAG, TASKS)


def measure_reads(bench: Bench) -> dict[str, Any]:
    """CPU and wall milliseconds per call, by call."""
    runs, instances, calls = (20_000, 500, 5) if bench.quick else (1_000_000, 10_000, 30)
    info = read_server_info(bench.server.home / "data")
    if info is None:
        raise RuntimeError("the stack's PostgreSQL left no server.json")
    bench.server.wait_dag(DAG)
    with psycopg.connect(info.url(), autocommit=True) as connection:
        try:
            _fill(connection, runs, instances)
            list_of = f"/dags/{DAG}/dagRuns"
            found = {
                "runs": _calls(bench, calls, lambda i: bench.server.get(list_of, limit=100)),
                "newest_runs": _calls(bench, calls, lambda i: bench.server.get(list_of, limit=100, order_by="-run_after")),
                "runs_by_cursor": _calls(bench, calls, lambda i: bench.server.get(list_of, limit=100, cursor="")),
                "instances": _calls(bench, calls, lambda i: bench.server.get(f"{list_of}/{WIDE}/taskInstances", limit=100)),
                "dags": _calls(bench, calls, lambda i: bench.server.get("/dags", limit=100)),
                "trigger": _calls(bench, calls, lambda i: bench.server.trigger(DAG, run_id=f"again{i}")),
            }
        finally:
            _clear(connection)
    return {"rows": runs, "instances_of_run": instances, **found}


def _fill(connection: psycopg.Connection, runs: int, instances: int) -> None:
    connection.execute("SET session_replication_role = replica")  # no foreign keys are looked up for rows we know
    connection.execute(_RUNS, {"dag": DAG, "count": runs - 1})
    connection.execute(_INSTANCES, {"dag": DAG, "count": instances})
    connection.execute("RESET session_replication_role")
    connection.execute("VACUUM ANALYZE runs_run, runs_taskinstance")


def _clear(connection: psycopg.Connection) -> None:
    """Instances by their run first: the rest of the rows has nothing that points to it."""
    connection.execute(
        "DELETE FROM runs_taskinstance WHERE run_id IN (SELECT id FROM runs_run WHERE dag_id = %(dag)s"
        " AND (run_id = 'wide' OR run_id LIKE 'again%%'))",
        {"dag": DAG},
    )
    connection.execute("SET session_replication_role = replica")
    connection.execute("DELETE FROM runs_run WHERE dag_id = %(dag)s", {"dag": DAG})
    connection.execute("RESET session_replication_role")
    connection.execute("VACUUM ANALYZE runs_run, runs_taskinstance")


def _calls(bench: Bench, times: int, call: Callable[[int], Any]) -> dict[str, float]:
    for i in range(3):
        call(-1 - i)
    meter, walls = machine.Meter(bench.roots, bench.parts), []
    for i in range(times):
        began = time.perf_counter()
        call(i)
        walls.append(time.perf_counter() - began)
    used = meter.stop()
    parts = {f"{name}_ms": round(1000 * cpu / times, 2) for name, cpu in meter.of_parts().items() if cpu > 0}
    return {"median_ms": round(1000 * statistics.median(walls), 1), "cpu_ms": round(1000 * used["cpu_s"] / times, 2), **parts}
