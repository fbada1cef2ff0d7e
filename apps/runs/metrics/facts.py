"""What `/metrics` says about this moment: a fixed number of statements over partial indexes, whatever the size of the history."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from apps.runs import sql

_TASKS = """
SELECT state, pool, queue, coalesce(executor, ''), coalesce(reason_code, ''), count(*), sum(pool_slots), extract(epoch FROM clock_timestamp() - min(scheduled_at)),
       extract(epoch FROM clock_timestamp() - min(queued_at))
FROM runs_taskinstance WHERE state = 'scheduled' GROUP BY 1, 2, 3, 4, 5
UNION ALL
SELECT state, pool, queue, coalesce(executor, ''), CASE WHEN state = 'running' THEN '' ELSE coalesce(reason_code, '') END, count(*), sum(pool_slots), NULL,
       extract(epoch FROM clock_timestamp() - min(queued_at))
FROM runs_taskinstance WHERE state IN ('queued', 'running', 'restarting', 'deferred', 'awaiting_input') GROUP BY 1, 2, 3, 4, 5
"""
_RUNS = """
SELECT state, run_type, CASE WHEN state = 'running' THEN '' ELSE coalesce(reason_code, '') END, count(*), extract(epoch FROM clock_timestamp() - min(queued_at)),
       extract(epoch FROM clock_timestamp() - min(advance_at) FILTER (WHERE advance_at <= clock_timestamp())), sum((troubles > 0)::int)
FROM runs_run WHERE state IN ('queued', 'running') GROUP BY 1, 2, 3
"""
_TRIES = """
SELECT executor, queue, state, count(*), extract(epoch FROM clock_timestamp() - min(queued_at)), count(*) FILTER (WHERE submitted_at IS NULL)
FROM runs_try WHERE state = 'queued' GROUP BY 1, 2, 3
"""
_POOLS = "SELECT name, slots, include_deferred FROM runs_pool"
_PROCESSES = """
SELECT kind, name, hostname, pid, slots, queues::text, info::text, extract(epoch FROM clock_timestamp() - heartbeat_at), lease_until > clock_timestamp(),
       extract(epoch FROM started_at), version, (SELECT count(*) FROM runs_try t WHERE t.worker_id = p.id AND t.state = 'running')
FROM runs_process p WHERE ended_at IS NULL ORDER BY kind, name, started_at
"""
_DAGS = """
SELECT (SELECT count(*) FROM dags_dag WHERE NOT is_stale), (SELECT count(*) FROM dags_dag WHERE NOT is_stale AND is_paused),
       (SELECT count(*) FROM dags_importproblem), (SELECT count(*) FROM runs_trigger),
       (SELECT count(*) FROM runs_errand WHERE ended_at IS NULL), (SELECT count(*) FROM runs_deadline WHERE NOT missed),
       (SELECT extract(epoch FROM clock_timestamp() - max(at)) FROM runs_event WHERE id = (SELECT max(id) FROM runs_event)),
       pg_database_size(current_database()), (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()),
       (SELECT setting::int FROM pg_settings WHERE name = 'max_connections'),
       coalesce((SELECT extract(epoch FROM clock_timestamp() - min(xact_start)) FROM pg_stat_activity WHERE datname = current_database()), 0)
"""
_TALLIES = "SELECT name, dag_id, label, count, total, buckets FROM runs_tally ORDER BY name, dag_id, label"
STATEMENTS = 7


@dataclass(slots=True)
class Process:
    """A process that has not said goodbye."""

    kind: str
    name: str
    hostname: str
    pid: int
    slots: int
    queues: list[str]
    info: dict[str, Any]
    age: float
    alive: bool
    started: float
    version: str
    busy: int


@dataclass(slots=True)
class Facts:
    """Rows as the statements give them; `families` knows what they mean."""

    tasks: list[tuple[Any, ...]] = field(default_factory=list)
    runs: list[tuple[Any, ...]] = field(default_factory=list)
    tries: list[tuple[Any, ...]] = field(default_factory=list)
    pools: list[tuple[Any, ...]] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    site: tuple[Any, ...] = ()
    tallies: list[tuple[Any, ...]] = field(default_factory=list)


def read() -> Facts:
    """Everything, now. Raises OperationalError when there is no database."""
    processes = [
        Process(kind, name, host, pid, slots, orjson.loads(queues), _mapping(info), float(age), alive, float(started), version, busy)
        for kind, name, host, pid, slots, queues, info, age, alive, started, version, busy in sql.rows(_PROCESSES)
    ]
    return Facts(
        sql.rows(_TASKS), sql.rows(_RUNS), sql.rows(_TRIES), sql.rows(_POOLS), processes, sql.rows(_DAGS)[0], sql.rows(_TALLIES)
    )  # fmt: skip


def _mapping(text: str) -> dict[str, Any]:
    found = orjson.loads(text)
    return found if isinstance(found, dict) else {}
