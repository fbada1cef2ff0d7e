"""What is measured: one function per section, each on its own, each giving plain numbers for the JSON file.

`run.py` calls them one after the other on one stack (`cold` starts its own) and goes on when one fails.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bench import arithmetic, elsewhere, floor, machine, pages, pods, reads, wide, workloads
from config.embedded_postgres import read_server_info
from tests.support import server as support

CHAIN, FAN, MANY = "bench_chain", "bench_fan", "bench_many_"
CHAIN_LENGTH, FAN_WIDTH, MANY_LENGTH = 40, 400, 10
TIMEOUT_S = 240.0


@dataclass
class Bench:
    """A running stack, its trace file, and how thorough to be."""

    server: support.Server
    trace: Path
    reps: int = 3
    quick: bool = False
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def roots(self) -> set[int]:
        """The processes whose trees are the stack."""
        return {self.server.process.pid, *self.server.pids.values()}

    @property
    def parts(self) -> dict[str, int]:
        """The same by name, but for the supervisor, whose tree is the whole stack."""
        return {name: pid for name, pid in self.server.pids.items() if name != "supervisor"}

    @property
    def many(self) -> int:
        """How many DAGs run at once."""
        return 20 if self.quick else 100

    def spans(self, since: float) -> list[arithmetic.Span]:
        """What tasks noted since then."""
        text = self.trace.read_text() if self.trace.exists() else ""
        return arithmetic.parse_trace(text, since)


def moment(text: str) -> float:
    """Seconds since the epoch of a time in an answer."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


TEMPLATES_KEPT_S = 35.0
"""Longer than a worker keeps the template process of a DAG file that nothing runs from."""


def settle(bench: Bench, seconds: float = 30.0) -> None:
    """Wait until the stack has had nothing to do for a second, so that one section does not pay for the one before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        meter = machine.Meter(bench.roots)
        time.sleep(1.0)
        if meter.stop()["cpu_s"] < 0.05:
            return


def run_all(bench: Bench, dag_ids: list[str], tasks: int) -> dict[str, Any]:
    """Trigger the DAGs at once and wait until all runs are over: wall time by the server's own clock, CPU, spans.

    While tasks run only the trace file is read: asking the server would be load that it would be measured with.
    """
    for dag_id in dag_ids:
        bench.server.unpause(dag_id)
    settle(bench)
    meter, began = machine.Meter(bench.roots, bench.parts), time.time()
    runs = {dag_id: bench.server.trigger(dag_id) for dag_id in dag_ids}
    triggered = time.time() - began
    support.until(lambda: len(bench.spans(began)) >= tasks, f"{tasks} tasks ran", TIMEOUT_S, pause=0.05)
    finished = [bench.server.wait_run(dag_id, run_id) for dag_id, run_id in runs.items()]
    used, parts = meter.stop(), meter.of_parts()
    failed = [run["dag_id"] for run in finished if run["state"] != "success"]
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(finished)} runs failed, first {failed[0]}")
    spans = bench.spans(began)
    if len(spans) != tasks:
        raise RuntimeError(f"{len(spans)} tasks ran instead of {tasks}")
    wall = max(moment(run["end_date"]) for run in finished) - began
    return {"wall_s": wall, "spans": spans, "trigger_s": triggered, "tasks": tasks, "parts": parts, **used}


def measure_floor(bench: Bench) -> dict[str, Any]:
    """The floor, on the stack's own PostgreSQL."""
    info = read_server_info(bench.server.home / "data")
    if info is None:
        raise RuntimeError("the stack's PostgreSQL left no server.json")
    settle(bench)
    return {name: s.to_dict() for name, s in floor.measure(info.url(), 40 if bench.quick else 200).items()}


def measure_chain(bench: Bench) -> dict[str, Any]:
    """Gap from one task's last line to the next one's first, and the whole chain from trigger to end."""
    found: list[float] = []
    totals, loads = [], []
    for _ in range(bench.reps):
        result = run_all(bench, [CHAIN], CHAIN_LENGTH)
        found += arithmetic.gaps(result["spans"])
        totals.append(result["wall_s"])
        loads.append(result["other_load"])
    stats = arithmetic.Stats.of_seconds(found)
    return {**stats.to_dict(), "total_s": round(statistics.median(totals), 3), "totals_s": totals, "other_load": loads}


def throughput(bench: Bench, dag_ids: list[str], tasks: int, reps: int) -> dict[str, Any]:
    """Tasks per second and CPU per task of these DAGs, triggered together."""
    rows = [run_all(bench, dag_ids, tasks) for _ in range(reps)]
    rates = [arithmetic.rate(tasks, row["wall_s"]) for row in rows]
    return {
        "tasks": tasks,
        "tasks_per_s": round(statistics.median(rates), 1),
        "tasks_per_s_each": [round(r, 1) for r in rates],
        "trigger_s": [round(row["trigger_s"], 3) for row in rows],
        "cpu_ms_per_task": round(statistics.median(1000 * row["cpu_s"] / tasks for row in rows), 2),
        "cpu_ms_per_task_of": {name: round(1000 * cpu / tasks, 2) for name, cpu in rows[-1]["parts"].items()},
        "other_load": [row["other_load"] for row in rows],
    }


def measure_fan(bench: Bench) -> dict[str, Any]:
    """One task, 400 at once, one task."""
    return throughput(bench, [FAN], FAN_WIDTH + 2, bench.reps)


def measure_many(bench: Bench) -> dict[str, Any]:
    """100 DAGs of ten tasks each, triggered one after the other as fast as the API answers."""
    dag_ids = [f"{MANY}{i:03d}" for i in range(bench.many)]
    return {"dags": len(dag_ids), **throughput(bench, dag_ids, len(dag_ids) * MANY_LENGTH, 1)}


def measure_cpu(bench: Bench) -> dict[str, Any]:
    """CPU per no-op task over all processes, PostgreSQL among them: of the section `many`, run for it if need be."""
    if "cpu_ms_per_task" not in bench.results.get("many", {}):
        bench.results["many"] = measure_many(bench)
    return {"cpu_ms_per_task": bench.results["many"]["cpu_ms_per_task"]}


def measure_idle(bench: Bench) -> dict[str, Any]:
    """What the stack costs while nothing happens: after what earlier sections warmed up has been put away."""
    settle(bench)
    before = 0
    while before != (now := len(machine.tree(machine.processes(), bench.roots))):
        before = now
        time.sleep(3.0 if bench.quick else TEMPLATES_KEPT_S)
    return machine.footprint(bench.roots, 6.0 if bench.quick else 35.0)


def measure_files(bench: Bench) -> dict[str, Any]:
    """500 new DAG files until the last is visible, then one changed file until the change is."""
    count = 100 if bench.quick else 500
    folder, prefix = bench.server.dags_folder / "files", "bench_file_"
    settle(bench)
    began = time.time()
    for i in range(count):
        workloads.chain(folder, f"{prefix}{i:03d}", 3)

    def seen() -> bool:
        return bool(bench.server.get("/dags", dag_id_pattern=prefix, limit=1)["total_entries"] >= count)

    try:
        support.until(seen, f"{count} DAGs are visible", TIMEOUT_S, pause=0.1)
        all_s = time.time() - began
        settle(bench)
        changed_s = [_change_one(bench, folder, f"{prefix}{7 * n:03d}", f"change {n}") for n in range(3)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"files": count, "all_visible_s": round(all_s, 2), "change_visible_s": round(statistics.median(changed_s), 2)}


def _change_one(bench: Bench, folder: Path, dag_id: str, words: str) -> float:
    began = time.time()
    workloads.chain(folder, dag_id, 3, version=words)
    support.until(lambda: bench.server.get(f"/dags/{dag_id}")["description"] == words, f"{dag_id} changed", TIMEOUT_S, pause=0.02)
    return time.time() - began


def measure_cold(bench: Bench) -> dict[str, Any]:
    """An empty folder until the first finished run; of a second stack, so that the first one's start does not count."""
    times = []
    for _ in range(1 if bench.quick else max(1, min(bench.reps, 3))):
        home = support.temporary_home("trackside-cold-")
        running = None
        try:
            workloads.hello(home / "dags")
            began = time.time()
            running = support.start(home, home / "dags")
            ready = time.time() - began
            run = running.run_dag("bench_hello")
            if run["state"] != "success":
                raise RuntimeError(f"the first run ended as {run['state']}")
            times.append((moment(run["end_date"]) - began, ready))
        finally:
            if running is not None:
                running.stop()
            support.remove(home)
    return {
        "first_run_s": round(statistics.median(t[0] for t in times), 2),
        "ready_s": round(statistics.median(t[1] for t in times), 2),
    }


SECTIONS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "floor": measure_floor,
    "chain": measure_chain,
    "fan": measure_fan,
    "many": measure_many,
    "cpu": measure_cpu,
    "idle": measure_idle,
    "files": measure_files,
    "mapped": wide.measure_mapped,
    "deferred": wide.measure_deferred,
    "assets": wide.measure_assets,
    "reads": reads.measure_reads,
    "pages": pages.measure_pages,
    "celery": elsewhere.measure_celery,
    "pods": pods.measure_pods,
    "cold": measure_cold,
}
"""In the order in which they run."""


def write_workloads(folder: Path, many: int) -> None:
    """The DAG files of the stack that is measured."""
    workloads.chain(folder, CHAIN, CHAIN_LENGTH, work=10)
    workloads.fan(folder, FAN, FAN_WIDTH)
    for i in range(many):
        workloads.chain(folder, f"{MANY}{i:03d}", MANY_LENGTH)


def start(wanted: set[str], reps: int, quick: bool) -> Bench:
    """A stack with the workloads the sections need, in a new home."""
    home = support.temporary_home("trackside-bench-")
    trace = home / "trace"
    try:
        trace.touch()
        home.chmod(0o755)  # the embedded PostgreSQL may run under another account
        bench = Bench(None, trace, reps, quick)  # type: ignore[arg-type]
        write_workloads(home / "dags", bench.many if wanted & {"many", "cpu", "idle"} else 0)
        if wanted & {"mapped", "deferred", "assets"}:
            wide.write(bench, home / "dags")
        if "pages" in wanted:
            pages.write(home / "dags", quick)
        if "reads" in wanted:
            reads.write(home / "dags")
        bench.server = support.start(home, home / "dags", environment={"BENCH_TRACE": str(trace)})
    except BaseException:
        support.remove(home)
        raise
    return bench
