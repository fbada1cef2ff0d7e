"""Names that cannot be told apart by eye are refused, whoever makes the thing: by REST, administration, a task, or an import."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from apps.access import actions, people, team_calls
from apps.access.audit import Actor
from apps.access.errors import Refused
from apps.access.models import AuditEvent, Connection, Team, User, Variable
from apps.access.tests.resthelp import Api, Own, person
from apps.runs.actions import pools
from apps.runs.errors import ActionRefused
from apps.runs.execution import data
from apps.runs.execution.refusal import Refused as TaskRefused
from apps.runs.imports import compare
from apps.runs.imports.items import Found
from apps.runs.models import Pool, Run
from apps.runs.tests import support
from apps.runs.tests.restworld import make_dag
from apps.runs.tests.support import Worker, woken  # noqa: F401
from trackside.core import idtext
from trackside.sdk.abstract import check_id

pytestmark = pytest.mark.django_db
ME = Actor("operator", "cli")
HOSTILE = {
    "turned round": "a\u202eb", "isolated": "a\u2066b", "right to left mark": "a\u200fb", "no width": "a\u200bb", "joined": "a\u200db",
    "a bell": "a\x07b", "two lines": "a\nb", "separate accent": "cafe\u0301", "byte order mark": "\ufeffa",
}  # fmt: skip
FINE = ("café", "हिन्दी", "数据", "a😀", "with blank", "-a", "~", "*", "con", "../x", "A", "a")


def test_the_rule_itself() -> None:
    for why, text in HOSTILE.items():
        assert idtext.flaw(text, "key").startswith("The key has"), why
    assert [text for text in FINE if idtext.flaw(text, "key")] == []
    assert "character 2 (U+202E)" in idtext.flaw("a\u202eb", "key")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_dag_and_task_ids_cannot_have_them(text: str) -> None:
    for what in ("dag_id", "task_id"):
        with pytest.raises(Exception, match=what):
            check_id(text, what)
    check_id("café", "dag_id")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_by_rest_nothing_is_made_and_the_answer_says_why(text: str) -> None:
    make_dag("d")
    asked: list[tuple[type[Api], str, dict[str, Any]]] = [
        (Api, "/pools", {"name": text, "slots": 1}),
        (Api, "/variables", {"key": text, "value": "x"}),
        (Api, "/connections", {"connection_id": text, "conn_type": "http"}),
        (Api, "/dags/d/dagRuns", {"logical_date": None, "dag_run_id": text}),
        (Own, "/roles", {"name": text}),
        (Own, "/users", {"username": text}),
        (Own, "/teams", {"name": f"x{text}x"}),  # blanks around a name are taken off
    ]
    for face, path, body in asked:
        status, answer = face("Admin")("POST", path, body)
        assert status in (400, 422) and answer["detail"], (path, answer)
    assert Api("Op")("PATCH", "/pools", {"actions": [{"action": "create", "entities": [{"name": text, "slots": 1}]}]})[0] == 200
    assert Pool.objects.count() == 1 and not Variable.objects.exists() and not Connection.objects.exists()
    assert not Run.objects.exists() and not Team.objects.exists() and not Group.objects.filter(name=text).exists()
    assert not User.objects.filter(username=text).exists()


def test_a_pool_is_not_renamed_to_such_a_name() -> None:
    pools.create("p", {"slots": 1}, actor=ME)
    with pytest.raises(ActionRefused, match="U\\+202E"):
        pools.update("p", {"name": "a\u202eb"}, actor=ME)
    assert Pool.objects.filter(name="p").exists()


def test_names_that_are_there_already_can_be_changed_and_deleted() -> None:
    """Made by an earlier version."""
    name = HOSTILE["no width"]
    Variable.objects.create(key=name, value="x")
    Pool.objects.create(name=name, slots=1)
    actions.update_variable(name, {"value": "y"}, actor=ME)
    pools.update(name, {"slots": 2}, actor=ME)
    actions.delete_variable(name, actor=ME)
    pools.delete(name, actor=ME)
    assert not Variable.objects.exists()


def test_in_the_administration_the_form_says_it() -> None:
    client = Client()
    client.force_login(person("Admin"))
    for model, values in ((Pool, {"name": "a\u202eb", "slots": 1}), (Variable, {"key": "a\u202eb"}), (Group, {"name": "a\u202eb"}),
                          (Team, {"name": "a\u202eb", "members-TOTAL_FORMS": 0, "members-INITIAL_FORMS": 0})):  # fmt: skip
        before = model.objects.count()
        answer = client.post(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add"), values)
        assert (answer.status_code, model.objects.count()) == (200, before) and "cannot be seen" in answer.content.decode(), model


def test_an_import_leaves_them_out_and_says_so() -> None:
    found = Found(variables={"a\u202eb": {"value": "x", "description": None}})
    ((line, write),) = compare.plan(found, ME)
    assert write is None and "cannot be seen" in str(line)


def test_domain_calls_refuse_them_for_every_face() -> None:
    for call in (
        lambda: actions.create_variable("a\nb", {"value": ""}, actor=ME),
        lambda: actions.create_connection("cafe\u0301", {"conn_type": "http"}, actor=ME),
        lambda: people.create_role("a\u200bb", actor=ME),
        lambda: team_calls.create("a\u200bb", actor=ME),
    ):
        with pytest.raises(Refused, match=r"has (a character|letters)"):
            call()
    assert not AuditEvent.objects.exists()


def test_what_a_task_does_to_variables_is_checked_and_in_the_trail_without_the_values() -> None:
    support.run(support.dag(support.chain("a")), day=2)
    token = next(iter(Worker().take().values()))["token"]
    with pytest.raises(TaskRefused, match="U\\+202E"):
        data.put_variable(token=token, body={"value": "x"}, query={}, key="a\u202eb")
    key = f"k-{uuid.uuid4().hex[:6]}"
    for value in ("canary-1", "canary-2", "canary-2"):
        data.put_variable(token=token, body={"value": value}, query={}, key=key)
    assert data.delete_variable(token=token, body=None, query={}, key=key) == {"deleted": 1}
    assert data.delete_variable(token=token, body=None, query={}, key=key) == {"deleted": 0}
    trail = list(AuditEvent.objects.filter(object_id=key).order_by("id"))
    assert [e.action for e in trail] == ["post_variable", "patch_variable", "patch_variable", "delete_variable"]
    assert {(e.means, e.dag_id, e.task_id) for e in trail} == {("worker", "orders", "a")}
    assert [bool(e.extra.get("after")) for e in trail] == [True, True, False, False]
    assert "canary" not in str([e.extra for e in trail])
