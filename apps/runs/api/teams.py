"""REST: teams, for administrators: what is theirs and who is a member. Airflow 3.3 has no such operations; these are Trackside's own.

Here and not beside `apps.access.api.people`, because a team's pools are the ledger's. The calls: `apps.access.team_calls`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from django.conf import settings
from django.db import transaction
from pydantic import Field as Constraint

from apps.access import team_calls
from apps.access.models import Team, TeamMember
from apps.access.rest.body import Body
from apps.access.rest.errors import flaw, invalid
from apps.access.rest.fields import listed, text, texts
from apps.access.rest.filters import Equals, Pattern
from apps.access.rest.operations import OWN, Call, operation
from apps.access.rest.resources import Resource
from apps.runs.actions import pools
from apps.runs.models import Pool


def _attach_pools(found: list[Team], call: Call) -> None:
    """The pools of a page's teams in one statement."""
    owned: dict[str, list[str]] = {}
    names = [team.name for team in found]
    for owner, pool in Pool.objects.filter(team_name__in=names).order_by("name").values_list("team_name", "name"):
        owned.setdefault(str(owner), []).append(pool)
    for team in found:
        team.pools = owned.get(team.name, [])  # type: ignore[attr-defined]


TEAMS = Resource(
    "teams",
    rows=lambda call: Team.objects.prefetch_related("members__user"),
    fields=(
        text("name"),
        texts("folders"),
        texts("tags"),
        listed(
            "members",
            (text("username", lambda member: member[0]), text("role", lambda member: member[1], words=TeamMember.Role.values)),
            lambda team: team_calls.members_of(team).items(),
        ),
        texts("pools"),
        texts("bundles", lambda team: [bundle.name for bundle in settings.DAG_BUNDLES if bundle.team_name == team.name]),
    ),
    filters=(Pattern("team_name", "name"), Equals("member", "members__user__username")),
    orders={"name": "name"},
    default_order=("name",),
    attach=_attach_pools,
)
_Folders = Annotated[list[Annotated[str, Constraint(max_length=500)]], Constraint(max_length=500)]
_Tags = Annotated[list[Annotated[str, Constraint(max_length=100)]], Constraint(max_length=500)]
_Pools = Annotated[list[Annotated[str, Constraint(max_length=256)]], Constraint(max_length=500)]


class MemberBody(Body):
    """Somebody in a team: what the role allows everywhere, this account may on what the team owns."""

    username: Annotated[str, Constraint(min_length=1, max_length=150)]
    role: TeamMember.Role = TeamMember.Role.VIEWER


_Members = Annotated[list[MemberBody], Constraint(max_length=1000)]


class TeamBody(Body):
    """A team. Folders: `reports/daily` in any bundle, `bundle:reports/daily` in one, with all that is below."""

    name: Annotated[str, Constraint(min_length=1, max_length=50)]
    folders: _Folders = []
    tags: _Tags = []
    members: _Members = []
    pools: _Pools = []


class TeamPatchBody(Body):
    """What is sent replaces what was, each list as a whole. The name stays: connections, variables and pools refer to it."""

    folders: _Folders | None = None
    tags: _Tags | None = None
    members: _Members | None = None
    pools: _Pools | None = None


def _roles(members: Iterable[MemberBody] | None) -> dict[str, str] | None:
    """Account → role. Raises Problem 422 for an account named twice."""
    if members is None:
        return None
    found: dict[str, str] = {}
    for index, member in enumerate(members):
        if member.username in found:
            raise invalid(flaw(("body", "members", index, "username"), f"{member.username} is named twice"))
        found[member.username] = str(member.role)
    return found


def _one(call: Call, name: str) -> dict[str, Any]:
    return TEAMS.one(team_calls.team(name), call)


@operation("GET /teams", base=OWN, may=("read", "team"), query=TEAMS.query, returns=TEAMS.list_schema)
def list_teams(call: Call) -> dict[str, Any]:
    """Teams with what they own and their members."""
    return TEAMS.page(call)


@operation("GET /teams/{team_name:path}", base=OWN, may=("read", "team"), returns=TEAMS.schema)
def get_team(call: Call, team_name: str) -> dict[str, Any]:
    """One team."""
    return _one(call, team_name)


@operation("POST /teams", base=OWN, may=("create", "team"), body=TeamBody, status=201, returns=TEAMS.schema)
def create_team(call: Call) -> dict[str, Any]:
    """Make a team."""
    body: TeamBody = call.body
    with transaction.atomic():
        made = team_calls.create(
            body.name, actor=call.actor, folders=body.folders, tags=body.tags, members=_roles(body.members)
        )  # fmt: skip
        pools.give_to_team(made.name, body.pools, actor=call.actor)
    return _one(call, made.name)


@operation("PATCH /teams/{team_name:path}", base=OWN, may=("edit", "team"), body=TeamPatchBody, returns=TEAMS.schema)
def update_team(call: Call, team_name: str) -> dict[str, Any]:
    """Change what a team owns and who is a member."""
    body: TeamPatchBody = call.body
    with transaction.atomic():
        team_calls.update(team_name, actor=call.actor, folders=body.folders, tags=body.tags, members=_roles(body.members))
        if body.pools is not None:
            pools.give_to_team(team_name, body.pools, actor=call.actor)
    return _one(call, team_name)


@operation("DELETE /teams/{team_name:path}", base=OWN, may=("delete", "team"), status=204, errors=(409,))
def delete_team(call: Call, team_name: str) -> None:
    """Delete a team to which nothing belongs any more."""
    team_calls.delete(team_name, actor=call.actor)
