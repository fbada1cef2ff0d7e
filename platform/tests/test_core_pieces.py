"""Graph, retries, admission, states: the small pure parts."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackside.core import retries
from trackside.core.admission import Candidate, Usage, admit
from trackside.core.graph import CycleError, Graph
from trackside.core.spec import DagSpec, GroupSpec, TaskSpec
from trackside.core.states import FINISHED, OCCUPYING, PARKED, RUN_TRANSITIONS, TASK_TRANSITIONS, UNFINISHED, RunState, TaskState

DATE = datetime(2026, 1, 1, tzinfo=UTC)


def graph(edges: dict[str, list[str]], **kwargs) -> Graph:
    return Graph(DagSpec("d", tasks=[TaskSpec(t, downstream=d, **kwargs) for t, d in edges.items()]))


# --- graph ---------------------------------------------------------------------------------------------------------------
def test_order_respects_every_edge_and_keeps_declared_order():
    g = graph({"b": ["d"], "a": ["d"], "c": [], "d": []})
    assert g.order == ("b", "a", "c", "d")
    assert (g.roots, g.leaves) == (("b", "a", "c"), ("c", "d"))


def test_a_cycle_is_named():
    with pytest.raises(CycleError, match=r"a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c"):
        graph({"a": ["b"], "b": ["c"], "c": ["a"], "z": ["a"]})


def test_relatives_and_groups():
    g = Graph(
        DagSpec(
            "d",
            tasks=[TaskSpec("g.a", downstream=["g.h.b"], group_id="g"), TaskSpec("g.h.b", downstream=["c"], group_id="g.h"), TaskSpec("c")],
            groups=[GroupSpec("g"), GroupSpec("g.h", parent_id="g")],
        )
    )
    assert g.descendants("g.a") == {"g.h.b", "c"}
    assert g.ancestors("c") == {"g.a", "g.h.b"}
    assert g.group_tasks("g") == ("g.a", "g.h.b")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("downstream", {"a": 6, "b": 5, "c": 3}), ("upstream", {"a": 1, "b": 3, "c": 6}), ("absolute", {"a": 1, "b": 2, "c": 3})],
)
def test_priority_weights_sum_as_the_rule_says(rule, expected):
    tasks = [
        TaskSpec("a", downstream=["b"], priority_weight=1, weight_rule=rule),
        TaskSpec("b", downstream=["c"], priority_weight=2, weight_rule=rule),
        TaskSpec("c", priority_weight=3, weight_rule=rule),
    ]
    assert Graph(DagSpec("d", tasks=tasks)).priority == expected


# --- retries ---------------------------------------------------------------------------------------------------------------
def test_without_back_off_the_delay_is_constant():
    task = TaskSpec("t", retry_delay=7.5)
    assert [retries.retry_delay(task, dag_id="d", logical_date=DATE, try_number=n) for n in (1, 2, 9)] == [7.5] * 3


def test_back_off_is_airflows_formula():
    task = TaskSpec("t", retry_delay=10.0, retry_exponential_backoff=2.0)
    for n in (1, 2, 3):
        base = 10 * 2 ** (n - 1)
        jitter = int(hashlib.sha1(f"d#t#{DATE}#{n}".encode()).hexdigest(), 16) % base
        assert retries.retry_delay(task, dag_id="d", logical_date=DATE, try_number=n) == base + jitter


@given(st.floats(0.01, 1e6), st.floats(1.0, 10.0), st.integers(1, 500), st.one_of(st.none(), st.floats(0.1, 1e5)))
def test_back_off_never_leaves_its_bounds(delay, multiplier, try_number, cap):
    task = TaskSpec("t", retry_delay=delay, retry_exponential_backoff=multiplier, max_retry_delay=cap)
    got = retries.retry_delay(task, dag_id="d", logical_date=None, try_number=try_number)
    assert 0 < got <= min(retries.MAX_TASK_RETRY_DELAY, cap or retries.MAX_TASK_RETRY_DELAY)


def test_max_tries_counts_retries_not_tries():
    assert [retries.may_retry(n, 2) for n in (1, 2, 3)] == [True, True, False]


def test_the_next_try_counts_from_the_end_of_the_last():
    at = retries.next_try_at(TaskSpec("t", retry_delay=60), dag_id="d", logical_date=DATE, try_number=1, ended=DATE)
    assert at == DATE + timedelta(minutes=1)


# --- admission -------------------------------------------------------------------------------------------------------------
def candidate(pk: int, pool: str = "p", slots: int = 1, run: int = 1, task: str = "t", **kwargs) -> Candidate:
    return Candidate(pk, run, "d", task, pool, slots, kwargs.pop("max_active_tasks", 100), **kwargs)


def test_a_big_task_that_does_not_fit_lets_smaller_ones_pass():
    admitted, waiting = admit([candidate(1, slots=3), candidate(2, slots=2), candidate(3)], Usage(pools={"p": 3}, pool_used=Counter(p=1)))
    assert admitted == [2]
    assert {pk: why.code for pk, why in waiting.items()} == {1: "pool_full", 3: "pool_full"}


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"max_active_tasks": 1}, "run_limit"), ({"task_limit": 1}, "task_limit"), ({"task_run_limit": 1}, "task_run_limit")],
)
def test_each_limit_refuses_the_second_and_says_which(limits, code):
    admitted, waiting = admit([candidate(1, **limits), candidate(2, **limits)], Usage(pools={"p": -1}))
    assert admitted == [1]
    assert waiting[2].code == code


def test_missing_and_too_small_pools_say_what_to_do():
    _, waiting = admit([candidate(1, pool="nowhere"), candidate(2, slots=5)], Usage(pools={"p": 4}))
    assert [w.code for w in waiting.values()] == ["pool_missing", "pool_too_small"]


@given(
    st.lists(st.tuples(st.sampled_from("pq"), st.integers(1, 4), st.integers(1, 3), st.sampled_from("xyz")), max_size=40),
    st.integers(0, 8),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_no_limit_is_ever_exceeded_and_nothing_that_fits_is_left(wants, total, per_run, per_task):
    candidates = [
        candidate(i, pool, slots, run, task, max_active_tasks=per_run, task_limit=per_task)
        for i, (pool, slots, run, task) in enumerate(wants)
    ]
    usage = Usage(pools={"p": total, "q": -1})
    admitted, waiting = admit(candidates, usage)
    taken = [candidates[i] for i in admitted]
    assert sum(c.slots for c in taken if c.pool == "p") <= total
    assert all(sum(c.run_pk == r for c in taken) <= per_run for r in (1, 2, 3))
    assert all(sum(c.task_id == t for c in taken) <= per_task for t in "xyz")
    again, _ = admit([candidates[i] for i in waiting], usage)
    assert again == []


# --- states ------------------------------------------------------------------------------------------------------------------
def test_every_state_can_be_reached_and_unfinished_ones_can_be_left():
    targets = {t.target for t in TASK_TRANSITIONS.values()}
    assert targets == {str(s) for s in TaskState}
    for state in UNFINISHED:
        assert any(state in t.sources and t.target != state for t in TASK_TRANSITIONS.values()), state
    assert {t.target for t in RUN_TRANSITIONS.values()} == {str(s) for s in RunState}


def test_finished_states_are_left_by_people_and_repairs_only():
    for t in TASK_TRANSITIONS.values():
        if set(t.sources) & {str(s) for s in FINISHED}:
            assert t.verb in ("clear", "mark_success", "mark_failed", "mark_skipped", "remove", "restore"), t.verb


def test_the_sets_do_not_overlap():
    assert not (FINISHED & OCCUPYING or FINISHED & PARKED or OCCUPYING & PARKED)


def test_every_transition_tells_its_mover_and_its_crash_story():
    for t in (*TASK_TRANSITIONS.values(), *RUN_TRANSITIONS.values()):
        assert t.mover
        assert t.crash
