"""Tasks ask people: one answer counts, from those who were asked; when nobody answers, defaults or a failure."""

from __future__ import annotations

from typing import Any

import pytest

from apps.access.tests.resthelp import Api
from apps.runs.actions import clearing
from apps.runs.models import HITLDetail, Run
from apps.runs.tests.support import ACTOR, Worker, chain, dag, later, reason, run, states, ti, tick, woken  # noqa: F401  # fixture

pytestmark = pytest.mark.django_db


def ask(*, timeout_s: float | None = None, **asked: Any) -> Run:
    """A run whose task `ask` waits for an answer."""
    made = run(dag(chain("ask", "after")))
    question = {"subject": "Ship it?", "options": ["yes", "no"], "multiple": False, "params": {}, "assigned_users": [], **asked}
    deferral = {"classpath": "x", "kwargs": question, "next_method": "execute_complete", "next_kwargs": {}, "timeout_s": timeout_s}
    Worker().do(made, "ask", "awaiting_input", deferral=deferral)
    assert states(made)["ask"] == "awaiting_input"
    return made


def path(of: Run, more: str = "") -> str:
    return f"/dags/orders/dagRuns/{of.run_id}/taskInstances/ask/-1/hitlDetails{more}"


def answer(of: Run, *chosen: str, api: Api | None = None, **params: Any) -> tuple[int, Any]:
    return (api or Api("User"))("PATCH", path(of), {"chosen_options": list(chosen), "params_input": params})


def event(of: Run) -> dict[str, Any]:
    """What the task goes on with."""
    return (ti(of, "ask").next_kwargs or {})["event"]


def test_a_question_is_shown_and_says_why_the_run_waits() -> None:
    of = ask(body="All tests are green.", defaults=["no"])
    status, shown = Api("Viewer").get(path(of))
    assert status == 200
    assert (shown["subject"], shown["body"], shown["options"], shown["defaults"]) == (
        "Ship it?",
        "All tests are green.",
        ["yes", "no"],
        ["no"],
    )
    assert (shown["response_received"], shown["chosen_options"], shown["responded_by_user"]) == (False, None, None)
    assert shown["task_instance"]["state"] == "awaiting_input"
    assert reason(of, "ask") == reason(of) == "input"
    assert "Ship it?" in (ti(of, "ask").reason or "")


def test_an_answer_lets_the_same_try_go_on_with_it() -> None:
    of = ask(params={"level": {"value": 1, "schema": {"type": "integer"}}})
    before = ti(of, "ask")
    api = Api("User")
    status, said = answer(of, "yes", api=api, level=3)
    assert status == 200
    name = said["responded_by"]["name"]
    assert (said["chosen_options"], said["params_input"]) == (["yes"], {"level": 3})
    order = Worker().take()["ask"]
    assert (order["try_id"], order["next_method"], order["try_number"]) == (str(before.try_id), "execute_complete", 1)
    got = order["next_kwargs"]["event"]
    assert (got["chosen_options"], got["params_input"], got["responded_by_user"]) == (["yes"], {"level": 3}, {"id": name, "name": name})


def test_the_first_answer_counts() -> None:
    of = ask()
    assert answer(of, "yes")[0] == 200
    assert answer(of, "no")[0] == 409
    assert event(of)["chosen_options"] == ["yes"]


@pytest.mark.parametrize(
    ("chosen", "params", "status"), [(["maybe"], {}, 400), (["yes", "no"], {}, 400), ([], {}, 422), (["yes"], {"level": "high"}, 400)]
)
def test_an_answer_that_does_not_fit_changes_nothing(chosen: list[str], params: dict[str, Any], status: int) -> None:
    of = ask(params={"level": {"value": 1, "schema": {"type": "integer"}}})
    assert answer(of, *chosen, **params)[0] == status
    assert states(of)["ask"] == "awaiting_input"
    assert answer(of, "yes")[0] == 200


def test_only_those_who_were_asked_may_answer() -> None:
    of = ask(assigned_users=[{"id": "paula", "name": "Paula"}])
    assert answer(of, "yes")[0] == 403
    assert states(of)["ask"] == "awaiting_input"


def test_who_may_only_look_may_not_answer() -> None:
    of = ask()
    assert answer(of, "yes", api=Api("Viewer"))[0] == 403
    assert states(of)["ask"] == "awaiting_input"


def test_when_nobody_answers_the_defaults_are_chosen() -> None:
    of = ask(timeout_s=60, defaults=["no"], params={"level": {"value": 1, "schema": {}}})
    tick()
    assert states(of)["ask"] == "awaiting_input"
    later(seconds=61)
    tick()
    assert event(of)["chosen_options"] == ["no"]
    detail = HITLDetail.objects.get()
    assert (detail.chosen_options, detail.responded_by, detail.params_input) == (["no"], None, {"level": 1})
    assert answer(of, "yes")[0] == 409


def test_without_defaults_the_task_goes_on_to_fail() -> None:
    of = ask(timeout_s=60)
    later(seconds=61)
    tick()
    assert event(of)["error_type"] == "timeout"
    assert HITLDetail.objects.get().responded_at is None


def test_a_question_of_a_try_that_was_cleared_cannot_be_answered_and_stays_as_history() -> None:
    of = ask()
    clearing.clear(clearing.ClearRequest("orders", run_pks=[of.pk], task_ids=["ask"]), actor=ACTOR)
    assert answer(of, "yes")[0] == 404
    assert Api("User").get(path(of, "/tries/1"))[1]["subject"] == "Ship it?"
    assert Api("User").get(path(of, "/tries/7"))[0] == 404


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ({}, 1),
        ({"response_received": True}, 0),
        ({"task_id": "ask"}, 1),
        ({"task_id_pattern": "other"}, 0),
        ({"subject_search": "SHIP"}, 1),
        ({"state": "awaiting_input"}, 1),
        ({"state": "success"}, 0),
        ({"responded_by_user_name": "mara"}, 0),
        ({"map_index": 3}, 0),
    ],
)
def test_questions_are_listed_and_filtered(query: dict[str, Any], total: int) -> None:
    ask()
    assert Api("Viewer").get("/dags/~/dagRuns/~/hitlDetails", **query)[1]["total_entries"] == total
