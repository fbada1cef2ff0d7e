"""The audit trail: PostgreSQL keeps it append-only, edits carry before and after, secrets are never in it, exports are safe (S21)."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.db.utils import ProgrammingError
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from apps.access import actions, audit
from apps.access.models import AuditEvent, Connection, User, Variable
from apps.access.tests.resthelp import Api, person
from apps.runs.models import Pool

pytestmark = pytest.mark.django_db
ACTOR = audit.Actor("ada", "rest")


def client_of(role: str | None) -> Client:
    client = Client()
    client.force_login(person(role))
    return client


def last(action: str) -> AuditEvent:
    return AuditEvent.objects.filter(action=action).latest("pk")


# Append-only --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE access_auditevent SET actor = 'somebody else'",
        "UPDATE access_auditevent SET extra = '{}' WHERE false OR id > 0",
        "DELETE FROM access_auditevent",
        "INSERT INTO access_auditevent (id, at, action, actor, means, extra)"
        " SELECT id, at, action, 'x', means, extra FROM access_auditevent ON CONFLICT (id) DO UPDATE SET actor = 'x'",
    ],
)
def test_s21_postgresql_refuses_to_change_or_delete_an_event(statement):
    AuditEvent.objects.create(action="x", at=now() - timedelta(days=900))
    with pytest.raises(ProgrammingError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert AuditEvent.objects.get().actor == "system"


def test_s21_the_table_is_emptied_only_in_databases_for_tests():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_functiondef('access_audit_guard'::regproc), current_database()")
        source, name = cursor.fetchone()
    assert name.startswith("test_"), "else this test would prove nothing"
    assert r"'test\_%'" in source


def test_s21_retention_is_the_only_way_out_and_spares_what_is_younger():
    for days in (40, 31, 29, 0):
        AuditEvent.objects.create(action=str(days), at=now() - timedelta(days=days))
    assert audit.prune(0) == 0
    assert audit.prune(30, bite=1) == 2
    assert set(AuditEvent.objects.values_list("action", flat=True)) == {"29", "0"}
    with pytest.raises(ProgrammingError, match="append-only"), transaction.atomic():
        AuditEvent.objects.all().delete()
    with pytest.raises(ProgrammingError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL trackside.audit_retention = 'on'")
        cursor.execute("DELETE FROM access_auditevent WHERE action = '0'")


def test_s21_a_change_that_fails_leaves_no_event_and_an_event_that_fails_no_change(monkeypatch):
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(audit, "record", broken)
    with pytest.raises(RuntimeError), transaction.atomic():
        actions.create_variable("k", {"value": "v"}, actor=ACTOR)
    assert not Variable.objects.exists()


# Before and after ---------------------------------------------------------------------------------------------------
def test_s21_an_edit_of_a_pool_says_before_and_after_from_both_faces():
    Pool.objects.create(name="gpu", slots=2)
    body = {"pool": "gpu", "slots": 3, "include_deferred": False}
    assert Api("Op")("PATCH", "/pools/gpu", body, {"update_mask": "slots"})[0] == 200
    told = last("patch_pool")
    assert (told.extra["before"]["slots"], told.extra["after"]["slots"], told.address) == (2, 3, "127.0.0.1")
    url = reverse("admin:runs_pool_change", args=(Pool.objects.get(name="gpu").pk,))
    client_of("Op").post(url, {"slots": "5"})
    told = last("patch_pool")
    assert (told.means, told.extra["before"], told.extra["after"]) == ("admin", {"slots": 3}, {"slots": 5})


def test_s21_an_edit_of_a_connection_says_before_and_after_but_no_secret():
    secrets = {"password": "old-canary", "extra": '{"token": "extra-canary", "region": "eu"}'}
    actions.create_connection("db", {"conn_type": "postgres", "host": "a", **secrets}, actor=ACTOR)
    actions.update_connection("db", {"host": "b", "password": "new-canary"}, actor=ACTOR)
    told = last("patch_connection").extra
    assert told["before"] == {"host": "a", "secrets": "***"} and told["after"] == {"host": "b", "secrets": "***"}
    actions.update_connection("db", {"host": "c", "password": "***"}, actor=ACTOR)
    assert last("patch_connection").extra == {"before": {"host": "b"}, "after": {"host": "c"}}
    actions.update_connection("db", {"extra": '{"token": "***", "region": "us"}'}, actor=ACTOR)
    told = last("patch_connection").extra
    assert told["before"]["extra"] == {"token": "***", "region": "eu"} and told["after"]["extra"]["region"] == "us"
    assert "canary" not in json.dumps(list(AuditEvent.objects.values()), default=str)


def test_s21_an_edit_of_a_variable_says_that_its_value_changed_and_not_what_it_was():
    actions.create_variable("plain", {"value": "v1-canary", "description": "one"}, actor=ACTOR)
    actions.update_variable("plain", {"value": "v2-canary", "description": "two"}, actor=ACTOR)
    assert last("patch_variable").extra == {
        "before": {"value": "***", "description": "one"},
        "after": {"value": "***", "description": "two"},
    }
    actions.update_variable("plain", {"value": "v2-canary", "description": "three"}, actor=ACTOR)
    assert "value" not in last("patch_variable").extra["after"]
    assert "canary" not in json.dumps(list(AuditEvent.objects.values()), default=str)


def test_s21_an_edit_of_a_user_says_roles_and_state_before_and_after():
    client, user = client_of("Admin"), person("Viewer")
    op = Group.objects.get(name="Op")
    fields = {"username": user.username, "signs_in_with": "password", "email": "a@example.org", "groups": op.pk, "is_active": "on"}
    assert client.post(reverse("admin:access_user_change", args=(user.pk,)), fields).status_code == 302
    told = last("patch_user").extra
    assert told["before"] == {"email": "", "groups": ["Viewer"]}
    assert told["after"] == {"email": "a@example.org", "groups": ["Op"]}
    client.post(reverse("admin:access_user_delete", args=(user.pk,)), {"post": "yes"})
    assert last("delete_user").extra["before"]["groups"] == ["Op"]
    assert not User.objects.filter(pk=user.pk).exists()


def test_s21_a_group_and_a_connection_in_the_admin_say_before_and_after():
    client = client_of("superuser")
    client.post(reverse("admin:auth_group_add"), {"name": "payments"})
    group = Group.objects.get(name="payments")
    client.post(reverse("admin:auth_group_change", args=(group.pk,)), {"name": "billing"})
    assert last("patch_group").extra == {"fields": ["Name"], "before": {"name": "payments"}, "after": {"name": "billing"}}
    made = Connection.objects.create(conn_id="c", conn_type="http", host="a", password="old-canary")
    url = reverse("admin:access_connection_change", args=(made.pk,))
    client.post(url, {"conn_type": "http", "host": "b", "new_password": "new-canary"})
    told = last("patch_connection").extra
    assert told["before"] == {"host": "a"} and told["after"] == {"host": "b"} and "Password" in told["fields"]
    assert "canary" not in json.dumps(list(AuditEvent.objects.values()), default=str)


# Reading ------------------------------------------------------------------------------------------------------------
def exported(client: Client, action: str) -> str:
    picked = list(AuditEvent.objects.values_list("pk", flat=True))
    answer = client.post(reverse("admin:access_auditevent_changelist"), {"action": action, "_selected_action": picked})
    assert answer.status_code == 200 and "no-store" in answer["Cache-Control"] and "attachment" in answer["Content-Disposition"]
    return b"".join(answer.streaming_content).decode()


def test_s21_the_trail_is_filtered_and_exported_without_formulas_and_secrets():
    audit.record("first", audit.Actor("=HYPERLINK(1)", "ui"), object_type="pool", object_id='a"b,c\nd', extra={"password": "x-canary"})
    audit.record("second", audit.Actor("+1", "rest"), dag_id="-2")
    client = client_of("Viewer")
    rows = list(csv.DictReader(io.StringIO(exported(client, "export_csv"))))
    assert [row["action"] for row in rows] == ["first", "second"]
    assert (rows[0]["actor"], rows[0]["object_id"], rows[1]["actor"], rows[1]["dag_id"]) == ("'=HYPERLINK(1)", 'a"b,c\nd', "'+1", "'-2")
    lines = [json.loads(line) for line in exported(client, "export_json").splitlines()]
    assert [line["action"] for line in lines] == ["first", "second"] and lines[0]["details"] == {"password": "***"}
    assert "canary" not in str(rows) + str(lines)
    page = client.get(reverse("admin:access_auditevent_changelist"), {"means__exact": "rest", "q": "second"}).content.decode()
    assert "second" in page and "first" not in page


def test_s21_nobody_changes_or_deletes_an_event_in_the_admin_or_by_rest():
    made = AuditEvent.objects.create(action="x")
    client, api = client_of("superuser"), Api("superuser")
    assert client.post(reverse("admin:access_auditevent_change", args=(made.pk,)), {"actor": "y"}).status_code == 403
    assert client.post(reverse("admin:access_auditevent_delete", args=(made.pk,)), {"post": "yes"}).status_code == 403
    client.post(reverse("admin:access_auditevent_changelist"), {"action": "delete_selected", "_selected_action": made.pk, "post": "yes"})
    for method in ("DELETE", "PATCH", "PUT", "POST"):
        assert api(method, f"/eventLogs/{made.pk}", {})[0] == 405
    assert AuditEvent.objects.filter(pk=made.pk, actor="system").exists()
