"""Required actions: who sees which questions, and answering them from a page."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.access.models import User
from apps.runs.models import HITLDetail, TaskInstance
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db
HX = {"HX-Request": "true"}


def ask(dag_id: str = "orders", **kwargs: Any) -> HITLDetail:
    run = factories.run(factories.dag(dag_id), state="running", states={"extract": "awaiting_input"})
    ti = TaskInstance.objects.get(run=run, task_id="extract")
    TaskInstance.objects.filter(pk=ti.pk).update(try_id=uuid.uuid4())
    ti.refresh_from_db()
    factories.a_try(ti, state="parked")
    given: dict[str, Any] = {"subject": "Ship it?", "options": ["Yes", "No"], **kwargs}
    return HITLDetail.objects.create(ti=ti, try_id=ti.try_id, **given)


def url(asked: HITLDetail) -> str:
    return reverse("task_answer", args=[asked.ti.dag_id, asked.ti.run.run_id, asked.ti.task_id])


@pytest.fixture
def mara(client: Client) -> Client:
    client.force_login(factories.user())
    return client


def test_an_open_question_is_listed_counted_and_offered_on_the_task(mara: Client) -> None:
    asked = ask()
    page = mara.get(reverse("required_actions")).content.decode()
    assert "Ship it?" in page and url(asked) in page
    assert '<span class="n hot" data-count="questions" data-when="some">1</span>' in page
    task = mara.get(reverse("task", args=["orders", asked.ti.run.run_id, "extract"])).content.decode()
    assert url(asked) in task


def test_an_answer_lets_the_task_go_on_and_moves_to_the_answered(mara: Client) -> None:
    params = {"amount": {"value": 1, "schema": {"type": "integer", "maximum": 5}}}
    asked = ask(params=params)
    response = mara.post(url(asked), {"option": "Yes", "param.amount": "3"}, headers=HX)
    assert response.status_code == 200, response.content
    asked.refresh_from_db()
    assert (asked.chosen_options, asked.params_input, asked.responded_by) == (["Yes"], {"amount": 3}, {"id": "mara", "name": "mara"})
    assert asked.ti.state != "awaiting_input"
    assert "Ship it?" not in mara.get(reverse("required_actions")).content.decode()
    assert "Ship it?" in mara.get(reverse("required_actions") + "?view=answered").content.decode()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "Choose one of the options."),
        ({"option": "Maybe", "param.amount": "1"}, "are not among the options"),
        ({"option": ["Yes", "No"], "param.amount": "1"}, "Only one option"),
        ({"option": "Yes", "param.amount": "9"}, "9 is greater than the maximum of 5"),
        ({"option": "Yes", "param.amount": "x"}, "not a whole number"),
    ],
)
def test_a_bad_answer_comes_back_with_what_is_wrong_and_the_question_stays(mara: Client, given: dict[str, Any], said: str) -> None:
    asked = ask(params={"amount": {"value": 1, "schema": {"type": "integer", "maximum": 5}}})
    response = mara.post(url(asked), given, headers=HX)
    assert response.status_code == 422
    assert said in response.content.decode()
    asked.refresh_from_db()
    assert asked.responded_at is None


def test_the_first_answer_counts(mara: Client) -> None:
    asked = ask()
    assert mara.post(url(asked), {"option": "Yes"}, headers=HX).status_code == 200
    second = mara.post(url(asked), {"option": "No"}, headers=HX)
    assert second.status_code >= 400 and "answered already" in second.content.decode()
    asked.refresh_from_db()
    assert asked.chosen_options == ["Yes"]


def test_only_who_was_asked_gets_the_button_and_may_answer(mara: Client) -> None:
    asked = ask(assigned_users=[{"id": "tom", "name": "Tom"}])
    page = mara.get(reverse("required_actions")).content.decode()
    assert "for Tom" in page and "Answer…" not in page
    refused = mara.post(url(asked), {"option": "Yes"}, headers=HX)
    assert refused.status_code >= 400 and "not among the users asked" in refused.content.decode()


def test_a_viewer_reads_but_may_not_answer_and_a_stranger_sees_nothing_not_even_a_number(client: Client) -> None:
    asked = ask()
    viewer = User.objects.create_user("vera", password="x")
    viewer.groups.add(Group.objects.get_or_create(name="Viewer")[0])
    client.force_login(viewer)
    assert "Ship it?" in client.get(reverse("required_actions")).content.decode()
    assert client.post(url(asked), {"option": "Yes"}).status_code == 403
    client.force_login(User.objects.create_user("nobody", password="x"))
    page = client.get(reverse("required_actions")).content.decode()
    assert "Ship it?" not in page and '<span class="n hot" data-count="questions" data-when="some" hidden>0</span>' in page
    assert '<span class="n" data-count="running">0</span>' in page


def test_the_list_costs_the_same_for_one_question_and_for_many(mara: Client) -> None:
    ask()
    mara.get(reverse("required_actions"))
    with CaptureQueriesContext(
        connection,
    ) as one:
        mara.get(reverse("required_actions"))
    for k in range(5):
        ask(f"more_{k}")
    with CaptureQueriesContext(connection) as many:
        mara.get(reverse("required_actions"))
    assert len(many) == len(one)
