"""Ends of the planner's rules: runs that can never go on (row 2.029), and `all_done_min_one_success` inside a mapped group."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from naive_model import NaiveRun

from trackside.core.planning import Plan, plan
from trackside.core.snapshot import CompiledDag, RunRow, Snapshot, TaskRow
from trackside.core.spec import DagSpec, GroupSpec, TaskSpec

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULE = "all_done_min_one_success"
OVER_A = {"kind": "dict", "value": {"x": {"__xcom__": {"task_id": "a", "key": "return_value"}}}}


def stuck(**changes: object) -> Snapshot:
    """A source that somebody marked as success has left nothing to map over, so `m` can never have instances."""
    dag = CompiledDag(DagSpec("d", tasks=[TaskSpec("a", downstream=["m"]), TaskSpec("m", mapped=True, expand=OVER_A)]))
    rows = [TaskRow(1, "a", state="success"), TaskRow(2, "m")]
    return Snapshot(dag, RunRow(1, start_date=NOW), rows, **changes)  # type: ignore[arg-type]


def test_a_run_none_of_whose_tasks_can_ever_run_fails_as_deadlocked() -> None:
    p = plan(stuck(), NOW)
    assert (p.outcome, p.run_reason and p.run_reason.code) == ("failed", "all_tasks_deadlocked")
    assert "Clear or mark one" in p.run_reason.text  # type: ignore[union-attr]
    assert p.reasons[2].text == "Waits for a to say how many instances there will be."


def test_what_may_still_change_is_no_deadlock() -> None:
    assert plan(stuck(lengths={"a": {-1: 2}}), NOW).outcome is None, "there is something to map over"
    assert plan(stuck(paused=True), NOW).outcome is None, "the DAG is paused"
    for state in ("running", "deferred", "up_for_retry", "up_for_reschedule", "queued", "awaiting_input"):
        s = stuck()
        s.tasks[0].state = state
        assert plan(s, NOW).outcome is None, f"another task is {state}"


def of_group(first: str, second: str, others: tuple[str, str]) -> Plan:
    """Index 0 of a task whose two parents are in these states; index 1 has others."""
    inside = {"group_id": "g", "mapped_group_id": "g"}
    tasks = [
        TaskSpec("g.a", downstream=["g.c"], **inside), TaskSpec("g.b", downstream=["g.c"], **inside),
        TaskSpec("g.c", trigger_rule=RULE, **inside),
    ]  # fmt: skip
    group = GroupSpec("g", mapped=True, expand={"kind": "dict", "value": {"x": [1, 2]}})
    rows = [
        TaskRow(0, "g.a", 0, first), TaskRow(1, "g.b", 0, second), TaskRow(2, "g.c", 0),
        TaskRow(3, "g.a", 1, others[0]), TaskRow(4, "g.b", 1, others[1]), TaskRow(5, "g.c", 1, "success"),
    ]  # fmt: skip
    return plan(Snapshot(CompiledDag(DagSpec("d", tasks=tasks, groups=[group])), RunRow(1, start_date=NOW), rows), NOW)


@pytest.mark.parametrize("others", [("success", "success"), ("skipped", "failed"), ("running", "none")])
def test_each_index_is_judged_by_its_own_parents_as_the_naive_model_says(others: tuple[str, str]) -> None:
    for first, second in itertools.product(["success", "failed", "skipped", "upstream_failed", "running"], repeat=2):
        p = of_group(first, second, others)
        found = "run" if 2 in p.schedule else "skipped" if 2 in p.skip else "upstream_failed" if 2 in p.upstream_fail else None
        assert found == NaiveRun.ask(RULE, [first, second]), (first, second, others)


@pytest.mark.parametrize("states", [("running",) * 3, ("success", "failed", "skipped"), ("skipped",) * 3, ("failed",) * 3])
def test_it_gets_its_indexes_whatever_became_of_those_before(states: tuple[str, ...]) -> None:
    inside = {"group_id": "g", "mapped_group_id": "g"}
    tasks = [
        TaskSpec("a", downstream=["g.a"]), TaskSpec("g.a", downstream=["g.c"], **inside), TaskSpec("g.c", trigger_rule=RULE, **inside),
    ]  # fmt: skip
    dag = CompiledDag(DagSpec("d", tasks=tasks, groups=[GroupSpec("g", mapped=True, expand=OVER_A)]))
    rows = [TaskRow(1, "a", state="success"), *(TaskRow(10 + i, "g.a", i, s) for i, s in enumerate(states)), TaskRow(2, "g.c")]
    p = plan(Snapshot(dag, RunRow(1, start_date=NOW), rows, lengths={"a": {-1: 3}}), NOW)
    assert [(e.task_id, e.length, e.starts) for e in p.expand] == [("g.c", 3, False)]
    assert (p.skip, p.upstream_fail) == ([], [])
