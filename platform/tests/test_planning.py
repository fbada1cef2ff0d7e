"""plan(): table tests for each decision, and random DAGs played against an independent, naive model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_model import NaiveRun

from trackside.core.planning import Plan, plan
from trackside.core.rules import TriggerRule
from trackside.core.snapshot import CompiledDag, PastRun, RunRow, Snapshot, TaskRow
from trackside.core.spec import DagSpec, GroupSpec, TaskSpec
from trackside.core.states import FINISHED

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def compiled(*tasks: TaskSpec, **dag) -> CompiledDag:
    return CompiledDag(DagSpec("d", tasks=list(tasks), **dag))


def snapshot(dag: CompiledDag, states: dict[str, str] | None = None, **kwargs) -> Snapshot:
    states = states or {}
    run = kwargs.pop("run", RunRow(1, start_date=NOW))
    rows = [TaskRow(i, t, state=states.get(t, "none")) for i, t in enumerate(dag.graph.tasks)]
    return Snapshot(dag, run, rows, **kwargs)


def named(s: Snapshot, pks: list[int]) -> set[str]:
    return {r.task_id for r in s.tasks if r.pk in pks}


def chain(*ids: str, **kwargs) -> list[TaskSpec]:
    return [TaskSpec(a, downstream=[b] if b else [], **kwargs) for a, b in zip(ids, [*ids[1:], None], strict=True)]


def test_roots_are_scheduled_and_the_rest_say_what_they_wait_for():
    s = snapshot(compiled(*chain("a", "b", "c")))
    p = plan(s, NOW)
    assert named(s, p.schedule) == {"a"}
    assert p.reasons[1].text == "Waits for a to finish."
    assert p.outcome is None


def test_a_failure_cascades_to_the_end_in_one_plan():
    s = snapshot(compiled(*chain("a", "b", "c")), {"a": "failed"})
    p = plan(s, NOW)
    assert named(s, p.upstream_fail) == {"b", "c"}
    assert p.outcome == "failed"
    assert "a" in p.run_reason.text


def test_tasks_without_work_complete_and_let_the_next_go_in_the_same_plan():
    a, b, c = chain("a", "b", "c")
    a.has_work = b.has_work = False
    s = snapshot(compiled(a, b, c))
    p = plan(s, NOW)
    assert (named(s, p.complete), named(s, p.schedule)) == ({"a", "b"}, {"c"})


def test_a_retry_waits_for_its_time_and_sets_the_alarm():
    s = snapshot(compiled(*chain("a")), {"a": "up_for_retry"})
    s.tasks[0].next_at = NOW + timedelta(seconds=30)
    p = plan(s, NOW)
    assert (p.schedule, p.wake_at, p.outcome) == ([], NOW + timedelta(seconds=30), None)
    assert p.run_reason.code == "retry"
    assert named(s, plan(s, NOW + timedelta(seconds=30)).schedule) == {"a"}


@pytest.mark.parametrize(
    ("decision", "skipped"), [({"followed": ["b"]}, {"c"}), ({"skipped": ["b"]}, {"b"}), ({"followed": []}, {"b", "c"})]
)
def test_a_branch_leaves_out_what_it_did_not_choose_whatever_the_rule_says(decision, skipped):
    dag = compiled(TaskSpec("a", downstream=["b", "c"], skips="branch"), TaskSpec("b", trigger_rule="all_done"), TaskSpec("c"))
    s = snapshot(dag, {"a": "success"}, decisions={("a", -1): decision})
    p = plan(s, NOW)
    assert named(s, p.skip) == skipped
    assert named(s, p.schedule) == {"b", "c"} - skipped


def test_a_mapped_branch_decides_only_for_the_same_index():
    dag = compiled(TaskSpec("a", downstream=["b"], skips="branch", mapped=True), TaskSpec("b"))
    rows = [TaskRow(0, "a", map_index=0, state="success"), TaskRow(1, "a", map_index=1, state="success"), TaskRow(2, "b")]
    s = Snapshot(dag, RunRow(1, start_date=NOW), rows, decisions={("a", 0): {"followed": []}, ("a", 1): {"followed": ["b"]}})
    p = plan(s, NOW)
    assert (named(s, p.skip), named(s, p.schedule)) == (set(), {"b"})


def test_a_cleared_branch_decides_anew_before_its_children_move():
    dag = compiled(TaskSpec("a", downstream=["b"], skips="branch"), TaskSpec("b"))
    s = snapshot(dag, {"a": "running"}, decisions={("a", -1): {"followed": []}})
    assert not plan(s, NOW).moves


def test_failed_inner_tasks_do_not_fail_a_run_whose_leaf_succeeded():
    a, b = chain("a", "b")
    b.trigger_rule = "all_done"
    s = snapshot(compiled(a, b), {"a": "failed", "b": "success"})
    assert plan(s, NOW).outcome == "success"


def test_a_run_without_task_instances_succeeds_at_once():
    s = snapshot(compiled(*chain("a")))
    s.tasks.clear()
    assert plan(s, NOW).outcome == "success"


def test_uncounted_teardowns_do_not_decide_the_run():
    setup = TaskSpec("s", downstream=["w", "t"], is_setup=True)
    work = TaskSpec("w", downstream=["t"])
    tear = TaskSpec("t", is_teardown=True, trigger_rule="all_done_setup_success")
    dag = compiled(setup, work, tear)
    assert plan(snapshot(dag, {"s": "success", "w": "success", "t": "failed"}), NOW).outcome == "success"
    assert plan(snapshot(dag, {"s": "success", "w": "failed", "t": "success"}), NOW).outcome == "failed"
    tear.on_failure_fail_dagrun = True
    assert plan(snapshot(compiled(setup, work, tear), {"s": "success", "w": "success", "t": "failed"}), NOW).outcome == "failed"


def test_work_in_scope_needs_even_indirect_setups():
    tasks = [
        TaskSpec("s", downstream=["a", "t"], is_setup=True),
        TaskSpec("a", downstream=["b"]),
        TaskSpec("b", downstream=["t"], trigger_rule="all_done"),
        TaskSpec("t", is_teardown=True, trigger_rule="all_done_setup_success"),
    ]
    s = snapshot(compiled(*tasks), {"s": "failed"})
    assert named(s, plan(s, NOW).upstream_fail) == {"a", "b", "t"}


def test_a_teardown_waits_for_everything_in_its_scope():
    tasks = [
        TaskSpec("s", downstream=["a", "b", "t"], is_setup=True),
        TaskSpec("a", downstream=["early"]),
        TaskSpec("b", downstream=["early"]),
        TaskSpec("early", downstream=["t"], trigger_rule="one_success"),
        TaskSpec("t", is_teardown=True, trigger_rule="all_done_setup_success"),
    ]
    s = snapshot(compiled(*tasks), {"s": "success", "a": "success", "b": "running", "early": "success"})
    assert plan(s, NOW).schedule == []


def test_depends_on_past_holds_back_and_names_the_run():
    dag = compiled(TaskSpec("a", depends_on_past=True))
    past = PastRun({"a": ["failed"]}, run_id="yesterday", logical_date=NOW)
    s = snapshot(dag, past=past)
    p = plan(s, NOW)
    assert (p.schedule, p.outcome) == ([], None)
    assert "yesterday" in p.reasons[0].text
    past.states["a"] = ["success"]
    assert plan(snapshot(dag, past=past), NOW).schedule == [0]
    assert plan(snapshot(dag, past=None), NOW).schedule == [0]


def test_wait_for_downstream_needs_the_whole_previous_step():
    dag = compiled(TaskSpec("a", downstream=["b"], depends_on_past=True, wait_for_downstream=True), TaskSpec("b"))
    past = PastRun({"a": ["success"], "b": ["running"]}, run_id="before", logical_date=NOW)
    assert plan(snapshot(dag, past=past), NOW).schedule == []
    past.states["b"] = ["skipped"]
    assert plan(snapshot(dag, past=past), NOW).schedule == [0]


def test_a_run_over_its_timeout_fails_and_skips_the_rest():
    dag = compiled(*chain("a", "b"), dagrun_timeout=60.0)
    s = snapshot(dag, {"a": "running"})
    assert plan(s, NOW + timedelta(seconds=59)).wake_at == NOW + timedelta(seconds=60)
    p = plan(snapshot(dag, {"a": "running"}), NOW + timedelta(seconds=60))
    assert (p.outcome, set(p.stop_skipped), p.run_reason.code) == ("failed", {0, 1}, "timed_out")


def test_fail_fast_fails_what_runs_skips_what_waits_and_spares_teardowns():
    tasks = [TaskSpec("bad"), TaskSpec("long"), TaskSpec("later"), TaskSpec("t", is_teardown=True, trigger_rule="all_done")]
    s = snapshot(compiled(*tasks, fail_fast=True), {"bad": "failed", "long": "running", "later": "scheduled"})
    p = plan(s, NOW)
    assert (named(s, p.stop_failed), named(s, p.stop_skipped), named(s, p.schedule)) == ({"long"}, {"later"}, {"t"})


def test_a_paused_dag_schedules_nothing_but_can_end():
    dag = compiled(*chain("a", "b"))
    p = plan(snapshot(dag, {"a": "success"}, paused=True), NOW)
    assert (p.schedule, p.run_reason.code) == ([], "paused")
    assert plan(snapshot(dag, {"a": "success", "b": "success"}, paused=True), NOW).outcome == "success"


def test_a_logical_date_in_the_future_waits():
    s = snapshot(compiled(*chain("a")), run=RunRow(1, logical_date=NOW + timedelta(hours=1), start_date=NOW))
    p = plan(s, NOW)
    assert (p.schedule, p.outcome, p.wake_at) == ([], None, NOW + timedelta(hours=1))


def test_tasks_that_left_the_dag_are_removed():
    s = snapshot(compiled(*chain("a")), {"a": "success"})
    s.tasks.append(TaskRow(9, "gone"))
    p = plan(s, NOW)
    assert (p.remove, p.outcome) == ([9], "success")


def test_reasons_are_only_repeated_when_they_change():
    s = snapshot(compiled(*chain("a", "b")), {"a": "running"})
    first = plan(s, NOW).reasons[1]
    s.tasks[1].reason_code, s.tasks[1].reason = first
    assert plan(s, NOW).reasons == {}


# --- mapping ---------------------------------------------------------------------------------------------------------
def mapped_over(source: str) -> dict:
    return {"kind": "dict", "value": {"x": {"__xcom__": {"task_id": source, "key": "return_value"}}}}


def test_a_mapped_task_expands_to_the_length_of_its_source():
    dag = compiled(TaskSpec("a", downstream=["m"]), TaskSpec("m", mapped=True, expand=mapped_over("a")))
    s = snapshot(dag, {"a": "success"}, lengths={"a": {-1: 3}})
    p = plan(s, NOW)
    assert [(e.task_id, e.length) for e in p.expand] == [("m", 3)]
    assert p.outcome is None


def test_mapping_over_nothing_skips():
    dag = compiled(TaskSpec("a", downstream=["m"]), TaskSpec("m", mapped=True, expand=mapped_over("a")))
    s = snapshot(dag, {"a": "success"}, lengths={"a": {-1: 0}})
    assert named(s, plan(s, NOW).skip) == {"m"}


def test_ten_thousand_indexes_count_one_by_one_for_what_follows():
    dag = compiled(
        TaskSpec("m", downstream=["z"], mapped=True, expand={"kind": "dict", "value": {"x": list(range(10_000))}}), TaskSpec("z")
    )
    rows = [TaskRow(i, "m", i, "success") for i in range(10_000)]
    s = Snapshot(dag, RunRow(1, start_date=NOW), [*rows, TaskRow(10_000, "z")])
    assert plan(s, NOW).schedule == [10_000]
    rows[77].state = "failed"
    s.tasks[-1].state = "none"
    assert plan(s, NOW).upstream_fail == [10_000]


def test_inside_a_mapped_group_an_index_waits_for_its_own_index_only():
    group = GroupSpec("g", mapped=True, expand={"kind": "dict", "value": {"x": [1, 2]}})
    dag = compiled(
        TaskSpec("g.a", downstream=["g.b"], group_id="g", mapped_group_id="g"),
        TaskSpec("g.b", group_id="g", mapped_group_id="g"),
        groups=[group],
    )
    rows = [TaskRow(0, "g.a", 0, "success"), TaskRow(1, "g.a", 1, "running"), TaskRow(2, "g.b", 0), TaskRow(3, "g.b", 1)]
    p = plan(Snapshot(dag, RunRow(1, start_date=NOW), rows), NOW)
    assert p.schedule == [2]


def in_mapped_group(rule: str = "all_success") -> CompiledDag:
    """A group of three tasks mapped over the result of `src`."""
    value = {"x": {"__xcom__": {"kind": "plain", "task_id": "src"}}}
    names = {"group_id": "g", "mapped_group_id": "g"}
    return compiled(
        TaskSpec("src", downstream=["g.a"]),
        TaskSpec("g.a", downstream=["g.b"], **names),
        TaskSpec("g.b", trigger_rule=rule, **names),
        groups=[GroupSpec("g", mapped=True, expand={"kind": "dict", "value": value})],
    )


def planned_in_group(dag: CompiledDag, *states: str) -> Plan:
    """The next plan when the first task of the group has these instances and the second one none yet."""
    firsts = [TaskRow(10 + i, "g.a", i if len(states) > 1 else -1, state) for i, state in enumerate(states)]
    rows = [TaskRow(1, "src", -1, "success"), *firsts, TaskRow(2, "g.b", -1)]
    return plan(Snapshot(dag, RunRow(1, start_date=NOW), rows, lengths={"src": {-1: 3}}), NOW)


@pytest.mark.parametrize("states", [("success", "failed", "running"), ("scheduled", "none", "none"), ("failed", "failed", "failed")])
def test_a_task_of_a_mapped_group_gets_its_indexes_as_soon_as_the_one_before_has_them(states):
    p = planned_in_group(in_mapped_group(), *states)
    assert [(e.task_id, e.length, e.starts) for e in p.expand] == [("g.b", 3, False)]
    assert p.upstream_fail == []


def test_it_waits_for_the_one_before_to_have_indexes():
    p = planned_in_group(in_mapped_group(), "none")
    assert [(e.task_id, e.starts) for e in p.expand] == [("g.a", True)]


@pytest.mark.parametrize("rule", ["one_success", "one_failed", "one_done", "none_failed_min_one_success"])
def test_with_rules_that_some_of_many_satisfy_it_looks_at_all_of_them_first(rule):
    assert planned_in_group(in_mapped_group(rule), "running", "running", "running").expand == []


# --- random DAGs -------------------------------------------------------------------------------------------------------
@st.composite
def dags(draw):
    n = draw(st.integers(1, 8))
    ids = [f"t{i}" for i in range(n)]
    tasks = []
    for i, task_id in enumerate(ids):
        downs = [d for d in ids[i + 1 :] if draw(st.booleans())]
        rule = draw(st.sampled_from([r for r in TriggerRule if r is not TriggerRule.ALL_DONE_SETUP_SUCCESS]))
        tasks.append(
            TaskSpec(task_id, downstream=downs, trigger_rule=rule, retries=draw(st.integers(0, 2)), has_work=draw(st.integers(0, 3)) > 0)
        )
    return DagSpec("d", tasks=tasks)


def apply(s: Snapshot, p: Plan) -> None:
    """Play the server: scheduled tasks run at once."""
    for row in s.tasks:
        if row.pk in p.schedule:
            row.try_number += 1
            row.state = "running"


@settings(max_examples=400, deadline=None)
@given(dags(), st.data())
def test_random_runs_agree_with_the_naive_model_at_every_step(spec, data):
    """Tasks end in any order with any result; after every end the plan must say what the model says."""
    dag = CompiledDag(spec)
    s = Snapshot(dag, RunRow(1, start_date=NOW), [TaskRow(i, t.task_id, max_tries=t.retries) for i, t in enumerate(spec.tasks)])
    model = NaiveRun(spec)
    for _ in range(60):
        p = plan(s, NOW)
        apply(s, p)
        model.settle()
        assert {r.task_id: str(r.state) for r in s.tasks} == model.states
        if p.outcome is not None:
            assert str(p.outcome) == model.outcome()
            assert all(r.state in FINISHED for r in s.tasks)
            return
        running = [r for r in s.tasks if r.state == "running"]
        assert running, "neither ended nor anything running: stuck"
        row = data.draw(st.sampled_from(running))
        result = data.draw(st.sampled_from(["success", "failed", "skipped"]))
        if result == "failed" and row.try_number <= row.max_tries:
            result = "up_for_retry"
        row.state = result
        model.ended(row.task_id, result)
    raise AssertionError("the run did not end")
