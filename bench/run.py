#!/usr/bin/env python
"""How fast Trackside is on this machine, beside what the machine allows and what Airflow needed.

    .venv/bin/python bench/run.py [--only chain,fan] [--reps 3] [--quick]

Starts a stack of its own in a temporary home, measures section by section (`sections.py`), prints the table of budgets
and writes all numbers to $BENCH_JSON if it is set. A section that fails says why and does not stop the others. The
column of Airflow was recorded on another day on two cores: compare ratios, not milliseconds, on other machines. Exit
code 1 when a section failed; a missed budget is not a failure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import sections
from bench.arithmetic import Row, ratio, table
from tests.support import server as support

Results = dict[str, dict[str, Any]]


def _gap(r: Results, floor: float | None) -> Row:
    row = Row("gap between tasks, chain of 40", "1,155 ms (tuned 350)", "≤ 15 ms median, ≤ 30 p95")
    return _filled(
        row, r, "chain", lambda c: (
            f"{c['median_ms']:.1f} ms median, {c['p95_ms']:.1f} p95",
            ratio(c["median_ms"], floor), c["median_ms"] <= 15 and c["p95_ms"] <= 30,
        ),
    )  # fmt: skip


def _chain(r: Results, floor: float | None) -> Row:
    row = Row("chain of 40, trigger to end", "43.5 s (tuned 15.3)", "≤ 0.8 s")
    per_task = 1000 / sections.CHAIN_LENGTH
    return _filled(row, r, "chain", lambda c: (f"{c['total_s']:.2f} s", ratio(per_task * c["total_s"], floor), c["total_s"] <= 0.8))


def _rate(section: str, what: str, airflow: str) -> Callable[[Results, float | None], Row]:
    def build(r: Results, floor: float | None) -> Row:
        return _filled(
            Row(what, airflow, "≥ 300 tasks/s"), r, section,
            lambda c: (f"{c['tasks_per_s']:.0f} tasks/s", ratio(1000 / c["tasks_per_s"], floor), c["tasks_per_s"] >= 300),
        )  # fmt: skip

    return build


def _cpu(r: Results, floor: float | None) -> Row:
    row = Row("CPU per no-op task, all processes", "200–460 ms", "≤ 5 ms")
    return _filled(row, r, "cpu", lambda c: (f"{c['cpu_ms_per_task']:.1f} ms", "–", c["cpu_ms_per_task"] <= 5))


def _idle(r: Results, floor: float | None) -> Row:
    row = Row("idle stack with PostgreSQL: PSS, CPU of one core", "914 MiB, 9.6 %", "≤ 400 MiB, ≤ 1 %")
    return _filled(
        row, r, "idle", lambda c: (
            f"{c['pss_mib']:.0f} MiB, {c['cpu_percent']:.1f} %", "–", c["pss_mib"] <= 400 and c["cpu_percent"] <= 1,
        ),
    )  # fmt: skip


def _cold(r: Results, floor: float | None) -> Row:
    row = Row("empty folder → first finished run", "28 s", "≤ 6 s")
    return _filled(row, r, "cold", lambda c: (f"{c['first_run_s']:.1f} s", "–", c["first_run_s"] <= 6))


def _files(r: Results, floor: float | None) -> Row:
    row = Row("500 DAG files visible / one changed file visible", "88 s / 30–45 s", "≤ 10 s / ≤ 1 s")

    def words(c: dict[str, Any]) -> tuple[str, str, bool | None]:
        fits = c["all_visible_s"] <= 10 and c["change_visible_s"] <= 1
        of = "" if c["files"] == 500 else f" ({c['files']} files)"
        return f"{c['all_visible_s']:.1f} s / {c['change_visible_s']:.2f} s{of}", "–", fits if c["files"] == 500 else None

    return _filled(row, r, "files", words)


def _mapped(r: Results, floor: float | None) -> Row:
    row = Row("1,000 mapped instances, trigger to end", "–", "≤ 5 s")
    return _filled(row, r, "mapped", lambda c: (f"{c['total_s']:.1f} s", "–", c["total_s"] <= 5 if c["instances"] == 1000 else None))


def _deferred(r: Results, floor: float | None) -> Row:
    row = Row("1,000 deferred: until all wait / fired until done; triggerer", "–", "≤ 10 s / ≤ 10 s; ≤ 150 MiB")

    def words(c: dict[str, Any]) -> tuple[str, str, bool | None]:
        fits = c["all_waiting_s"] <= 10 and c["all_done_s"] <= 10 and c["triggerer_pss_mib"] <= 150
        text = f"{c['all_waiting_s']:.1f} s / {c['all_done_s']:.1f} s; {c['triggerer_pss_mib']:.0f} MiB"
        return text, "–", fits if c["tasks"] == 1000 else None

    return _filled(row, r, "deferred", words)


def _assets(r: Results, floor: float | None) -> Row:
    row = Row("asset events to consumer runs", "–", "≥ 200 events/s")
    return _filled(
        row, r, "assets", lambda c: (f"{c['events_per_s']:.0f} events/s, runs done {c['runs_done_s']:.1f} s", "–", c["events_per_s"] >= 200)
    )


def _reads(r: Results, floor: float | None) -> Row:
    row = Row("server's CPU: a trigger; 100 runs of 1,000,000, by cursor; 100 instances of 10,000", "–", "≤ 10 / 15 / 15 ms of web")

    def words(c: dict[str, Any]) -> tuple[str, str, bool | None]:
        calls = [c[name] for name in ("trigger", "runs", "runs_by_cursor", "instances")]
        web = [call.get("web_ms", 0.0) for call in calls]
        text = " / ".join(f"{call['cpu_ms']:.0f} (web {w:.0f})" for call, w in zip(calls, web, strict=True))
        fits = web[0] <= 10 and max(web[1:]) <= 15
        return f"{text} ms", "–", fits if c["rows"] == 1_000_000 else None

    return _filled(row, r, "reads", words)


def _pages(r: Results, floor: float | None) -> Row:
    row = Row("grid data of 1,000 tasks × 365 runs: server time, size", "1,351 ms, 5.6 MB (25 runs)", "≤ 50 ms, ≤ 300 kB")

    def words(c: dict[str, Any]) -> tuple[str, str, bool | None]:
        data = c["pages"]["grid data"]
        return f"{data['ms']:.0f} ms, {data['kb']:.0f} kB", "–", data["ms"] <= 50 and data["kb"] <= 300 if c["runs"] == 365 else None

    return _filled(row, r, "pages", words)


def _screen(r: Results, floor: float | None) -> Row:
    row = Row("first paint, slowest page; frame of the scrolling grid, p95", "–", "≤ 1 s; ≤ 16.7 ms")

    def words(c: dict[str, Any]) -> tuple[str, str, bool | None]:
        if "browser" in c:
            return c["browser"], "–", None
        paint, frame = max(c["first_paint_ms"].values()), c["frame_ms"]["p95"]
        fits = paint <= 1000 and frame <= 16.7
        return f"{paint:.0f} ms; {frame:.1f} ms (drawing {c['drawn_ms_p95']:.1f})", "–", fits if c["runs"] == 365 else None

    return _filled(row, r, "pages", words)


def _pixel(r: Results, floor: float | None) -> Row:
    row = Row("state change → pixel, p50/p99 at 100 and 1,000 changes/s", "polls every 3–5 s", "≤ 150 ms p99")

    def words(c: dict[str, Any]) -> tuple[str, str, bool | None]:
        if "browser" in c:
            return c["browser"], "–", None
        slow, fast = c["pixel_ms"]["100"], c["pixel_ms"]["1000"]
        text = f"{slow['p50']:.0f}/{slow['p99']:.0f}, {fast['p50']:.0f}/{fast['p99']:.0f} ms ({fast['made_per_s']:.0f} made/s)"
        return text, "–", max(slow["p99"], fast["p99"]) <= 150

    return _filled(row, r, "pages", words)


def _open_sockets(r: Results, floor: float | None) -> Row:
    row = Row("web process, 200 sockets at 1,000 changes/s: CPU of one core, PSS", "–", "–")

    def words(c: dict[str, Any]) -> tuple[str, str, bool | None]:
        s = c["sockets"]
        of = f" ({s['count']} sockets, {s['made_per_s']} made/s, {s['frames_per_s']} frames/s)"
        return f"{s['web_cpu_percent']:.0f} %, {s['web_pss_mib']:.0f} MiB{of}", "–", None

    return _filled(row, r, "pages", words)


def _celery(r: Results, floor: float | None) -> Row:
    row = Row("Celery over Redis: gap of a chain; 1 → 400 → 1 fan, one worker of 16", "–", "≤ 40 ms; ≥ 100 tasks/s")

    def words(c: dict[str, Any]) -> tuple[str, str, bool | None]:
        if "left_out" in c:
            return f"left out: {c['left_out']}", "–", None
        fits = c["median_ms"] <= 40 and c["tasks_per_s"] >= 100
        return f"{c['median_ms']:.1f} ms median; {c['tasks_per_s']:.0f} tasks/s", "–", fits

    return _filled(row, r, "celery", words)


def _pods_start(r: Results, floor: float | None) -> Row:
    row = Row("pods: create → first user line, over a bare pod's", "–", "≤ 150 ms")

    def words(c: dict[str, Any]) -> tuple[str, str, bool | None]:
        if "left_out" in c:
            return f"left out: {c['left_out']}", "–", None
        parts = f"{c['to_claim_ms']:.0f} until claimed, then {c['claim_to_line_ms']:.0f}"
        return f"{c['overhead_ms']:.0f} ms: {c['first_ms']:.0f} ({parts}) − {c['bare_first_ms']:.0f}", "–", c["overhead_ms"] <= 150

    return _filled(row, r, "pods", words)


def _pods_rate(r: Results, floor: float | None) -> Row:
    row = Row("pods: pods/s against bare ones; hop of a chain", "–", "≥ 0.8; –")

    def words(c: dict[str, Any]) -> tuple[str, str, bool | None]:
        if "left_out" in c:
            return f"left out: {c['left_out']}", "–", None
        cpu = f"CPU per pod {c['cpu_ms_per_pod']:.0f} ms, bare {c['bare_cpu_ms_per_pod']:.0f}"
        text = f"{c['share']:.2f}: {c['pods_per_s']:.1f} / {c['bare_pods_per_s']:.1f} of {c['pods']} at once ({cpu}); {c['hop_ms']:,.0f} ms"
        return text, "–", c["share"] >= 0.8

    return _filled(row, r, "pods", words)


def _pods_warm(r: Results, floor: float | None) -> Row:
    row = Row("warm pods: hop of a chain, median, p95", "–", "≤ 30 ms")

    def words(c: dict[str, Any]) -> tuple[str, str, bool | None]:
        if "left_out" in c:
            return f"left out: {c['left_out']}", "–", None
        return f"{c['warm_hop_ms']:.0f}, {c['warm_hop_p95_ms']:.0f} ms", "–", c["warm_hop_ms"] <= 30

    return _filled(row, r, "pods", words)


ROWS: tuple[Callable[[Results, float | None], Row], ...] = (
    _gap,
    _chain,
    _rate("fan", "1 → 400 → 1 fan, two cores", "3.4 tasks/s (mapped 8.2)"),
    _rate("many", "100 DAGs × 10 tasks at once", "6.3 tasks/s"),
    _cpu,
    _idle,
    _cold,
    _files,
    _mapped,
    _deferred,
    _assets,
    _reads,
    _pages,
    _screen,
    _pixel,
    _open_sockets,
    _celery,
    _pods_start,
    _pods_rate,
    _pods_warm,
)


def _filled(row: Row, results: Results, section: str, words: Callable[[dict[str, Any]], tuple[str, str, bool | None]]) -> Row:
    found = results.get(section)
    if found is None:
        return row
    if "failed" in found:
        return Row(row.what, row.airflow, row.budget, "failed, see above")
    measured, to_floor, fits = words(found)
    return Row(row.what, row.airflow, row.budget, measured, to_floor, fits)


def rows_of(results: Results) -> list[Row]:
    """The table's rows from whatever was measured."""
    floor = results.get("floor", {}).get("floor", {}).get("median_ms")
    return [row(results, floor) for row in ROWS]


def measure(bench: sections.Bench, wanted: list[str]) -> Results:
    """Run the sections; one that fails leaves `{"failed": why}`."""
    for name in wanted:
        say(f"{name} …")
        began = time.monotonic()
        try:
            bench.results[name] = sections.SECTIONS[name](bench)
        except Exception as e:
            bench.results[name] = {"failed": f"{type(e).__name__}: {e}"}
        say(f"{name} ({time.monotonic() - began:.0f} s): {_one_line(bench.results[name])}")
    return bench.results


def _one_line(result: dict[str, Any]) -> str:
    return f"failed: {result['failed']}" if "failed" in result else json.dumps(result)


def say(text: str) -> None:
    """Progress, on stderr: the table is what stdout is for."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--only", default="", help=f"sections, separated by commas: {', '.join(sections.SECTIONS)}")
    parser.add_argument("--reps", type=int, default=3, help="how often chain, fan and cold start are repeated")
    parser.add_argument("--quick", action="store_true", help="one repetition of everything, smaller: a smoke test")
    given = parser.parse_args()
    given.wanted = [word.strip() for word in given.only.split(",") if word.strip()] or list(sections.SECTIONS)
    if unknown := set(given.wanted) - set(sections.SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(sections.SECTIONS)}")
    if given.only and set(given.wanted) & {"chain", "fan", "many"} and "floor" not in given.wanted:
        given.wanted.insert(0, "floor")  # ratios need it, and it takes a second
    return given


def main() -> int:
    """Measure, print, write."""
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` below stops the stack
    bench = sections.start(set(given.wanted), 1 if given.quick else max(1, given.reps), given.quick)
    try:
        results = measure(bench, given.wanted)
    finally:
        bench.server.stop()
        support.remove(bench.server.home)
    rows = rows_of(results)
    print(table(rows))  # noqa: T201
    if floor := results.get("floor", {}).get("floor"):
        print(f"\nfloor: {floor['median_ms']:.2f} ms median (durable commit + notify + fork of a warm parent)")  # noqa: T201
    if (load := _other_load(results)) > 0.2:
        print(f"Others used up to {load:.1f} cores meanwhile: compare only what was measured on a quiet machine.")  # noqa: T201
    if target := os.environ.get("BENCH_JSON"):
        about = {"cpus": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine(), "at": time.time()}
        content = {"machine": about, "quick": given.quick, "sections": results, "rows": [_plain(row) for row in rows]}
        Path(target).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return 1 if any("failed" in result for result in results.values()) else 0


def _other_load(results: Results) -> float:
    found = [result.get("other_load", 0.0) for result in results.values()]
    return max((x for value in found for x in (value if isinstance(value, list) else [value])), default=0.0)


def _plain(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("what", "airflow", "budget", "measured", "ratio", "verdict")}


if __name__ == "__main__":
    sys.exit(main())
