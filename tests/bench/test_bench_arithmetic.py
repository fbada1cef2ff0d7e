"""The benchmark's arithmetic: traces, gaps, quantiles, process trees and the table."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import machine, workloads
from bench.arithmetic import Row, Span, Stats, gaps, parse_trace, quantile, rate, ratio, table
from bench.run import rows_of

TRACE = "b 2.000000 2.500000\na 1.000000 1.250000\nold 0.100000 0.200000\nhalf 3.0"


def test_a_trace_is_read_in_order_of_start_without_old_and_unfinished_lines():
    assert parse_trace(TRACE, since=0.5) == [Span("a", 1.0, 1.25), Span("b", 2.0, 2.5)]


def test_a_line_without_its_end_is_not_read_even_if_it_has_three_words():
    assert parse_trace("a 1.0 1.5\nb 2.0 2.50") == [Span("a", 1.0, 1.5)]


def test_gaps_are_from_last_line_to_first_line():
    assert gaps([Span("a", 1.0, 1.25), Span("b", 2.0, 2.5), Span("c", 2.75, 3.0)]) == [0.75, 0.25]


def test_overlapping_tasks_are_no_chain():
    with pytest.raises(ValueError, match="overlapped"):
        gaps([Span("a", 1.0, 2.0), Span("b", 1.5, 2.5)])


@pytest.mark.parametrize(("q", "value"), [(0.0, 1), (0.5, 5), (0.95, 10), (0.9, 9), (1.0, 10)])
def test_quantiles_are_values_that_occurred(q, value):
    assert quantile([10, 1, 9, 2, 8, 3, 7, 4, 6, 5], q) == value


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50), st.floats(0, 1))
def test_at_least_the_asked_share_does_not_exceed_a_quantile(values, q):
    found = quantile(values, q)
    assert found in values
    assert sum(v <= found for v in values) >= q * len(values) - 1e-9


def test_statistics_are_in_milliseconds():
    assert Stats.of_seconds([0.001, 0.002, 0.009]) == Stats(median=2.0, p95=9.0, low=1.0, high=9.0)


def test_a_rate_needs_time():
    assert rate(402, 2.0) == 201.0
    with pytest.raises(ValueError):
        rate(1, 0.0)


def test_a_ratio_without_a_floor_is_a_dash():
    assert (ratio(9.0, 3.0), ratio(9.0, None)) == ("3.0 ×", "–")


def test_every_line_of_the_table_has_the_same_columns_and_a_missed_budget_is_said():
    lines = table([Row("a", "1", "2", "3", "4", True), Row("long name", "1", "2", "33", "–", False)]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert all(line.count("|") == 6 for line in lines)
    assert "33 (over budget)" in lines[3] and "over budget" not in lines[2]


def test_a_section_that_failed_hides_no_other():
    rows = rows_of({
        "floor": {"floor": {"median_ms": 3.0}},
        "fan": {"failed": "because"},
        "many": {"tasks_per_s": 250.0},
        "chain": {"median_ms": 9.0, "p95_ms": 31.0, "total_s": 0.6},
    })  # fmt: skip
    by_name = {row.what: row for row in rows}
    gap, chain = rows[0], rows[1]
    assert (gap.measured, gap.ratio, gap.verdict) == ("9.0 ms median, 31.0 p95", "3.0 ×", False)
    assert (chain.measured, chain.ratio, chain.verdict) == ("0.60 s", "5.0 ×", True)
    assert by_name["1 → 400 → 1 fan, two cores"].measured == "failed, see above"
    assert by_name["100 DAGs × 10 tasks at once"].verdict is False
    assert by_name["CPU per no-op task, all processes"].measured == "–"


def test_a_process_line_is_read_whatever_the_command_is_called():
    line = f"7 (a) b) S 3 7 5 0 -1 4194304 1 2 3 4 {machine.TICK} {machine.TICK} {machine.TICK} {machine.TICK} 20 0 1 0 9"
    assert machine.parse_stat(line) == machine.Process(parent=3, session=5, cpu=4.0)


def test_a_tree_has_descendants_and_the_session_and_nobody_else():
    p = machine.Process
    found = {1: p(0, 1, 0), 10: p(1, 10, 0), 11: p(10, 10, 0), 12: p(11, 12, 0), 13: p(1, 10, 0), 20: p(1, 20, 0)}
    assert machine.tree(found, {10}) == {10, 11, 12, 13}


def test_the_meter_counts_children_that_are_gone():
    meter = machine.Meter({os.getpid()})
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)
    assert meter.stop()["cpu_s"] >= 0.25


def test_workloads_are_dag_files_of_the_promised_size(tmp_path):
    workloads.chain(tmp_path, "c", 40, work=10)
    workloads.fan(tmp_path, "f", 400)
    workloads.hello(tmp_path, "h")
    program = (
        "import runpy, sys, trackside.airflow; trackside.airflow.install()\n"
        "from trackside.sdk import DAG\n"
        "for name, factory in (('c', 'chain'), ('f', 'fan'), ('h', 'hello')):\n"
        "    print(name, len(runpy.run_path(f'{sys.argv[1]}/{name}.py')[factory]().tasks))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.split() == ["c", "40", "f", "402", "h", "1"], done.stderr
