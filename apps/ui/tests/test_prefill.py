"""Links that fill in the dialogs which trigger and answer; pressing the button stays with the person."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.http import QueryDict
from django.test import Client
from django.urls import reverse

from apps.runs.models import Run
from apps.ui import prefill
from apps.ui.tests import factories
from apps.ui.tests.test_questions import ask, url

pytestmark = pytest.mark.django_db
DECLARED: dict[str, Any] = {
    "rows": {"value": 1, "schema": {"type": "integer"}},
    "mood": {"value": "calm", "schema": {"type": "string"}},
    "deep": {"value": {}, "schema": {"type": "object"}},
    "names": {"value": [], "schema": {"type": "array", "items": {"type": "string"}}},
    "plain": {"value": 5},
}


@pytest.fixture
def mara(client: Client) -> Client:
    client.force_login(factories.user())
    return client


@pytest.mark.parametrize(
    ("query", "values", "beside"),
    [
        ("rows=7&mood=12", {"rows": 7, "mood": "12"}, {}),
        ("rows=many", {"rows": "many"}, {}),
        ("deep=%7B%22a%22%3A1%7D&plain=6", {"deep": {"a": 1}, "plain": 6}, {}),
        ("names=a&names=b", {"names": ["a", "b"]}, {}),
        ('conf={"rows":3,"else":1}', {"rows": 3}, {"conf": '{"else": 1}'}),
        ('conf={"rows":3}&rows=4', {"rows": 4}, {}),
        ("conf={broken", {}, {"conf": "{broken"}),
        ("conf=[1]", {}, {"conf": "[1]"}),
        ("note=why&run_id=r7&unknown=1", {}, {"note": "why", "run_id": "r7"}),
    ],
)
def test_a_link_to_the_trigger_dialog_says_params_conf_and_the_fields_beside_them(query: str, values: Any, beside: Any) -> None:
    assert prefill.of_trigger(DECLARED, QueryDict(query)) == (values, beside)


def test_the_trigger_dialog_begins_with_what_its_link_says_and_makes_no_run(mara: Client) -> None:
    dag = factories.dag(made=factories.spec("orders", ["extract"], params={"rows": {"value": 1, "schema": {"type": "integer"}}}))
    query = urlencode({"rows": "7", "note": 'for <Tom> & "Ann"', "run_id": "r7", "conf": json.dumps({"extra": True})})
    page = mara.get(reverse("dag_trigger", args=[dag.dag_id]) + f"?{query}").content.decode()
    assert re.search(r'name="param\.rows"[^>]*value="7"', page) or re.search(r'value="7"[^>]*name="param\.rows"', page)
    assert 'value="for &lt;Tom&gt; &amp; &quot;Ann&quot;"' in page and 'value="r7"' in page and "{&quot;extra&quot;: true}" in page
    assert not Run.objects.exists()


def test_the_question_begins_with_the_answer_of_its_link_and_stays_open(mara: Client) -> None:
    asked = ask(params={"amount": {"value": 1, "schema": {"type": "integer", "maximum": 5}}}, defaults=["Yes"])
    ticked = re.compile(r'value="(\w+)" checked')
    assert ticked.findall(mara.get(url(asked)).content.decode()) == ["Yes"]
    page = mara.get(url(asked) + "?_options=No&amount=4").content.decode()
    assert ticked.findall(page) == ["No"]
    assert re.search(r'name="param\.amount"[^>]*value="4"', page) or re.search(r'value="4"[^>]*name="param\.amount"', page)
    asked.refresh_from_db()
    assert asked.responded_at is None


def test_a_link_to_an_answered_question_shows_what_was_answered(mara: Client) -> None:
    asked = ask()
    mara.post(url(asked), {"option": "Yes"}, headers={"HX-Request": "true"})
    page = mara.get(url(asked) + "?_options=No").content.decode()
    assert "Yes" in page and "checked" not in page
