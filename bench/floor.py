"""What this machine can do at best for one task: commit durably, wake another connection, fork a warm process.

Measured in the same run as everything else, on the same PostgreSQL, so that ratios to it travel between machines.
"""

from __future__ import annotations

import gc
import os
import time

import psycopg

from bench.arithmetic import Stats


def warm_up() -> None:
    """Import what a fork server has imported when it forks a task: forking costs by what the parent has in memory."""
    import trackside.airflow
    import trackside.sdk.execution.run

    trackside.airflow.preload()
    gc.collect()
    gc.freeze()


def fork_to_first_line() -> float:
    """Seconds from before fork() to the first line of the child."""
    read, write = os.pipe()
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os.write(write, str(time.perf_counter() - began).encode())
        os._exit(0)
    os.close(write)
    took = float(os.read(read, 64))
    os.close(read)
    os.waitpid(pid, 0)
    return took


def measure(url: str, count: int = 100) -> dict[str, Stats]:
    """`fork`, `commit_notify` (a durable commit, heard by another connection) and their sum per round, `floor`."""
    warm_up()
    with psycopg.connect(url, autocommit=True) as writer, psycopg.connect(url, autocommit=True) as ears:
        writer.execute("CREATE TABLE IF NOT EXISTS bench_floor (id int PRIMARY KEY, n int NOT NULL)")
        writer.execute("INSERT INTO bench_floor VALUES (1, 0) ON CONFLICT DO NOTHING")
        writer.execute("SET synchronous_commit = on")
        ears.execute("LISTEN bench_floor")

        def commit_and_wake() -> float:
            began = time.perf_counter()
            with writer.transaction():
                writer.execute("UPDATE bench_floor SET n = n + 1 WHERE id = 1")
                writer.execute("NOTIFY bench_floor")
            if not list(ears.notifies(timeout=5, stop_after=1)):
                raise TimeoutError("the notification of a commit was not heard within 5 s")
            return time.perf_counter() - began

        try:
            for _ in range(5):
                commit_and_wake(), fork_to_first_line()
            rounds = [(commit_and_wake(), fork_to_first_line()) for _ in range(count)]
        finally:
            writer.execute("DROP TABLE bench_floor")
    return {
        "commit_notify": Stats.of_seconds([commit for commit, _ in rounds]),
        "fork": Stats.of_seconds([fork for _, fork in rounds]),
        "floor": Stats.of_seconds([commit + fork for commit, fork in rounds]),
    }
