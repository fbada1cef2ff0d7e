"""Roles of one's own: rights on kinds of things and on single DAGs, given in the administration, over REST and on the command line."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.access import audit, people, policy, role_rights
from apps.access.errors import NotThere, Refused
from apps.access.models import AuditEvent, Connection, RoleRight, User
from apps.access.tests.resthelp import Api, Own, person
from apps.dags.models import Dag
from apps.runs.tests.restworld import make_dag, make_run

pytestmark = pytest.mark.django_db
ME = audit.Actor("root", "cli")


def with_role(*rights: str, also: str | None = None) -> User:
    """Somebody in a role of their own that has these rights."""
    name = f"role{Group.objects.count()}"
    people.create_role(name, actor=ME)
    role_rights.set_rights(name, rights, actor=ME)
    user = person(also)
    user.groups.add(Group.objects.get(name=name))
    return User.objects.get(pk=user.pk)


# What each right gives ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "level, actions",
    [("see", {"read"}), ("trigger", {"read", "trigger"}), ("change", {"read", "trigger", "edit", "create"}), ("all", set(policy.ACTIONS))],
)
def test_a_level_gives_these_actions_on_the_kind_and_on_nothing_else(level, actions):
    make_dag("orders")
    user = with_role(f"dag:{level}")
    for kind in sorted(policy.KINDS):
        given = {action for action in policy.ACTIONS if policy.allowed(user, action, kind, "orders" if kind in policy.DAG_KINDS else None)}
        assert given == (actions if kind in policy.DAG_KINDS else set()), kind


def test_a_right_on_one_dag_shows_and_changes_that_one_and_no_other():
    for dag_id in ("orders", "canary"):
        make_run(make_dag(dag_id), "r")
    user = with_role("dag=orders:change")
    assert list(Dag.objects.filter(policy.visible_dags(user)).values_list("pk", flat=True)) == ["orders"]
    api = Api(user=user)
    assert [d["dag_id"] for d in api.get("/dags")[1]["dags"]] == ["orders"]
    assert api.get("/dags/~/dagRuns/~/taskInstances")[1]["total_entries"] == 2
    assert api("PATCH", "/dags/orders", {"is_paused": True})[0] == 200 and api("DELETE", "/dags/orders")[0] == 403
    assert api("PATCH", "/dags/canary", {"is_paused": True})[0] == 403 and "canary" not in str(api.get("/dags/~/dagRuns")[1])
    client = Client()
    client.force_login(user)
    assert client.get("/dags/orders").status_code == 200 and client.get("/dags/canary").status_code in (403, 404)
    assert client.get("/admin/").status_code == 200


def test_rights_on_other_things_open_them_over_rest_and_in_the_administration():
    Connection.objects.create(conn_id="db", conn_type="http")
    user = with_role("connection:see", "pool:change", "audit:see", also="Viewer")
    api = Api(user=user)
    assert api.get("/connections")[1]["total_entries"] == 1 and api("DELETE", "/connections/db")[0] == 403
    assert api("POST", "/pools", {"name": "p", "slots": 1})[0] == 201 and api("DELETE", "/pools/p")[0] == 403
    assert api.get("/variables")[0] == 403 and Own(user=user).get("/users")[0] == 403
    client = Client()
    client.force_login(user)
    assert client.get(reverse("admin:access_connection_changelist")).status_code == 200
    assert client.get(reverse("admin:access_connection_add")).status_code == 403
    assert client.get(reverse("admin:access_variable_changelist")).status_code == 403
    assert "/admin/access/connection/" in client.get("/").content.decode()


def test_scopes_of_a_token_hold_and_a_disabled_account_has_nothing():
    user = with_role("dag:all")
    user.token_scopes = frozenset({"read"})
    assert policy.allowed(user, "read", "run", "x") and not policy.allowed(user, "trigger", "run", "x")
    user.is_active = False
    assert not policy.allowed(user, "read", "run", "x") and policy.visible_dags(user) == policy.NONE


def test_rights_cost_one_statement_and_none_for_who_has_only_the_known_roles():
    user = User.objects.get(pk=person("Viewer").pk)
    policy.groups_of(user)
    with CaptureQueriesContext(connection) as none:
        policy.allowed(user, "edit", "connection")
    mine = User.objects.get(pk=with_role("dag:see", "pool:see", also="Viewer").pk)
    policy.groups_of(mine)
    with CaptureQueriesContext(connection) as one:
        for kind in ("connection", "variable", "run"):
            policy.allowed(mine, "edit", kind)
    assert (len(none), len(one)) == (0, 1)


# Giving them ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text, why",
    [
        ("nonsense", "KIND:LEVEL"), ("user:all", "no kind user"), ("token:see", "no kind token"), ("role:see", "no kind role"),
        ("dag:rule", "no level rule"), ("pool:trigger", "Only DAGs are triggered"), ("audit:change", "can only see"),
        ("pool=default_pool:see", "of the kind dag"), ("dag=nope:see", "no DAG nope"), (":", "no kind"), ("dag=:all:", "no level"),
    ],
)  # fmt: skip
def test_what_is_no_right_is_refused_with_the_reason_and_nothing_changes(text, why):
    people.create_role("mine", actor=ME)
    role_rights.set_rights("mine", ["dag:see"], actor=ME)
    with pytest.raises(Refused, match=why):
        role_rights.set_rights("mine", ["pool:see", text], actor=ME)
    assert role_rights.texts_of(Group.objects.get(name="mine")) == ["dag:see"]
    assert Own()("PATCH", "/roles/mine", {"rights": [text]})[0] == 400


def test_the_roles_that_are_always_there_take_none_and_a_name_that_does_not_exist_is_not_there():
    for name in policy.ROLES:
        Group.objects.get_or_create(name=name)
        with pytest.raises(Refused, match="is fixed"):
            role_rights.set_rights(name, ["dag:all"], actor=ME)
    with pytest.raises(NotThere):
        role_rights.set_rights("nobody", [], actor=ME)


def test_the_database_keeps_rights_in_order():
    group = Group.objects.create(name="mine")
    RoleRight.objects.create(group=group, kind="dag", level="see")
    for wrong in ({"kind": "dag", "level": "all"}, {"kind": "pool", "level": "see", "dag_id": "x"}, {"kind": "pool", "level": "rule"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            RoleRight.objects.create(group=group, **wrong)


def test_rest_makes_shows_and_changes_them_and_only_for_administrators(capsys):
    make_dag("orders")
    api = Own("Admin")
    made = api("POST", "/roles", {"name": "desk", "rights": ["pool:see", "dag=orders:trigger"]})
    assert (made[0], made[1]["rights"]) == (201, ["dag=orders:trigger", "pool:see"])
    status, found = api("PATCH", "/roles/desk", {"rights": ["variable:change"]})
    assert (status, found["rights"], found["members"], found["built_in"]) == (200, ["variable:change"], 0, False)
    told = AuditEvent.objects.filter(action="patch_group").latest("pk").extra
    assert (told["before"], told["after"]) == ({"rights": ["dag=orders:trigger", "pool:see"]}, {"rights": ["variable:change"]})
    assert Own("Op")("PATCH", "/roles/desk", {"rights": []})[0] == 403
    call_command("people", "set-rights", "desk", "dag:see", "dag=orders:all")
    assert "desk allows now: dag:see, dag=orders:all" in capsys.readouterr().out
    assert {r["name"]: r["rights"] for r in api.get("/roles")[1]["roles"]}["desk"] == ["dag:see", "dag=orders:all"]


def test_the_administration_gives_and_takes_them(client):
    make_dag("orders")
    client.force_login(person("superuser"))
    group = Group.objects.create(name="desk")
    url = reverse("admin:auth_group_change", args=(group.pk,))

    def rows(*rights: tuple[str, str, str], initial: int = 0) -> dict[str, Any]:
        form = {"name": "desk", "rights-TOTAL_FORMS": len(rights), "rights-INITIAL_FORMS": initial}
        for n, (kind, level, dag_id) in enumerate(rights):
            form |= {f"rights-{n}-kind": kind, f"rights-{n}-level": level, f"rights-{n}-dag_id": dag_id, f"rights-{n}-group": group.pk}
            if n < initial:
                form[f"rights-{n}-id"] = RoleRight.objects.order_by("pk")[n].pk
        return form

    assert client.post(url, rows(("dag", "trigger", "orders"), ("pool", "see", ""))).status_code == 302
    assert role_rights.texts_of(group) == ["dag=orders:trigger", "pool:see"]
    told = AuditEvent.objects.filter(action="patch_group").latest("pk").extra
    assert told["after"]["rights"] == ["dag=orders:trigger", "pool:see"] and told["before"]["rights"] == []
    answer = client.post(url, rows(("dag", "trigger", "nope")))
    assert answer.status_code == 200 and "There is no DAG nope." in answer.content.decode()
    page = client.get(reverse("admin:auth_group_change", args=(Group.objects.get_or_create(name="Op")[0].pk,)))
    assert "rights-TOTAL_FORMS" not in page.content.decode()
