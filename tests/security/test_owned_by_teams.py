"""S7, S8 for what teams own beside DAGs: connections, variables, pools. A role in a team holds on the team's things and no others, at every
operation of these kinds (walked from the registry) and in the administration; nobody moves things between teams they do not have.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import get_resolver, reverse

from apps.access import policy
from apps.access.models import Connection, Team, TeamMember, User, Variable
from apps.access.rest.operations import REGISTRY, Operation
from apps.access.tests.resthelp import Api, person
from apps.runs.models import Pool

assert get_resolver().url_patterns  # the operations are registered
pytestmark = pytest.mark.django_db
CANARY, INSIDE = "canary-of-others", "canary-inside-of-others"
WRITES = re.compile(r'^\s*(INSERT|UPDATE|DELETE)\b.*?"?(\w+)"?', re.I)
BODIES: dict[str, dict[str, Any]] = {
    "connection": {"connection_id": "", "conn_type": "http", "host": "taken"},
    "variable": {"key": "", "value": "taken"},
    "pool": {"name": "", "slots": 1},
}
NAMES = {"connection": "connection_id", "variable": "key", "pool": "name"}
CREATE = {"pool": "/pools", "connection": "/connections", "variable": "/variables"}


def member(**roles: str) -> User:
    user = person(None)
    for team, role in roles.items():
        TeamMember.objects.create(team=Team.objects.get_or_create(name=team)[0], user=user, role=role)
    return User.objects.get(pk=user.pk)


@pytest.fixture
def things() -> None:
    for team in ("red", "blue", None):
        name = {"red": "of-red", "blue": CANARY, None: f"{CANARY}-nobody"}[team]
        inside = "of-red" if team == "red" else INSIDE
        Connection.objects.create(conn_id=name, conn_type="http", host=inside, password="secret", team_name=team)
        Variable.objects.create(key=name, value=inside, team_name=team)
        Pool.objects.create(name=name, slots=1, description=inside, team_name=team)


def operations() -> list[Operation]:
    return [op for op in REGISTRY if op.may[1] in policy.OWNED_KINDS]


def body_of(op: Operation, name: str, **more: Any) -> Any:
    kind = op.may[1]
    entity = {**BODIES[kind], NAMES[kind]: name, **more}
    if kind == "pool" and op.method == "PATCH" and "{" in op.path:
        return {"pool": name, "slots": 9, "include_deferred": False, **more}
    if op.method == "PATCH" and "{" not in op.path:
        return {"actions": [
            {"action": "create", "entities": [entity], "action_on_existence": "overwrite"},
            {"action": "update", "entities": [entity]}, {"action": "delete", "entities": [name]},
        ]}  # fmt: skip
    return entity if op.method in ("POST", "PATCH") else None


def state() -> list[Any]:
    """All three tables as they are."""
    return [list(model.objects.order_by("pk").values()) for model in (Connection, Variable, Pool)]


def test_no_operation_lets_a_role_in_one_team_see_or_touch_what_is_anothers_or_nobodys(things):
    api, called = Api(user=member(red="Op")), 0
    for op in operations():
        for name in (CANARY, f"{CANARY}-nobody"):
            path = re.sub(r"\{\w+[^}]*\}", name, op.path)
            before = state()
            answer = api.call(op.method, path, body_of(op, name))
            called += 1
            assert state() == before, (op.id, name)
            told = answer.content.decode().replace(name, "what was asked for")
            assert answer.status_code < 500 and "canary" not in told, (op.id, answer.content)
            if "{" in op.path and op.method != "POST":
                assert answer.status_code == 404, (op.id, answer.status_code)
    assert called >= 40
    for path in CREATE.values():
        found = api.get(path)[1]
        assert found["total_entries"] == 1 and "of-red" in str(found) and CANARY not in str(found)
        assert api.get(path, order_by="-id", limit=1)[1]["total_entries"] == 1


def test_an_op_of_the_team_reads_makes_changes_and_deletes_what_is_the_teams(things):
    api = Api(user=member(red="Op", blue="Viewer"))
    for kind, path in CREATE.items():
        entity = {**BODIES[kind], NAMES[kind]: "new-one"}
        status, said = api("POST", path, entity)
        assert status == 403 and "team_name must be one of red" in said["detail"]
        assert api("POST", path, {**entity, "team_name": "blue"})[0] == 403
        assert api("POST", path, {**entity, "team_name": "red"})[0] == 201
        assert api.get(f"{path}/new-one")[0] == 200
        op = next(o for o in operations() if o.may[1] == kind and o.method == "PATCH" and "{" in o.path)
        assert api("PATCH", f"{path}/new-one", body_of(op, "new-one", team_name="red"))[0] == 200
        assert api("PATCH", f"{path}/new-one", body_of(op, "new-one", team_name="blue"))[0] == 403, "given away"
        assert api("PATCH", f"{path}/new-one", body_of(op, "new-one", team_name=None))[0] == 403, "given to all"
        assert api("DELETE", f"{path}/new-one")[0] == 204
        # the name of somebody else's is taken: said without saying whose
        status, said = api("POST", path, {**entity, NAMES[kind]: CANARY, "team_name": "red"})
        assert status == 403 and "cannot be used" in said["detail"]


@pytest.mark.parametrize("role", ["Viewer", "User"])
def test_a_lesser_role_in_the_team_gives_what_it_gives_everywhere(things, role):
    api = Api(user=member(red=role))
    assert api.get("/connections")[0] == api.get("/variables")[0] == 403
    assert [p["name"] for p in api.get("/pools")[1]["pools"]] == ["of-red"] and api.get("/pools/of-red")[0] == 200
    assert api("PATCH", "/pools/of-red", {"pool": "of-red", "slots": 2, "include_deferred": False})[0] == 403
    assert api("DELETE", "/pools/of-red")[0] == 403 and api("POST", "/pools", {"name": "x", "slots": 1, "team_name": "red"})[0] == 403


def test_a_token_with_scopes_may_do_no_more_than_they_say(things):
    user = member(red="Op")
    user.token_scopes = frozenset({"read"})
    assert policy.teams_for(user, "read", "connection") == {"red"} and not policy.teams_for(user, "edit", "connection")


def test_whoever_may_everywhere_pays_no_statement_for_it(things):
    for role, statements in (("Op", []), ("Admin", [])):
        user = User.objects.get(pk=person(role).pk)
        policy.groups_of(user)
        with CaptureQueriesContext(connection) as seen:
            policy.owned(user, "edit", "connection")
        assert list(seen) == statements


# The administration -------------------------------------------------------------------------------------------------------
LISTS = {"access_connection": Connection, "access_variable": Variable, "runs_pool": Pool}


def own_and_foreign(model: Any) -> tuple[Any, Any]:
    return model.objects.get(team_name="red"), model.objects.get(team_name="blue")


def test_the_administration_shows_and_changes_the_teams_things_and_no_others(things):
    client = Client()
    client.force_login(member(red="Op"))
    index = client.get(reverse("admin:index")).content.decode()
    assert "Connections" in index and "Users" not in index and "Audit" not in index
    for name, model in LISTS.items():
        own, foreign = own_and_foreign(model)
        listed = client.get(reverse(f"admin:{name}_changelist")).content.decode()
        assert "of-red" in listed and CANARY not in listed
        assert CANARY not in client.get(reverse(f"admin:{name}_changelist"), {"q": "canary"}).content.decode().replace('value="canary"', "")
        assert client.get(reverse(f"admin:{name}_change", args=(own.pk,))).status_code == 200
        form = client.get(reverse(f"admin:{name}_add")).content.decode()
        assert '<option value="red">red</option>' in form and "blue" not in form
        for verb in ("change", "delete", "history"):
            for data in (None, {"post": "yes", "team_name": "red"}):
                url = reverse(f"admin:{name}_{verb}", args=(foreign.pk,))
                with transaction.atomic():
                    answer = client.get(url) if data is None else client.post(url, data)
                    transaction.set_rollback(True)
                assert answer.status_code in (302, 403) and CANARY not in answer.content.decode(), (name, verb)
        client.post(reverse(f"admin:{name}_changelist"), {"action": "delete_selected", "_selected_action": [foreign.pk], "post": "yes"})
        assert model.objects.filter(pk=foreign.pk).exists()


def test_the_administration_keeps_a_new_or_changed_thing_with_the_persons_teams(things):
    client = Client()
    client.force_login(member(red="Op"))
    own, _ = own_and_foreign(Variable)
    add, change = reverse("admin:access_variable_add"), reverse("admin:access_variable_change", args=(own.pk,))
    for team, kept in (("blue", False), ("", False), ("red", True)):
        client.post(add, {"key": f"made-{team}", "new_value": "v", "team_name": team})
        assert Variable.objects.filter(key=f"made-{team}").exists() == kept
        client.post(change, {"description": f"for {team}", "team_name": team, "new_value": "v"})
        assert Variable.objects.get(pk=own.pk).team_name == "red"
    assert Variable.objects.get(pk=own.pk).description == "for red"


def test_the_navigation_leads_to_what_a_role_may_see(things):
    def links(user: User) -> set[str]:
        client = Client()
        client.force_login(user)
        return set(re.findall(r'href="(/admin/[^"]*)"', client.get("/").content.decode()))

    pool, conn, var, every = "/admin/runs/pool/", "/admin/access/connection/", "/admin/access/variable/", "/admin/"
    assert links(person("Op")) == links(member(red="Op")) == {pool, conn, var, every}
    assert links(person("Viewer")) == links(member(red="Viewer")) == {pool, every}
    assert links(person(None)) == set()
