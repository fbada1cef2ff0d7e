"""Teams by REST and by the command: what is theirs, who is a member, what stands in the way of their end."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.access import team_calls
from apps.access.audit import Actor
from apps.access.models import AuditEvent, Connection, Team, User
from apps.access.tests.resthelp import Own, person
from apps.runs.models import Pool
from trackside.runner.bundles.config import BundleConfig

pytestmark = pytest.mark.django_db
ME = Actor("operator", "cli")
RED = {"name": "red", "folders": ["red"], "tags": ["reds"], "members": [{"username": "ada", "role": "User"}], "pools": ["gpu"]}


@pytest.fixture
def admin(settings):
    settings.DAG_BUNDLES = [BundleConfig("files"), BundleConfig("red-files", team_name="red")]
    Pool.objects.create(name="gpu", slots=2)
    person(None, username="ada")
    return Own("Admin")


def test_a_team_is_made_changed_and_deleted_and_the_trail_has_before_and_after(admin):
    status, made = admin("POST", "/teams", RED)
    assert (status, made) == (201, {**RED, "bundles": ["red-files"]})
    assert Pool.objects.get(name="gpu").team_name == "red"
    assert admin.get("/teams", member="ada")[1]["teams"] == [made] and admin.get("/teams", team_name_pattern="blu")[1]["total_entries"] == 0
    changed = {"tags": ["crimson"], "members": [], "pools": []}
    status, now = admin("PATCH", "/teams/red", changed)
    assert (status, now) == (200, {**made, **changed})
    assert Pool.objects.get(name="gpu").team_name is None
    assert admin("DELETE", "/teams/red")[0] == 204 and admin.get("/teams/red")[0] == 404
    trail = list(AuditEvent.objects.filter(object_type="team").order_by("id"))
    assert [(e.action, e.means, e.object_id) for e in trail] == [(f"{verb}_team", "rest", "red") for verb in ("post", "patch", "delete")]
    assert trail[1].extra["before"] == {"tags": ["reds"], "members": {"ada": "User"}}
    assert trail[1].extra["after"] == {"tags": ["crimson"], "members": {}}
    assert trail[2].extra["before"]["folders"] == ["red"]
    assert AuditEvent.objects.filter(action="patch_pool", object_id="gpu").count() == 2


def test_what_differs_alone_ends_sign_ins(admin):
    admin("POST", "/teams", RED)
    epoch = User.objects.get(username="ada").sign_in_epoch
    assert admin("PATCH", "/teams/red", {"members": RED["members"]})[0] == 200
    assert User.objects.get(username="ada").sign_in_epoch == epoch
    assert not AuditEvent.objects.filter(action="patch_team").exists(), "nothing changed"
    admin("PATCH", "/teams/red", {"members": [{"username": "ada", "role": "Viewer"}]})
    assert User.objects.get(username="ada").sign_in_epoch > epoch


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/teams", {"name": "red"}, 409, "already"),
        ("POST", "/teams", {"name": "  "}, 400, "1 to 50"),
        ("POST", "/teams", {"name": "r\u202eed"}, 400, "cannot be seen"),
        ("POST", "/teams", {"name": "blue", "folders": ["../x"]}, 400, "no folder"),
        ("POST", "/teams", {"name": "blue", "folders": ["red/"]}, 400, "belongs to team red"),
        ("POST", "/teams", {"name": "blue", "tags": ["reds"]}, 400, "belongs to team red"),
        ("POST", "/teams", {"name": "blue", "pools": ["gpu"]}, 409, "belongs to team red"),
        ("POST", "/teams", {"name": "blue", "pools": ["none"]}, 404, "none"),
        ("POST", "/teams", {"name": "blue", "pools": ["default_pool"]}, 400, "default pool"),
        ("POST", "/teams", {"name": "blue", "members": [{"username": "nobody"}]}, 404, "no user called nobody"),
        ("POST", "/teams", {"name": "blue", "members": [{"username": "ada", "role": "Admin"}]}, 422, "role"),
        ("POST", "/teams", {"name": "blue", "members": [{"username": "ada"}, {"username": "ada"}]}, 422, "twice"),
        ("PATCH", "/teams/blue", {}, 404, "no team called blue"),
        ("PATCH", "/teams/red", {"name": "crimson"}, 422, "name"),
        ("DELETE", "/teams/blue", None, 404, "no team called blue"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason_and_nothing_is_left_of_it(admin, method, path, body, status, says):
    admin("POST", "/teams", RED)
    before = list(Team.objects.values_list("name", "folders", "tags"))
    found, answer = admin(method, path, body)
    assert found == status and says in json.dumps(answer), answer
    assert list(Team.objects.values_list("name", "folders", "tags")) == before


def test_a_team_stays_until_nothing_would_be_left_without_an_owner(admin, settings):
    admin("POST", "/teams", {"name": "blue"})
    Connection.objects.create(conn_id="warehouse", conn_type="http", team_name="blue")
    status, answer = admin("DELETE", "/teams/blue")
    assert status == 409 and "connection warehouse" in answer["detail"]
    settings.DAG_BUNDLES = [BundleConfig("files", team_name="blue")]
    assert admin("DELETE", "/teams/blue")[0] == 204, "its bundle keeps it a team"


@pytest.mark.parametrize("role", [None, "Viewer", "User", "Op"])
def test_teams_are_for_administrators(admin, role):
    admin("POST", "/teams", RED)
    api = Own(role)
    for method, path, body in (("GET", "/teams", None), ("GET", "/teams/red", None), ("POST", "/teams", {"name": "x"}),
                               ("PATCH", "/teams/red", {}), ("DELETE", "/teams/red", None)):  # fmt: skip
        assert api(method, path, body)[0] == 403


def command(capsys: Any, *words: str) -> str:
    out = io.StringIO()
    call_command("teams", *words, stdout=out)
    return out.getvalue() + capsys.readouterr().out


def test_the_command_does_the_same_and_is_in_the_trail(admin, capsys):
    command(capsys, "create", "red", "--folder=red", "--tag=reds", "--member=ada=User", "--pool=gpu")
    (red,) = json.loads(command(capsys, "list", "-o", "json"))
    assert red == {**RED, "bundles": ["red-files"]} == json.loads(command(capsys, "show", "red", "-o", "json"))
    command(capsys, "update", "red", "--tag=crimson", "--member=", "--pool=")
    found = json.loads(command(capsys, "show", "red", "-o", "json"))
    assert found == {**red, "tags": ["crimson"], "members": [], "pools": []}, "what is not named stays"
    with pytest.raises(CommandError, match="no team called blue"):
        command(capsys, "delete", "blue")
    with pytest.raises(CommandError, match="NAME=ROLE"):
        command(capsys, "update", "red", "--member=ada")
    command(capsys, "delete", "red")
    assert not Team.objects.exists()
    assert set(AuditEvent.objects.filter(object_type="team").values_list("means", flat=True)) == {"cli"}


def test_the_domain_call_refuses_roles_that_no_team_has(admin):
    with pytest.raises(team_calls.Refused, match="no role Admin"):
        team_calls.create("x", actor=ME, members={"ada": "Admin"})
