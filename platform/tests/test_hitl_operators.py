"""Operators that ask people: what they refuse, what they ask, and what an answer means."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from try_harness import Harness, harness

from trackside.sdk.operators.hitl import ApprovalOperator, HITLBranchOperator, HITLEntryOperator, HITLOperator
from trackside.sdk.param import Param

FILE = """
import datetime as dt
from airflow.sdk import DAG, Param
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLBranchOperator, HITLEntryOperator, HITLOperator

with DAG("d", schedule=None, params={"of_dag": 1}):
    HITLOperator(task_id="pick", subject="{{ run_id }}?", body="b", options=["a", "b", "c"], multiple=True, defaults="a",
                 params={"level": Param(1, type="integer", maximum=9)}, assigned_users=[{"id": "1", "name": "Ann"}],
                 notifiers=[lambda context: print("asked")], response_timeout=dt.timedelta(minutes=5))
    first = EmptyOperator(task_id="first")
    ApprovalOperator(task_id="approve", subject="ok?") >> first >> EmptyOperator(task_id="second")
    ApprovalOperator(task_id="wide", subject="ok?", ignore_downstream_trigger_rules=True) >> first
    ApprovalOperator(task_id="strict", subject="ok?", fail_on_reject=True)
    HITLBranchOperator(task_id="branch", subject="where?", options=["left", "r"], options_mapping={"r": "right"}) >> [
        EmptyOperator(task_id="left"), EmptyOperator(task_id="right")]
    HITLEntryOperator(task_id="form", subject="fill in")
"""


@pytest.fixture
def run(tmp_path: Path) -> Harness:
    return harness(tmp_path, FILE)


def answered(run: Harness, task_id: str, *chosen: str, **more: Any) -> Any:
    event = {"chosen_options": list(chosen), "params_input": {}, "responded_at": "2024-01-01T00:00:00Z", "responded_by_user": None, **more}
    return run.attempt(task_id, next_method="execute_complete", next_kwargs={"event": event})


def test_a_question_parks_the_try_with_everything_people_need(run: Harness) -> None:
    report = run.attempt("pick")
    assert (report.outcome, report.deferral["next_method"], report.deferral["timeout_s"]) == ("awaiting_input", "execute_complete", 300.0)
    asked = report.deferral["kwargs"]
    level = asked["params"].pop("level")
    assert asked == {
        "subject": "r1?", "body": "b", "options": ["a", "b", "c"], "defaults": ["a"], "multiple": True, "params": {},
        "assigned_users": [{"id": "1", "name": "Ann"}],
    }  # fmt: skip
    assert (level["value"], level["schema"]) == (1, {"type": "integer", "maximum": 9})


def test_the_answer_is_the_result(run: Harness) -> None:
    assert answered(run, "pick", "b", "c", params_input={"level": 2}).outcome == "success"
    assert run.xcom("pick")["chosen_options"] == ["b", "c"]
    assert run.xcom("pick")["params_input"] == {"level": 2}


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"error": "late", "error_type": "timeout"}, "HITLTimeoutError"),
        ({"error": "odd"}, "HITLTriggerEventError"),
        ({"chosen_options": ["x"]}, "HITLTriggerEventError"),
        ({"chosen_options": ["a"], "params_input": {"level": 10}}, "HITLTriggerEventError"),
    ],
)
def test_an_answer_that_cannot_be_used_fails_the_task(run: Harness, event: dict[str, Any], error: str) -> None:
    report = run.attempt("pick", next_method="execute_complete", next_kwargs={"event": event})
    assert report.outcome == "failed"
    assert report.error.startswith(error)


@pytest.mark.parametrize(("task_id", "skipped"), [("approve", ["first"]), ("wide", ["first", "second"])])
def test_a_rejection_skips_what_comes_after(run: Harness, task_id: str, skipped: list[str]) -> None:
    assert answered(run, task_id, "Approve").skip is None
    report = answered(run, task_id, "Reject")
    assert (report.outcome, report.skip["mode"], sorted(report.skip["ids"])) == ("success", "skipped", skipped)


def test_a_rejection_may_fail_the_task(run: Harness) -> None:
    assert answered(run, "strict", "Approve").outcome == "success"
    report = answered(run, "strict", "Reject")
    assert (report.outcome, report.error.partition(":")[0]) == ("failed", "HITLRejectException")


@pytest.mark.parametrize(("option", "task"), [("left", "left"), ("r", "right")])
def test_a_choice_is_followed(run: Harness, option: str, task: str) -> None:
    report = answered(run, "branch", option)
    assert (report.outcome, report.skip) == ("success", {"mode": "followed", "ids": [task]})


def test_a_form_has_one_button(run: Harness) -> None:
    asked = run.attempt("form").deferral["kwargs"]
    assert (asked["options"], asked["defaults"]) == (["OK"], ["OK"])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: HITLOperator(task_id="t", subject="s", options=[]), "cannot be empty"),
        (lambda: HITLOperator(task_id="t", subject="s", options=["a"], defaults=["b"]), "subset of options"),
        (lambda: HITLOperator(task_id="t", subject="s", options=["a", "b"], defaults=["a", "b"]), "More than one defaults"),
        (lambda: HITLOperator(task_id="t", subject="s", options=["a"], params={"_options": Param(1)}), "not allowed in params"),
        (lambda: ApprovalOperator(task_id="t", subject="s", options=["a"]), "Passing options"),
        (lambda: ApprovalOperator(task_id="t", subject="s", multiple=True), "Passing multiple"),
        (lambda: HITLBranchOperator(task_id="t", subject="s", options=["a"], options_mapping={"b": "x"}), "not in `options`"),
        (lambda: HITLBranchOperator(task_id="t", subject="s", options=["a"], options_mapping={"a": 1}), "must be strings"),
    ],
)
def test_questions_that_contradict_themselves_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_the_time_to_answer_may_also_be_the_execution_timeout() -> None:
    limit = dt.timedelta(hours=3)
    assert HITLEntryOperator(task_id="t", subject="s", execution_timeout=limit).execution_timeout == limit
