"""Connections by REST: secrets go in and never come out, edits keep what was masked, lists can be searched and sorted."""

from __future__ import annotations

import json

import pytest

from apps.access.models import AuditEvent, Connection
from apps.access.tests.resthelp import Api

pytestmark = pytest.mark.django_db
BODY = {
    "connection_id": "db",
    "conn_type": "postgres",
    "host": "h",
    "login": "me",
    "password": "hush",
    "port": 5432,
    "schema": "s",
    "extra": '{"a": 1, "api_key": "hush"}',
}


def test_a_connection_is_created_and_read_without_its_secrets():
    api = Api("Op")
    status, made = api("POST", "/connections", BODY)
    assert status == 201
    assert made == {
        "connection_id": "db",
        "conn_type": "postgres",
        "description": None,
        "host": "h",
        "login": "me",
        "schema": "s",
        "port": 5432,
        "password": "***",
        "extra": made["extra"],
        "team_name": None,
    }
    assert json.loads(made["extra"]) == {"a": 1, "api_key": "***"}
    assert api.get("/connections/db") == (200, made)
    assert Connection.objects.get().password == "hush"


def test_an_edit_of_what_was_shown_keeps_the_secrets():
    api = Api("Op")
    _, shown = api("POST", "/connections", BODY)
    status, _ = api("PATCH", "/connections/db", {**shown, "host": "other"})
    assert status == 200
    stored = Connection.objects.get()
    assert (stored.host, stored.password, json.loads(stored.extra)) == ("other", "hush", {"a": 1, "api_key": "hush"})


def test_a_mask_limits_what_is_changed_and_ignores_unknown_names():
    api = Api("Op")
    api("POST", "/connections", BODY)
    change = {**BODY, "host": "new", "login": "new"}
    assert api("PATCH", "/connections/db", change, {"update_mask": ["host", "nope"]})[0] == 200
    stored = Connection.objects.get()
    assert (stored.host, stored.login) == ("new", "me")


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"conn_type": None}, ["body", "conn_type"]),
        ({"connection_id": "bad id!"}, ["body", "connection_id"]),
        ({"extra": "not json"}, ["body", "extra"]),
        ({"extra": "[1]"}, ["body", "extra"]),
        ({"port": "x"}, ["body", "port"]),
        ({"port": 2**40}, ["body", "port"]),
        ({"nonsense": 1}, ["body", "nonsense"]),
    ],
)
def test_a_wrong_field_is_named(change, loc):
    status, answer = Api("Op")("POST", "/connections", {**BODY, **change})
    assert status == 422
    assert [(e["loc"], set(e)) for e in answer["detail"]] == [(loc, {"type", "loc", "msg"})]
    assert "hush" not in json.dumps(answer)


def test_a_second_one_of_the_same_id_is_a_conflict_with_an_object():
    api = Api("Op")
    api("POST", "/connections", BODY)
    status, answer = api("POST", "/connections", BODY)
    assert status == 409
    assert set(answer["detail"]) == {"reason", "statement", "orig_error", "message"}


def test_the_audit_trail_names_the_change_and_holds_no_secret():
    api = Api("Op")
    api("POST", "/connections", BODY)
    event = AuditEvent.objects.get(action="post_connection")
    assert (event.actor, event.means, event.object_id) == (api.user.username, "rest", "db")
    assert event.extra["request"]["method"] == "POST"
    assert "hush" not in json.dumps(event.extra)


def test_the_list_is_searched_sorted_and_paged():
    api = Api("Op")
    for name in ("cl_a", "cl_b", "cl_c", "other"):
        api("POST", "/connections", {"connection_id": name, "conn_type": "http"})
    status, page = api.get("/connections", connection_id_pattern="CL_", order_by="-connection_id", limit=2)
    assert (status, [c["connection_id"] for c in page["connections"]], page["total_entries"]) == (200, ["cl_c", "cl_b"], 3)
    assert api.get("/connections", connection_id_prefix_pattern="CL_")[1]["total_entries"] == 0
    assert api.get("/connections", order_by="nope")[0] == 400


def test_bulk_actions_look_at_what_was_there_before_the_call():
    status, answer = Api("Op")(
        "PATCH",
        "/connections",
        {
            "actions": [
                {"action": "create", "entities": [{"connection_id": "b1", "conn_type": "x"}]},
                {"action": "update", "entities": [{"connection_id": "b1", "conn_type": "y"}]},
            ]
        },
    )
    assert status == 200
    assert answer["create"] == {"success": ["b1"], "errors": []}
    assert answer["update"]["errors"][0]["status_code"] == 404
    assert answer["delete"] is None


@pytest.mark.parametrize("role", [None, "Viewer", "User"])
def test_connections_are_for_op_and_above(role):
    api = Api(role)
    assert api.get("/connections")[0] == 403
    assert api("POST", "/connections", BODY)[0] == 403
    assert not Connection.objects.exists()
