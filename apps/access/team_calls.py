"""Domain calls on teams: make, change, delete, and who is a member. For REST and commands; `team_form` uses the checks.

What belongs to a team names it (`team_name` of connections, variables and pools), so a team keeps its name, and stays
until nothing names it any more. Pools are given to it by `apps.runs.actions.pools`.
Which rights a member has: `membership`; what its code gets: `teams`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import transaction

from apps.access import audit, people, teams
from apps.access.audit import Actor
from apps.access.errors import Conflict, Exists, NotThere, Refused, check_name
from apps.access.models import Connection, Team, TeamMember, Variable

NAMES_SHOWN = 5
"""Of what still belongs to a team."""


def team(name: str, *, lock: bool = False) -> Team:
    """The team of that name. Raises NotThere."""
    rows = Team.objects.select_for_update() if lock else Team.objects
    found = rows.filter(name=name).first()
    if found is None:
        raise NotThere(f"There is no team called {name}. `trackside teams list` names them all.")
    return found


def usable_name(name: str) -> str:
    """Compared whole with what connections, variables, pools and bundles say: no blanks around it. Raises Refused."""
    name = name.strip()
    if not name or len(name) > 50:
        raise Refused("Enter a name of 1 to 50 characters.", field="name")
    check_name(name, "name of the team", "name")
    return name


def free_folders(found: Collection[str], own: int = 0) -> list[str]:
    """Each has to be a folder, and nobody else's: two owners would be a matter of luck. `own`: key of the team itself. Raises Refused."""
    others = {teams.split_folder(text): team.name for team in Team.objects.exclude(pk=own) for text in team.folders}
    for text in found:
        try:
            owner = others.get(teams.split_folder(text))
        except ValueError as e:
            raise Refused(str(e), field="folders") from e
        if owner:
            raise Refused(f"“{text}” belongs to team {owner} already.", field="folders")
    return list(dict.fromkeys(text.strip() for text in found))


def free_tags(found: Collection[str], own: int = 0) -> list[str]:
    """Nobody else's, for the same reason. Raises Refused."""
    wanted = list(dict.fromkeys(tag for text in found if (tag := text.strip())))
    for other in Team.objects.exclude(pk=own).filter(tags__overlap=wanted) if wanted else ():
        both = sorted(set(wanted) & set(other.tags))
        raise Refused(f"The tag “{both[0]}” belongs to team {other.name} already.", field="tags")
    return wanted


def state_of(found: Team) -> dict[str, Any]:
    """What the trail and all faces tell of a team."""
    return {"folders": list(found.folders), "tags": list(found.tags), "members": members_of(found)}


def members_of(found: Team) -> dict[str, str]:
    """Account → role."""
    rows = sorted(found.members.all(), key=lambda one: one.user.get_username())
    return {one.user.get_username(): one.role for one in rows}


def create(
    name: str, *, actor: Actor, folders: Collection[str] = (), tags: Collection[str] = (), members: Mapping[str, str] | None = None
) -> Team:  # fmt: skip
    """A new team. `members`: account → Viewer, User or Op. Raises Exists, NotThere (an account), Refused."""
    name = usable_name(name)
    with transaction.atomic():
        if Team.objects.filter(name=name).exists():
            raise Exists(f"There is a team called {name} already.")
        made = Team.objects.create(name=name, folders=free_folders(folders), tags=free_tags(tags))
        _set_members(made, members or {})
        audit.record("post_team", actor, object_type="team", object_id=name, extra=audit.change({}, state_of(made)))
    return made


def update(
    name: str,
    *,
    actor: Actor,
    folders: Collection[str] | None = None,
    tags: Collection[str] | None = None,
    members: Mapping[str, str] | None = None,
) -> Team:
    """Other folders, tags or members, each as a whole; None leaves it. Raises NotThere, Refused."""
    with transaction.atomic():
        found = team(name, lock=True)
        before = state_of(found)
        if folders is not None:
            found.folders = free_folders(folders, found.pk)
        if tags is not None:
            found.tags = free_tags(tags, found.pk)
        found.save()
        if members is not None:
            _set_members(found, members)
        change = audit.change(before, state_of(found))
        if change["after"]:
            audit.record("patch_team", actor, object_type="team", object_id=name, extra=change)
    return found


def _set_members(found: Team, wanted: Mapping[str, str]) -> None:
    """Only what differs is written: a changed membership ends the person's sign-ins (`signout`)."""
    if unknown := sorted(set(wanted.values()) - set(TeamMember.Role.values)):
        raise Refused(f"There is no role {unknown[0]} in a team; there are {', '.join(TeamMember.Role.values)}.", field="members")
    kept = {}
    for one in found.members.select_related("user"):
        if one.user.get_username() not in wanted:
            one.delete()
        else:
            kept[one.user.get_username()] = one
    for name, role in wanted.items():
        if name not in kept:
            TeamMember.objects.create(team=found, user=people.person(name), role=role)
        elif kept[name].role != role:
            kept[name].role = role
            kept[name].save()


def delete(name: str, *, actor: Actor) -> None:
    """Remove a team of which nothing is left. Raises NotThere, Conflict."""
    with transaction.atomic():
        found = team(name, lock=True)
        if left := what_names(name):
            more = ", …" if len(left) > NAMES_SHOWN else ""
            raise Conflict(
                f"To team {name} still belongs: {', '.join(left[:NAMES_SHOWN])}{more}. Give it to another team or to none first: "
                "without the team, it would not be certain who may have it."
            )
        before = state_of(found)
        found.delete()
        audit.record("delete_team", actor, object_type="team", object_id=name, extra={"before": before})


def what_names(name: str) -> list[str]:
    """Connections, variables and pools that would be left ownerless, in words; a few more than are shown at most.

    A bundle that the settings give to the team keeps it a team, with or without a row.
    """
    if any(bundle.team_name == name for bundle in settings.DAG_BUNDLES):
        return []
    pools = apps.get_model("runs", "Pool").objects.filter(team_name=name).values_list("name", flat=True)
    connections = Connection.objects.filter(team_name=name).values_list("conn_id", flat=True)
    variables = Variable.objects.filter(team_name=name).values_list("key", flat=True)
    found: list[str] = []
    for kind, names in (("connection", connections), ("variable", variables), ("pool", pools)):
        found += [f"{kind} {one}" for one in names.order_by("pk")[: NAMES_SHOWN + 1]]
    return found
