"""The audit trail: PostgreSQL keeps it append-only, edits carry before and after, secrets are never in it, exports are safe (S21)."""

from __future__ import annotations

import csv
import importlib
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

from apps.access import actions, audit, people
from apps.access.models import AuditEvent, Connection, User, Variable
from apps.access.tests.resthelp import Api, person
from apps.dags.models import Asset, Dag
from apps.runs.actions import clearing, creation, deletion, marking, notes, partitions, xcoms
from apps.runs.models import Pool, Run
from apps.runs.tests.restworld import make_dag, make_run, make_ti, task
from apps.runs.tests.statements import statements

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
        " SELECT id, at, action, 'x', means, extra FROM access_auditevent ON CONFLICT (id, at) DO UPDATE SET actor = 'x'",
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


def by_partition() -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text, count(*) FROM access_auditevent GROUP BY 1")
        return dict(cursor.fetchall())


def test_s21_no_partition_lets_itself_be_changed_or_emptied_either():
    AuditEvent.objects.create(action="early", at=now() - timedelta(days=900))
    AuditEvent.objects.create(action="now")
    AuditEvent.objects.create(action="far", at=now() + timedelta(days=900))
    audit.make_room()
    found = by_partition()
    assert set(found) == {"access_auditevent_early", f"access_auditevent_{now():%Y_%m}", "access_auditevent_default"}
    for name in found:
        for statement in (f"UPDATE {name} SET actor = 'x'", f"DELETE FROM {name}"):
            with pytest.raises(ProgrammingError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM pg_trigger WHERE tgrelid = '{name}'::regclass AND tgname = 'access_audit_not_emptied'")
            assert cursor.fetchone() == (1,)


def test_s21_retention_drops_a_month_that_is_old_as_a_whole_and_deletes_the_rest_by_rows():
    with connection.cursor() as cursor:  # as if it had been installed a year ago
        cursor.execute("DROP TABLE access_auditevent_early")
        for age in range(2, 8):
            cursor.execute("SELECT access_audit_month(now() - make_interval(days => %s))", [age * 31])
    for age in range(1, 8):
        AuditEvent.objects.create(action=str(age), at=now() - timedelta(days=age * 31))
    before = by_partition()
    with statements() as made:
        assert audit.prune(100) == 4
    assert set(AuditEvent.objects.values_list("action", flat=True)) == {"1", "2", "3"}
    dropped = [s for s in made if s.startswith("DROP TABLE")]
    assert 3 <= len(dropped) <= 4 and len(before) - len(by_partition()) == 4
    assert not audit.prune(100)


def test_s21_a_month_is_made_once_and_not_where_its_events_are_elsewhere_already():
    with connection.cursor() as cursor:
        cursor.execute("SELECT access_audit_month('2050-01-15'), access_audit_month('2050-01-31')")
        assert cursor.fetchone() == (True, False)
        AuditEvent.objects.create(action="x", at="2051-05-05T00:00:00Z")
        cursor.execute("SELECT access_audit_month('2051-05-15'), access_audit_month('1999-05-15')")
        assert cursor.fetchone() == (False, False)


def test_s21_months_can_be_taken_back_and_made_again_without_losing_an_event():
    migration = importlib.import_module("apps.access.migrations.0010_audit_by_month")
    for days in (-400, 0, 1, 400):
        AuditEvent.objects.create(action=str(days), at=now() - timedelta(days=days), extra={"n": days})
    kept = list(AuditEvent.objects.order_by("pk").values())
    for statement, kind in ((migration.ONE_TABLE, "r"), (migration.MONTHS, "p")):
        with connection.cursor() as cursor:
            cursor.execute(statement)
            cursor.execute("SELECT relkind FROM pg_class WHERE oid = 'access_auditevent'::regclass")
            assert cursor.fetchone() == (kind,)
        assert list(AuditEvent.objects.order_by("pk").values()) == kept
        made = audit.record("next", ACTOR)
        assert made.pk > kept[-1]["id"]
        kept.append(AuditEvent.objects.values().get(pk=made.pk))
        with pytest.raises(ProgrammingError, match="append-only"), transaction.atomic():
            AuditEvent.objects.all().delete()


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
    no_rights = {"rights-TOTAL_FORMS": 0, "rights-INITIAL_FORMS": 0}
    client.post(reverse("admin:auth_group_add"), {"name": "payments", **no_rights})
    group = Group.objects.get(name="payments")
    client.post(reverse("admin:auth_group_change", args=(group.pk,)), {"name": "billing", **no_rights})
    assert last("patch_group").extra == {"fields": ["Name"], "before": {"name": "payments"}, "after": {"name": "billing"}}
    made = Connection.objects.create(conn_id="c", conn_type="http", host="a", password="old-canary")
    url = reverse("admin:access_connection_change", args=(made.pk,))
    client.post(url, {"conn_type": "http", "host": "b", "new_password": "new-canary"})
    told = last("patch_connection").extra
    assert told["before"] == {"host": "a"} and told["after"] == {"host": "b"} and "Password" in told["fields"]
    assert "canary" not in json.dumps(list(AuditEvent.objects.values()), default=str)


# What is done to runs and DAGs ----------------------------------------------------------------------------------------
def wide_run(tasks: int, state: str = "failed") -> Run:
    dag = make_dag("wide", tasks=(task("t"),))
    run = make_run(dag, "r", tis=False)
    for index in range(tasks):
        make_ti(run, "t", map_index=index, state=state if index % 2 else "success")
    return run


def test_s21_clearing_says_which_tasks_were_in_which_state():
    run = wide_run(6)
    clearing.clear_run(run, actor=ACTOR)
    told = last("clear_task_instances").extra
    assert told["count"] == 6 and told["before"] == {"success": ["t [0]", "t [2]", "t [4]"], "failed": ["t [1]", "t [3]", "t [5]"]}


def test_s21_a_large_clear_names_the_first_ones_and_counts_all():
    run = wide_run(230)
    clearing.clear_run(run, actor=ACTOR)
    told = last("clear_task_instances").extra
    assert told["count"] == 230 and sum(map(len, (told["before"]["success"], told["before"]["failed"]))) == 200
    assert told["before"]["and more"] == {"success": 15, "failed": 15}


def test_s21_marking_leaves_an_event_for_every_task_in_the_same_number_of_statements():
    counts = []
    for size in (2, 600):
        Run.objects.all().delete()
        Dag.objects.all().delete()
        run = wide_run(size)
        with statements() as made:
            marking.mark(marking.MarkRequest(run, ["t"], "success"), actor=ACTOR)
        counts.append(len(made))
        events = AuditEvent.objects.filter(action="patch_task_instance")
        assert set(events.values_list("extra__before", flat=True)) == {"failed"}
        assert events.count() == sum(1 for n in range(size) if n % 2) + (0 if size == 2 else 1)
    assert counts[0] == counts[1]


def test_s21_what_is_done_to_a_run_says_what_it_was_and_masks_its_conf():
    dag = make_dag("wide")
    run = make_run(dag, "r", state="failed", conf={"day": "monday", "password": "conf-canary"}, note="old")
    notes.set_run_note(run, "new", actor=ACTOR)
    assert last("patch_dag_run").extra == {"before": {"note": "old"}, "after": {"note": "new"}}
    notes.set_task_note(list(run.task_instances.select_related("run")), "look", actor=ACTOR)
    assert last("patch_task_instance").extra == {"before": {"note": None}, "after": {"note": "look"}}
    marking.mark_run(run, "success", actor=ACTOR)
    told = last("patch_dag_run").extra
    assert (told["before"]["state"], told["after"]) == ("failed", {"state": "success"})
    deletion.delete_run(run, actor=ACTOR)
    before = last("delete_dag_run").extra["before"]
    assert (before["state"], before["conf"], before["note"]) == ("success", {"day": "monday", "password": "***"}, "new")
    assert before["tasks"] == {"failed": 2}
    creation.trigger("wide", actor=ACTOR, conf={"token": "conf-canary", "n": 1}, note="go")
    after = last("trigger_dag_run").extra["after"]
    assert (after["conf"], after["note"], after["run_type"]) == ({"token": "***", "n": 1}, "go", "manual")
    deletion.delete_dag(dag, actor=ACTOR)
    assert last("delete_dag").extra["before"] == {"runs": 1, "task_instances": 2, "is_paused": False, "file": "wide.py"}
    assert "canary" not in json.dumps(list(AuditEvent.objects.values()), default=str)


def test_s21_values_of_user_code_are_told_by_their_length_only_and_news_of_assets_masked():
    run = make_run(make_dag("wide"), "r")
    xcoms.create(run, "first", "k", "value-canary", actor=ACTOR)
    assert last("create_xcom_entry").extra == {"after": {"length": 14}}
    xcoms.update(run, "first", "k", "canary", actor=ACTOR)
    assert last("update_xcom_entry").extra == {"before": {"length": 14}, "after": {"length": 8}}
    xcoms.delete(run, "first", "k", actor=ACTOR)
    assert last("delete_xcom_entry").extra == {"before": {"length": 8}}
    asset, api = Asset.objects.create(name="a", uri="s3://a"), Api("Op")
    path = f"/assets/{asset.pk}/state-store"
    for value in ("canary", "canary2"):
        assert api("PUT", f"{path}/mark", {"value": value})[0] == 204
    told = last("set_asset_state").extra
    assert (told["key"], told["before"], told["after"]) == ("mark", {"length": 8}, {"length": 9})
    assert api("DELETE", path)[0] == 204 and last("clear_asset_state").extra["before"] == {"values": 1}
    assert api("POST", "/assets/events", {"asset_id": asset.pk, "extra": {"rows": 3, "token": "canary"}})[0] == 200
    assert last("create_asset_event").extra["after"]["extra"] == {"rows": 3, "token": "***", "from_rest_api": True}
    Run.objects.filter(pk=run.pk).update(partition_key="2026-11")
    partitions.reset([Run.objects.get(pk=run.pk)], actor=ACTOR)
    assert last("clear_partition").extra["before"] == {"partition_key": "2026-11", "partition_date": None}
    details = json.dumps([{k: v for k, v in e.items() if k != "request"} for e in AuditEvent.objects.values_list("extra", flat=True)])
    assert "canary" not in details


def test_s21_a_switch_says_how_it_stood():
    make_dag("wide")
    assert Api("Op")("PATCH", "/dags/wide", {"is_paused": True})[0] == 200
    told = last("paused").extra
    assert (told["before"], told["after"]) == ({"is_paused": False}, {"is_paused": True})


# Who, with which token, and who could not --------------------------------------------------------------------------------
def test_s21_the_trail_names_the_token_of_a_script_and_none_for_a_sign_in():
    user = person("Op")
    text = people.create_token(user.username, "nightly job", actor=ACTOR)
    assert Api(token=text)("POST", "/pools", {"name": "by_script", "slots": 1})[0] == 201
    assert last("post_pool").extra["script"].startswith("nightly job (") and text.split("_", 2)[2] not in str(last("post_pool").extra)
    admin = client_of("superuser")
    assert "nightly job (" in exported(admin, "export_csv") and "nightly job (" in exported(admin, "export_json")
    entry = admin.get(reverse("admin:access_auditevent_change", args=(last("post_pool").pk,))).content.decode()
    assert "nightly job (" in entry and "nightly job (" in admin.get("/audit").content.decode()
    assert Api(user=user)("POST", "/pools", {"name": "by_hand", "slots": 1})[0] == 201
    assert "script" not in last("post_pool").extra
    assert (last("post_pool").actor, last("post_pool").means) == (user.username, "rest")


def test_s21_signing_in_over_rest_is_in_the_trail_and_so_are_wrong_passwords_but_not_each_of_many():
    person("Viewer", username="ada", password="correct horse battery")
    client = Client()

    def sign_in(name: str, password: str) -> int:
        body = json.dumps({"username": name, "password": password})
        return client.post("/auth/token", body, content_type="application/json").status_code

    assert sign_in("ada", "correct horse battery") == 201
    assert (last("login").actor, last("login").means, last("login").address) == ("ada", "rest", "127.0.0.1")
    for _ in range(3):
        assert sign_in("ada", "wrong-canary") == 401
    failed = AuditEvent.objects.filter(action="login_failed")
    assert [(e.object_id, e.means, e.actor, e.address) for e in failed] == [("ada", "rest", "anonymous", "127.0.0.1")]
    client.post(reverse("login"), {"username": "bob", "password": "wrong-canary"})
    assert failed.get(object_id="bob").means == "ui"
    for number in range(audit.FAILURES_A_MINUTE + 5):
        audit.record_failed_sign_in(f"name{number}", "rest")
        audit.record_lockout(f"name{number}", "ui")
    assert failed.all().count() == audit.FAILURES_A_MINUTE
    locked = AuditEvent.objects.filter(action="locked_out")
    assert (locked.count(), locked[0].actor, locked[0].means) == (audit.FAILURES_A_MINUTE, "anonymous", "ui")
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
