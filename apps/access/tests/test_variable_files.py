"""Variables out of the administration as a file, and into it again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from apps.access.models import AuditEvent, Team, TeamMember, User, Variable
from apps.access.tests.resthelp import person

pytestmark = pytest.mark.django_db
PAGE, LIST = reverse("admin:access_variable_import"), reverse("admin:access_variable_changelist")


def signed_in(role: str | None, **roles: str) -> Client:
    user = person(role)
    for team, in_team in roles.items():
        TeamMember.objects.create(team=Team.objects.get_or_create(name=team)[0], user=user, role=in_team)
    client = Client()
    client.force_login(User.objects.get(pk=user.pk))
    return client


def bring(client: Client, content: Any, existing: str = "fail") -> str:
    """What the person reads after the import."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return client.post(PAGE, {"file": SimpleUploadedFile("v.json", data), "existing": existing}, follow=True).content.decode()


def stored() -> dict[str, str]:
    return dict(Variable.objects.values_list("key", "value")) | {v.key: v.value for v in Variable.objects.all()}


def test_what_was_exported_comes_in_again_as_it_was():
    secrets = {"password": "canary-secret", "nested": '{"token": "canary-t", "n": 1}'}
    for key, value in {"plain": "text", "object": '{"a": [1, 2]}', **secrets}.items():
        Variable.objects.create(key=key, value=value, description=f"about {key}", team_name="red" if key == "plain" else None)
    client, before = signed_in("Op"), stored()
    answer = client.post(LIST, {"action": "export_selected", "_selected_action": list(Variable.objects.values_list("pk", flat=True))})
    assert answer["Content-Disposition"].startswith("attachment") and "no-store" in answer["Cache-Control"]
    assert b"canary" not in answer.content
    Variable.objects.filter(key__in=("plain", "object")).delete()
    said = bring(client, answer.content, "overwrite")
    assert "2 made" in said and "1 changed" in said and "Kept" in said and "password" in said
    assert stored() == before
    assert Variable.objects.get(key="plain").team_name == "red" and Variable.objects.get(key="object").description == "about object"
    actions = AuditEvent.objects.filter(object_id="plain").values_list("action", "means")
    assert list(actions) == [("post_variable", "admin")]


def test_airflows_form_and_values_of_every_kind_come_in():
    said = bring(signed_in("Op"), {"text": "x", "number": 3, "object": {"a": 1}, "row": {"value": "v", "description": "d"}, "none": None})
    assert "5 made" in said
    assert stored() == {"text": "x", "number": "3", "object": json.dumps({"a": 1}, indent=2), "row": "v", "none": "null"}


@pytest.mark.parametrize(
    "existing, text, left", [("fail", "exist already: old", "v0"), ("skip", "1 left as they were", "v0"), ("overwrite", "1 changed", "v1")]
)
def test_keys_that_exist_are_treated_as_chosen(existing, text, left):
    Variable.objects.create(key="old", value="v0")
    assert text in bring(signed_in("Op"), {"new": "n", "old": "v1"}, existing)
    assert Variable.objects.get(key="old").value == left
    assert Variable.objects.filter(key="new").exists() == (existing != "fail"), "all of a file, or nothing"


@pytest.mark.parametrize(
    "content, why",
    [
        (b"{", "no JSON"), (b"[1]", "must be an object"), (b"\xff\xfe{", "UTF-8"),
        ({"a": {"value": "x", "description": 3}}, "a: description must be text"),
        ({"ok": "1", "password": "***"}, "password: the file has no value"), ({"ok": "1", "": "x"}, "key of a variable has"),
        ({"ok": "1", "x" * 300: "x"}, "key of a variable has"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_stored_says_why_and_nothing_is(content, why):
    said = bring(signed_in("Op"), content)
    assert why in said and "Nothing was stored" in said
    assert not Variable.objects.exists()


def test_only_who_may_change_variables_may_import_and_a_team_only_its_own():
    assert signed_in("User").get(PAGE).status_code == 403 and signed_in("User").post(PAGE).status_code == 403
    client = signed_in(None, red="Op")
    Variable.objects.create(key="blues", value="canary", team_name="blue")
    for wrong in ("1", {"value": "1", "team_name": "blue"}):
        assert "team_name must say so" in bring(client, {"a": wrong})
    assert "team_name must say so" in bring(client, {"blues": {"value": "1", "team_name": "red"}}, "overwrite")
    assert "1 made" in bring(client, {"a": {"value": "1", "team_name": "red"}})
    assert Variable.objects.get(key="blues").value == "canary"
    answer = client.post(LIST, {"action": "export_selected", "_selected_action": list(Variable.objects.values_list("pk", flat=True))})
    assert set(json.loads(answer.content)) == {"a"}
