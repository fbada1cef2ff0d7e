"""Who sees and changes what in the admin, what the trail says, and what lists cost."""

from __future__ import annotations

import uuid
from ipaddress import ip_network

import pytest
from django.contrib.auth.models import Group
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from apps.access.adminsite import site
from apps.access.models import ApiToken, AuditEvent, Connection, Team, User, Variable
from apps.dags.models import Dag, DagFile, DagVersion, ImportProblem
from apps.runs.models import Pool, Process, Run, TaskInstance, Try

pytestmark = pytest.mark.django_db


def signed_in(role: str | None, **fields) -> Client:
    user = User.objects.create_user(f"the-{role}", **fields)
    if role:
        user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def url_of(model, page: str, *args) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


SEES = {
    "Viewer": {Dag, DagVersion, DagFile, ImportProblem, Run, TaskInstance, Try, Pool, Process, AuditEvent},
    "Op": {Connection, Variable},
    "Admin": {User, Group, ApiToken, Team},
}
CHANGES = {"Op": {Connection, Variable, Pool}, "Admin": {User, Group, ApiToken, Team}}


def upto(table: dict[str, set], role: str) -> set:
    roles = ["Viewer", "User", "Op", "Admin"]
    return set().union(*(table.get(r, set()) for r in roles[: roles.index(role) + 1]))


def test_every_registered_model_is_in_the_table_of_rights():
    assert set(site._registry) == upto(SEES, "Admin")


@pytest.mark.parametrize("role", ["Viewer", "User", "Op", "Admin"])
def test_a_role_sees_and_adds_what_the_policy_says(role):
    client = signed_in(role)
    for model in site._registry:
        assert client.get(url_of(model, "changelist")).status_code == (200 if model in upto(SEES, role) else 403), model
        assert client.get(url_of(model, "add")).status_code == (200 if model in upto(CHANGES, role) else 403), model


def test_without_a_role_there_is_no_admin():
    client = signed_in(None)
    assert client.get(reverse("admin:index"), follow=True).status_code == 403
    assert Client().get(reverse("admin:index")).status_code == 302


def test_a_viewer_cannot_change_by_posting():
    Connection.objects.create(conn_id="c", conn_type="http")
    pool = Pool.objects.get(name="default_pool")
    client = signed_in("Viewer")
    assert client.post(url_of(Pool, "change", pool.pk), {"slots": 3}).status_code == 403
    assert client.post(url_of(Connection, "add"), {"conn_id": "d", "conn_type": "http"}).status_code == 403
    assert client.post(url_of(Connection, "changelist"), {"action": "delete_selected", "_selected_action": "1"}).status_code == 403
    assert Connection.objects.count() == 1 and not AuditEvent.objects.exists()


def test_an_admin_who_is_no_superuser_can_neither_become_nor_unlock_one():
    client = signed_in("Admin")
    root = User.objects.create_superuser("root", password="correct horse battery")
    me = User.objects.get(username="the-Admin")
    client.post(
        url_of(User, "change", me.pk), {"username": "the-Admin", "is_active": "on", "is_superuser": "on", "groups": me.groups.get().pk}
    )
    me.refresh_from_db()
    assert not me.is_superuser
    answer = client.post(reverse("admin:auth_user_password_change", args=(root.pk,)), {"password1": "x", "password2": "x"})
    assert answer.status_code == 403
    assert client.post(url_of(User, "delete", root.pk), {"post": "yes"}).status_code == 403
    assert client.post(url_of(User, "delete", me.pk), {"post": "yes"}).status_code == 403


def test_roles_exist_and_keep_their_names():
    client = signed_in("Admin")
    assert set(Group.objects.values_list("name", flat=True)) == {"Viewer", "User", "Op", "Admin"}
    role = Group.objects.get(name="Op")
    assert client.post(url_of(Group, "change", role.pk), {"name": "Other"}).status_code == 403
    assert client.post(url_of(Group, "delete", role.pk), {"post": "yes"}).status_code == 403
    no_rights = {"rights-TOTAL_FORMS": 0, "rights-INITIAL_FORMS": 0}
    assert client.post(url_of(Group, "add"), {"name": "team-payments", **no_rights}).status_code == 302
    assert AuditEvent.objects.get().action == "post_group"


def test_each_change_leaves_one_audit_event_that_names_fields_and_no_values():
    client = signed_in("Op")
    client.post(url_of(Variable, "add"), {"key": "k", "new_value": "v1-canary"})
    variable = Variable.objects.get()
    client.post(url_of(Variable, "change", variable.pk), {"new_value": "v2-canary"})
    client.post(url_of(Variable, "changelist"), {"action": "delete_selected", "_selected_action": variable.pk, "post": "yes"})
    events = list(AuditEvent.objects.order_by("id"))
    assert [(e.action, e.actor, e.means, e.object_type, e.object_id) for e in events] == [
        (f"{verb}_variable", "the-Op", "admin", "variable", "k") for verb in ("post", "patch", "delete")
    ]
    assert events[1].extra == {"fields": ["Value"]}
    assert not Variable.objects.exists()


def test_a_pool_is_changed_audited_and_its_name_kept():
    client = signed_in("Op")
    client.post(url_of(Pool, "add"), {"name": "gpu", "slots": "2"})
    pool = Pool.objects.get(name="gpu")
    assert client.post(url_of(Pool, "change", pool.pk), {"name": "cpu", "slots": "-2"}).status_code == 200
    assert client.post(url_of(Pool, "change", pool.pk), {"name": "cpu", "slots": "5", "include_deferred": "on"}).status_code == 302
    pool.refresh_from_db()
    assert (pool.name, pool.slots, pool.include_deferred) == ("gpu", 5, True)
    assert client.post(url_of(Pool, "delete", pool.pk), {"post": "yes"}).status_code == 302
    default = Pool.objects.get(name="default_pool")
    fields = {"slots": "64", "description": "mine", "include_deferred": ""}
    assert client.post(url_of(Pool, "change", default.pk), fields).status_code == 302
    default.refresh_from_db()
    assert (default.slots, default.description) == (64, "Default pool")
    assert client.post(url_of(Pool, "delete", default.pk), {"post": "yes"}).status_code == 403
    actions = AuditEvent.objects.filter(object_id="gpu").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["post_pool", "patch_pool", "delete_pool"]


def test_dags_are_paused_and_unpaused_through_the_catalogue():
    make_rows(1, "a")
    dag = Dag.objects.get()
    client = signed_in("User")
    client.post(url_of(Dag, "changelist"), {"action": "unpause", "_selected_action": [dag.pk]})
    dag.refresh_from_db()
    assert not dag.is_paused
    assert AuditEvent.objects.get(action="paused").means == "admin"
    viewer = signed_in("Viewer")
    viewer.post(url_of(Dag, "changelist"), {"action": "pause", "_selected_action": [dag.pk]})
    dag.refresh_from_db()
    assert not dag.is_paused


def make_rows(count: int, prefix: str) -> None:
    for i in range(count):
        name = f"{prefix}{i}"
        file = DagFile.objects.create(relative_path=f"{name}.py", path=f"/{name}.py", last_parsed_at=now())
        ImportProblem.objects.create(file=file, message="broken")
        dag = Dag.objects.create(dag_id=name, dag_display_name=name, fileloc=file.path, file=file, timetable={"kind": "null"})
        version = DagVersion.objects.create(dag=dag, number=1, spec={}, spec_hash="x")
        run = Run.objects.create(dag=dag, run_id=name, run_type="manual", dag_version=version, conf={"password": "conf-canary"})
        ti = TaskInstance.objects.create(run=run, dag_id=name, task_id="t", start_date=now(), rendered_fields={"a": "rendered-canary"})
        process = Process.objects.create(kind="worker", name=name)
        Try.objects.create(id=uuid.uuid4(), ti=ti, number=1, worker=process, token_hash="hash-canary", snapshot={"a": "snapshot-canary"})
        Connection.objects.create(conn_id=name, conn_type="http", password="x", extra="{}")
        Variable.objects.create(key=name, value="x")
        user = User.objects.create_user(name)
        user.groups.add(Group.objects.get_or_create(name=f"group-{name}")[0])
        ApiToken.objects.create(user=user, name=name, prefix=name, secret_hash="hash-canary")
        Pool.objects.create(name=name, slots=1)
        AuditEvent.objects.create(action="x", object_id=name)


def test_lists_cost_the_same_number_of_queries_for_any_number_of_rows():
    client = signed_in(None, is_superuser=True)

    def cost() -> dict[str, int]:
        counts = {}
        for model in site._registry:
            with CaptureQueriesContext(database) as queries:
                assert client.get(url_of(model, "changelist"), {"q": "x"} if model is not Pool else {}).status_code == 200
                assert client.get(url_of(model, "changelist")).status_code == 200
            counts[model.__name__] = len(queries)
        return counts

    make_rows(2, "a")
    cost()  # caches of content types and templates
    few = cost()
    make_rows(20, "b")
    assert cost() == few


def test_pages_of_the_ledger_are_to_look_at_and_hold_no_values_of_user_code():
    make_rows(1, "a")
    client = signed_in("Admin")
    text = ""
    for model in (Run, TaskInstance, Try, Dag, DagVersion, DagFile, ImportProblem, Process, AuditEvent, ApiToken):
        row = model._default_manager.latest("pk")
        for page in ("changelist", "change"):
            answer = client.get(url_of(model, page, *([row.pk] if page == "change" else [])))
            assert answer.status_code == 200, (model, page)
            text += answer.content.decode()
        assert client.post(url_of(model, "change", row.pk), {"state": "failed"}).status_code == 403, model
        assert client.post(url_of(model, "delete", row.pk), {"post": "yes"}).status_code == 403, model
    assert "canary" not in text


def test_connections_are_tested_only_where_the_installation_allows_it_and_no_password_is_said(settings):
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        open_one = Connection.objects.create(conn_id="open", conn_type="http", host="http://127.0.0.1/api", port=port)
        client, url = signed_in("Op"), url_of(Connection, "changelist")
        data = {"action": "test_selected", "_selected_action": [open_one.pk]}
        assert "test_selected" not in client.get(url).content.decode()
        client.post(url, data)
        assert not AuditEvent.objects.exists()
        settings.TEST_CONNECTION, settings.TEST_CONNECTION_ALLOW = True, [ip_network("127.0.0.0/8")]
        assert "answered in" in client.post(url, data, follow=True).content.decode()
    closed = Connection.objects.create(conn_id="closed", conn_type="postgres", host="127.0.0.1", port=port, password="probe-canary")
    answer = client.post(url, {**data, "_selected_action": [closed.pk]}, follow=True).content.decode()
    assert "refused" in answer.lower() and "canary" not in answer
    assert [e.extra for e in AuditEvent.objects.order_by("id")] == [{"ok": True}, {"ok": False}]


def test_a_team_with_its_members_is_changed_by_an_admin_and_told_before_and_after():
    ada = User.objects.create_user("ada")
    client = signed_in("Admin")
    lines = {"members-TOTAL_FORMS": 1, "members-INITIAL_FORMS": 0, "members-0-user": ada.pk, "members-0-role": "User"}
    assert client.post(url_of(Team, "add"), {"name": "red", "folders": "red", "tags": "", **lines}).status_code == 302
    team = Team.objects.get()
    assert [(m.user, m.role) for m in team.members.all()] == [(ada, "User")]
    page = client.get(url_of(Team, "change", team.pk)).content.decode()
    assert 'name="members-0-role"' in page and 'name="name"' not in page, "others refer to the name"
    lines |= {"members-INITIAL_FORMS": 1, "members-0-id": team.members.get().pk, "members-0-team": team.pk, "members-0-DELETE": "on"}
    assert client.post(url_of(Team, "change", team.pk), {"folders": "red\nblue", "tags": "", **lines}).status_code == 302
    made, changed = AuditEvent.objects.filter(object_type="team").order_by("id")
    assert (made.action, made.extra["after"]) == ("post_team", {"folders": ["red"], "tags": [], "members": {"ada": "User"}})
    assert changed.extra["before"] == {"folders": ["red"], "members": {"ada": "User"}}
    assert changed.extra["after"] == {"folders": ["red", "blue"], "members": {}}
    for role in ("Viewer", "User", "Op"):
        assert signed_in(role).post(url_of(Team, "change", team.pk), {"folders": "", **lines}).status_code == 403


def test_a_team_to_which_something_belongs_is_not_deleted():
    team = Team.objects.create(name="red")
    Connection.objects.create(conn_id="warehouse", conn_type="http", team_name="red")
    client = signed_in("Admin")
    assert "connection warehouse" in client.post(url_of(Team, "delete", team.pk), {"post": "yes"}).content.decode()
    chosen = {"action": "delete_selected", "_selected_action": [team.pk], "post": "yes"}
    client.post(url_of(Team, "changelist"), chosen)
    assert Team.objects.exists()
    Connection.objects.all().delete()
    assert client.post(url_of(Team, "delete", team.pk), {"post": "yes"}).status_code == 302
    assert not Team.objects.exists()
