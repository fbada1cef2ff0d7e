"""Sections about many at once: instances of a mapped task, tasks that wait in the triggerer, events that start runs.

Registered in `sections.SECTIONS`; each takes a running stack and gives plain numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import machine, workloads

if TYPE_CHECKING:
    from bench.sections import Bench

MAPPED, DEFERRED, ASSETS = "bench_mapped", "bench_deferred", "bench_assets"
TIMEOUT_S = 300.0


def number(bench: Bench) -> int:
    """How many of everything."""
    return 100 if bench.quick else 1000


def write(bench: Bench, folder: Path) -> None:
    """The DAG files of these sections."""
    workloads.mapped(folder, MAPPED, number(bench))
    workloads.deferred(folder, DEFERRED, number(bench), gate(bench, folder))
    workloads.assets(folder, ASSETS, number(bench))


def gate(bench: Bench, folder: Path) -> Path:
    """The file the deferred tasks wait for."""
    return folder.parent / "gate"


def _seconds(done: Callable[[], bool], since: float) -> float:
    while not done():
        if time.monotonic() - since > TIMEOUT_S:
            raise TimeoutError("it took too long")
        time.sleep(0.05)
    return round(time.monotonic() - since, 2)


def _count(bench: Bench, path: str, **params: Any) -> int:
    return int(bench.server.get(path, limit=1, **params)["total_entries"])


def measure_mapped(bench: Bench) -> dict[str, Any]:
    """From the trigger of a run of 1,000 mapped instances to its end."""
    bench.server.unpause(MAPPED)
    since = time.monotonic()
    run_id = bench.server.trigger(MAPPED)
    bench.server.wait_run(MAPPED, run_id, TIMEOUT_S)
    took = time.monotonic() - since
    return {"instances": number(bench), "total_s": round(took, 2), "tasks_per_s": round(number(bench) / took, 1)}


def measure_deferred(bench: Bench) -> dict[str, Any]:
    """1,000 tasks until all of them wait, what the triggerer then costs, and from the moment they may go on to the run's end."""
    opened = gate(bench, bench.server.home / "dags")
    opened.unlink(missing_ok=True)
    bench.server.unpause(DEFERRED)
    since = time.monotonic()
    run_id = bench.server.trigger(DEFERRED)
    path = f"/dags/{DEFERRED}/dagRuns/{run_id}/taskInstances"
    waiting = _seconds(lambda: _count(bench, path, state="deferred") == number(bench), since)
    used = machine.footprint({bench.server.pids["triggerer"]}, 5.0)
    since = time.monotonic()
    opened.touch()
    bench.server.wait_run(DEFERRED, run_id, TIMEOUT_S)
    return {
        "tasks": number(bench), "all_waiting_s": waiting, "all_done_s": round(time.monotonic() - since, 2),
        "triggerer_pss_mib": round(used["pss_mib"], 1), "triggerer_cpu_percent": round(used["cpu_percent"], 2),
    }  # fmt: skip


def measure_assets(bench: Bench) -> dict[str, Any]:
    """One task says 1,000 events of an asset: until each has made a consumer run, and until all of these are done."""
    consumer = f"{ASSETS}_use"
    bench.server.unpause(consumer)
    before = _count(bench, f"/dags/{consumer}/dagRuns")
    bench.server.unpause(ASSETS)
    since = time.monotonic()
    run_id = bench.server.trigger(ASSETS)
    bench.server.wait_run(ASSETS, run_id, TIMEOUT_S)
    wanted = before + number(bench)
    made = _seconds(lambda: _count(bench, f"/dags/{consumer}/dagRuns") == wanted, since)
    done = _seconds(lambda: _count(bench, f"/dags/{consumer}/dagRuns", state="success") == wanted, since)
    return {"events": number(bench), "runs_made_s": made, "events_per_s": round(number(bench) / made, 1), "runs_done_s": done}
