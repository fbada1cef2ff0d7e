"""Variables by REST: any JSON goes in, text comes out, secret values are masked by name and inside."""

from __future__ import annotations

import json

import pytest

from apps.access.models import AuditEvent, Variable
from apps.access.tests.resthelp import Api

pytestmark = pytest.mark.django_db


def test_a_variable_lives_from_post_to_delete():
    api = Api("Op")
    body = {"key": "v", "value": "plain", "description": "d"}
    shown = {"key": "v", "value": "plain", "description": "d", "is_encrypted": True, "team_name": None}
    assert api("POST", "/variables", body) == (201, shown)
    assert api("POST", "/variables", body)[0] == 409
    assert api("PATCH", "/variables/v", {"key": "v", "value": "new"}) == (200, {**shown, "value": "new"})
    assert api("PATCH", "/variables/v", {"key": "w", "value": "new"})[0] == 400
    assert api("DELETE", "/variables/v") == (204, None)
    assert api("DELETE", "/variables/v")[0] == 404


def test_values_of_other_types_come_back_as_their_json():
    api = Api("Op")
    for key, value in {"n": 5, "list": [1, None], "flag": True, "null": None}.items():
        _, shown = api("POST", "/variables", {"key": key, "value": value})
        assert json.loads(shown["value"]) == value


def test_a_key_may_contain_slashes():
    api = Api("Op")
    assert api("POST", "/variables", {"key": "a/b", "value": "x"})[0] == 201
    assert api.get("/variables/a%2Fb")[1]["value"] == "x"


def test_secrets_are_masked_by_name_and_inside_and_survive_an_edit():
    api = Api("Op")
    assert api("POST", "/variables", {"key": "my_secret", "value": "hush"})[1]["value"] == "***"
    _, shown = api("POST", "/variables", {"key": "cfg", "value": {"password": "hush", "user": "u"}})
    assert json.loads(shown["value"]) == {"password": "***", "user": "u"}
    api("PATCH", "/variables/my_secret", {"key": "my_secret", "value": "***"})
    api("PATCH", "/variables/cfg", {"key": "cfg", "value": {"password": "***", "user": "w"}})
    assert Variable.objects.get(key="my_secret").value == "hush"
    assert json.loads(Variable.objects.get(key="cfg").value) == {"password": "hush", "user": "w"}
    assert "hush" not in json.dumps(list(AuditEvent.objects.values_list("extra", flat=True)))


def test_a_failing_bulk_action_changes_nothing_of_it():
    api = Api("Op")
    api("POST", "/variables", {"key": "there", "value": "1"})
    entities = [{"key": "there", "value": "2"}, {"key": "new", "value": "2"}]
    status, answer = api("PATCH", "/variables", {"actions": [{"action": "create", "entities": entities}]})
    assert (status, answer["create"]["success"], answer["create"]["errors"][0]["status_code"]) == (200, [], 409)
    assert list(Variable.objects.values_list("key", flat=True)) == ["there"]
    skip = {"action": "create", "action_on_existence": "skip", "entities": entities}
    assert api("PATCH", "/variables", {"actions": [skip]})[1]["create"]["success"] == ["new"]


def test_a_viewer_may_not_even_read_them():
    assert Api("Viewer").get("/variables")[0] == 403
