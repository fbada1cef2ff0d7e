"""The 13 trigger rules against Airflow's observed truth table and against a naive second opinion."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackside.core.rules import TriggerRule, Upstream, Verdict, evaluate

STATES = ["success", "skipped", "failed", "upstream_failed", "removed", "none", "running"]

# rows 1.175-1.186 of the observed table: rule → (success+skipped, success+failed, skipped only, failed+skipped)
OBSERVED = {
    "all_success": ("skipped", "upstream_failed", "skipped", "upstream_failed"),
    "all_failed": ("skipped", "skipped", "skipped", "skipped"),
    "all_done": ("run", "run", "run", "run"),
    "all_done_min_one_success": ("skipped", "run", "skipped", "skipped"),
    "all_skipped": ("skipped", "skipped", "run", "skipped"),
    "one_success": ("run", "run", "skipped", "upstream_failed"),
    "one_failed": ("skipped", "run", "skipped", "run"),
    "one_done": ("run", "run", "skipped", "run"),
    "none_failed": ("run", "upstream_failed", "run", "upstream_failed"),
    "none_failed_min_one_success": ("run", "upstream_failed", "skipped", "upstream_failed"),
    "none_skipped": ("skipped", "run", "skipped", "skipped"),
    "always": ("run", "run", "run", "run"),
}
COMBINATIONS = (("success", "skipped"), ("success", "failed"), ("skipped",), ("failed", "skipped"))


def count(states: tuple[str, ...], setups: tuple[bool, ...] = ()) -> Upstream:
    up = Upstream()
    for i, state in enumerate(states):
        up.add(state, is_setup=bool(setups) and setups[i])
    return up


@pytest.mark.parametrize("rule", OBSERVED)
def test_finished_upstreams_give_what_airflow_was_seen_to_give(rule):
    assert tuple(str(evaluate(rule, count(c))) for c in COMBINATIONS) == OBSERVED[rule]


@pytest.mark.parametrize("rule", list(TriggerRule))
def test_a_task_without_upstream_always_runs(rule):
    assert evaluate(rule, Upstream()) is Verdict.RUN


def naive(rule: str, states: tuple[str, ...], setups: tuple[bool, ...]) -> str:
    """The rules spelled out over the list of states, as the documentation words them."""
    c = Counter(states)
    finished = {"success", "skipped", "failed", "upstream_failed", "removed"}
    open_ = [s for s in states if s not in finished]
    bad = [s for s in states if s in ("failed", "upstream_failed")]
    wait = "wait" if open_ else None
    match rule:
        case "always":
            return "run"
        case "all_done":
            return wait or "run"
        case "all_success":
            return "upstream_failed" if bad else "skipped" if "skipped" in states else wait or "run"
        case "all_failed":
            return "skipped" if c["success"] or c["skipped"] else wait or "run"
        case "all_skipped":
            return "skipped" if c["success"] or bad else wait or "run"
        case "none_failed":
            return "upstream_failed" if bad else wait or "run"
        case "none_failed_min_one_success":
            return "upstream_failed" if bad else "skipped" if set(states) == {"skipped"} else wait or "run"
        case "none_skipped":
            return "skipped" if c["skipped"] else wait or "run"
        case "one_success":
            return "run" if c["success"] else wait or ("skipped" if set(states) == {"skipped"} else "upstream_failed")
        case "one_failed":
            return "run" if bad else wait or "skipped"
        case "one_done":
            return "run" if c["success"] or c["failed"] else wait or "skipped"
        case "all_done_min_one_success":
            return "skipped" if c["skipped"] else wait or ("run" if c["success"] else "upstream_failed")
        case "all_done_setup_success":
            mine = [s for s, is_setup in zip(states, setups, strict=True) if is_setup]
            if open_:
                return "wait"
            if not mine or "success" in mine:
                return "run"
            return "skipped" if set(mine) == {"skipped"} else "upstream_failed"
    raise AssertionError(rule)


@pytest.mark.parametrize("rule", list(TriggerRule))
def test_every_rule_agrees_with_the_naive_reading_over_up_to_three_upstreams(rule):
    for n in (1, 2, 3):
        for states in product(STATES, repeat=n):
            for setups in product((False, True), repeat=n):
                assert str(evaluate(rule, count(states, setups))) == naive(rule, states, setups), (rule, states, setups)


@given(st.sampled_from(list(TriggerRule)), st.lists(st.sampled_from(STATES[:5]), min_size=1, max_size=12))
def test_once_all_upstreams_are_finished_no_rule_waits(rule, states):
    assert evaluate(rule, count(tuple(states))) is not Verdict.WAIT


@given(
    st.sampled_from(list(TriggerRule)),
    st.lists(st.sampled_from(STATES[:4]), max_size=6),
    st.integers(1, 4),
    st.lists(st.sampled_from(STATES[:4]), min_size=4, max_size=4),
)
def test_a_verdict_that_skips_or_fails_is_never_taken_back_by_later_states(rule, known, unfinished, rest):
    early = evaluate(rule, count(tuple(known) + ("running",) * unfinished))
    if early in (Verdict.SKIP, Verdict.UPSTREAM_FAIL):
        late = evaluate(rule, count(tuple(known) + tuple(rest[:unfinished])))
        # all_success: a failure that comes after a skip may turn skipped into upstream_failed, as in Airflow
        assert late is not Verdict.RUN
