"""Rights by team: a member has a role on what the team owns, and nowhere else. The rules of ownership: `tests/security/test_teams.py`."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.access import membership, policy, team_calls
from apps.access.audit import Actor
from apps.access.models import Team, TeamMember, User
from apps.access.tests.resthelp import Api, person
from apps.dags.models import Dag, DagFile
from apps.runs.tests.restworld import make_dag, make_run
from trackside.runner.bundles.config import BundleConfig

pytestmark = pytest.mark.django_db
ME = Actor("operator", "cli")


@pytest.fixture
def site(settings):
    """red owns a folder, a tag and a bundle; blue a folder inside of red's."""
    settings.DAG_BUNDLES = [BundleConfig("files"), BundleConfig("red-files", team_name="red")]
    Team.objects.create(name="red", folders=["red"], tags=["reds"])
    Team.objects.create(name="blue", folders=["files:red/blue"])
    for dag_id, bundle, path, tags in (
        ("in-folder", "files", "red/a.py", ()),
        ("by-tag", "files", "else/a.py", ("reds",)),
        ("of-bundle", "red-files", "x.py", ()),
        ("of-blue", "files", "red/blue/a.py", ("reds",)),
        ("of-nobody", "files", "redder/a.py", ()),
    ):
        make_dag(dag_id, tags=tags)
        file = DagFile.objects.create(bundle_name=bundle, path=f"/{dag_id}/{path}", relative_path=path)
        Dag.objects.filter(pk=dag_id).update(bundle_name=bundle, file=file, relative_fileloc="red/claimed.py")
        make_run(Dag.objects.get(pk=dag_id), "r")


def member(role: str, team: str = "red", also: str | None = None) -> User:
    user = person(also)
    TeamMember.objects.create(team=Team.objects.get(name=team), user=user, role=role)
    return User.objects.get(pk=user.pk)


REDS = {"in-folder", "by-tag", "of-bundle"}


def test_a_member_sees_the_dags_of_the_team_and_no_others(site):
    viewer = member("Viewer")
    assert set(Dag.objects.filter(policy.visible_dags(viewer)).values_list("pk", flat=True)) == REDS
    for dag in Dag.objects.all():
        assert policy.allowed(viewer, "read", "log", dag.pk) == (dag.pk in REDS), dag
        assert not policy.allowed(viewer, "trigger", "run", dag.pk)
    assert not policy.allowed(viewer, "read", "dag") and not policy.allowed(viewer, "read", "pool")
    assert set(Dag.objects.filter(policy.visible_dags(member("Viewer", "blue"))).values_list("pk", flat=True)) == {"of-blue"}


def test_a_user_of_the_team_changes_its_dags_over_rest_and_only_reads_the_others_by_the_role_they_have_everywhere(site):
    api = Api(user=member("User", also="Viewer"))
    assert api("PATCH", "/dags/in-folder", {"is_paused": True})[0] == 200
    assert api("PATCH", "/dags/of-blue", {"is_paused": True})[0] == 403
    assert api.get("/dags/of-blue")[0] == 200
    assert api("POST", "/dags/by-tag/dagRuns", {"logical_date": None})[0] == 200
    assert api("POST", "/dags/of-nobody/dagRuns", {"logical_date": None})[0] == 403
    only_team = Api(user=member("User"))
    assert only_team.get("/dags/~/dagRuns")[1]["total_entries"] == 4
    assert {d["dag_id"] for d in only_team.get("/dags")[1]["dags"]} == REDS
    assert only_team.get("/dagStats")[1]["total_entries"] == 3 and only_team.get("/dagTags")[1]["tags"] == ["reds"]
    assert Api(None).get("/dags")[0] == Api(None).get("/dagTags")[0] == 403, "who may see no DAG at all"
    assert only_team.get("/dags/of-nobody")[0] == 403
    assert only_team.get("/connections")[0] == 403 and only_team.get("/pools")[1]["pools"] == [], "as a User everywhere: pools to read"


def test_limits_of_a_token_hold_for_rights_by_team_too(site):
    user = member("User")
    user.token_scopes = ["read"]
    assert policy.allowed(user, "read", "dag", "in-folder") and not policy.allowed(user, "trigger", "run", "in-folder")
    user.token_scopes = ["trigger"]
    assert not Dag.objects.filter(policy.visible_dags(user)).exists()


def test_rights_end_with_the_membership_and_so_do_sign_ins(site):
    user = member("User")
    api = Api(user=user)
    assert api.get("/dags/in-folder")[0] == 200
    team_calls.update("red", actor=ME, members={})
    assert api.get("/dags/in-folder")[0] == 401, "what was signed in with more rights is signed out"
    assert Api(user=User.objects.get(pk=user.pk)).get("/dags/in-folder")[0] == 403


def test_whoever_is_in_no_team_costs_no_statement_more_and_a_member_a_fixed_number(site):
    def cost(user: User) -> int:
        fresh = User.objects.get(pk=user.pk)
        with CaptureQueriesContext(connection) as seen:
            policy.allowed(fresh, "read", "dag", "in-folder")
            list(Dag.objects.filter(policy.visible_dags(fresh)))
        return len(seen)

    assert cost(person("Viewer")) == 2, "the groups, and the list"
    few = cost(user := member("Viewer"))
    for n in range(5):
        make_dag(f"more-{n}", tags=("reds",))
    assert cost(user) == few


def test_a_group_named_like_a_team_and_a_team_named_like_a_role_give_nothing(site):
    stranger = person(None)
    stranger.groups.add(Group.objects.create(name="red"))
    team_calls.create("Admin", actor=ME, members={stranger.username: "Op"})
    stranger = User.objects.get(pk=stranger.pk)
    assert membership.roles_of(stranger) == {"Admin": "Op"}
    assert policy.rank_of(stranger) == 0 and not policy.allowed(stranger, "read", "dag", "in-folder")


def test_the_database_knows_each_member_once_and_only_roles_of_teams(site):
    user = member("Viewer")
    red = Team.objects.get(name="red")
    for role in ("User", "Admin"):
        with pytest.raises(IntegrityError), transaction.atomic():
            TeamMember.objects.create(team=red, user=user if role == "User" else person(None), role=role)


# What a file of a team may give ------------------------------------------------------------------------------------------
def test_a_file_gives_no_more_than_somebody_of_its_team_may_do(site):
    """S7: an author of a team that only reads writes `can_edit` for a group of theirs into the file."""
    control = {"access_control": {"friends": ["can_read", "can_edit", "can_delete"]}}
    for dag_id, tags in (("bounded", ("reds",)), ("unbounded", ())):
        make_dag(dag_id, tags=tags, spec=control)
    friend = person(None)
    friend.groups.add(Group.objects.create(name="friends"))

    def may(action: str, dag_id: str) -> bool:
        return policy.allowed(User.objects.get(pk=friend.pk), action, "dag", dag_id)

    everything = ("read", "edit", "trigger", "delete")
    assert all(may(action, dag_id) for action in everything for dag_id in ("bounded", "unbounded")), "a team without members says nothing"
    reader = member("Viewer")
    assert [may(action, "bounded") for action in everything] == [True, False, False, False]
    assert all(may(action, "unbounded") for action in everything), "a DAG of nobody"
    assert Api(user=User.objects.get(pk=friend.pk))("PATCH", "/dags/bounded", {"is_paused": True})[0] == 403
    TeamMember.objects.filter(user=reader).update(role="User")
    assert all(may(action, "bounded") for action in everything)


def test_a_file_gives_nothing_on_other_dags_whatever_it_says(site):
    make_dag("mine", tags=("reds",), spec={"access_control": {"friends": ["can_edit"], "of-blue": ["can_edit"], "*": ["can_edit"]}})
    friend = person(None)
    friend.groups.add(Group.objects.create(name="friends"), Group.objects.create(name="of-blue"))
    assert policy.allowed(friend, "edit", "dag", "mine")
    assert not any(policy.allowed(friend, action, "dag", "of-blue") for action in ("read", "edit", "delete"))
