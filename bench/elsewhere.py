"""The section about tasks that run elsewhere: on a Celery worker over a Redis of our own.

Registered in `sections.SECTIONS`; it starts a stack of its own (`tests.executors.world`) and gives plain numbers. Where
there is no redis-server, it says so and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import arithmetic, workloads
from tests.executors import world

if TYPE_CHECKING:
    from bench.sections import Bench

CHAIN, FAN, CELERY_SLOTS = "bench_elsewhere_chain", "bench_elsewhere_fan", "16"


@contextmanager
def _noted(trace: Path) -> Iterator[None]:
    """Processes started meanwhile know where tasks note themselves."""
    before = os.environ.get("BENCH_TRACE")
    os.environ["BENCH_TRACE"] = str(trace)
    try:
        yield
    finally:
        os.environ.pop("BENCH_TRACE")
        if before is not None:
            os.environ["BENCH_TRACE"] = before


def measure_celery(bench: Bench) -> dict[str, Any]:
    """Chain and fan on one Celery worker with 16 slots: gap between tasks, tasks per second, and whose CPU it took."""
    from bench import sections

    if not world.can_have_redis():
        return {"left_out": "no redis-server"}
    width = 100 if bench.quick else sections.FAN_WIDTH
    trace = bench.trace.with_name("trace-celery")
    trace.touch()
    with world.redis() as url, _noted(trace), world.site({}, ["celery"], redis_url=url) as site:
        workloads.chain(site.server.dags_folder, CHAIN, sections.CHAIN_LENGTH, work=10)
        workloads.fan(site.server.dags_folder, FAN, width)
        worker = site.celery_worker("--concurrency", CELERY_SLOTS)
        site.server.pids["celery worker"] = worker.pid
        here = sections.Bench(site.server, trace, bench.reps, bench.quick)
        gaps: list[float] = []
        for _ in range(bench.reps):
            gaps += arithmetic.gaps(sections.run_all(here, [CHAIN], sections.CHAIN_LENGTH)["spans"])
        fan = sections.throughput(here, [FAN], width + 2, bench.reps)
    return {**arithmetic.Stats.of_seconds(gaps).to_dict(), **fan}
