"""Rights by team: people who have a role on the DAGs that a team owns (rows of `TeamMember`). `policy` alone asks.

Whose a DAG is, is `teams`' rule: its bundle's, folder's or tag's team, judged from the catalogue and not from what a file
says of itself. A role in a team gives what the role gives everywhere, on that team's DAGs only; it takes nothing away.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.apps import apps
from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Q

from apps.access import teams
from apps.access.models import RoleRight, TeamMember


def roles_of(user: Any) -> dict[str, str]:
    """Team → the person's role in it; asked once per user object (a request)."""
    known = getattr(user, "_team_roles", None)
    if known is None:
        known = dict(TeamMember.objects.filter(user_id=user.pk).values_list("team__name", "role")) if user.pk else {}
        user._team_roles = known
    return dict(known)


def rights_of(user: Any, names: Collection[str]) -> list[tuple[str, str, str]]:
    """(kind, level, DAG or empty for all) that roles of these names give; asked once per user object, not at all without names."""
    known = getattr(user, "_role_rights", None)
    if known is None:
        known = list(RoleRight.objects.filter(group__name__in=sorted(names)).values_list("kind", "level", "dag_id")) if names else []
        user._role_rights = known
    return list(known)


def highest_in_team_of(dag_id: str) -> str | None:
    """The highest role that anybody has in the team that owns the DAG; None for a DAG of nobody, or of a team without members.

    Three statements at most, one where there are no teams.
    """
    rules = teams.rules()
    if not rules:
        return None
    found = apps.get_model("dags", "Dag").objects.filter(pk=dag_id).annotate(own_tags=_OWN_TAGS)
    codes = [teams.Code(bundle, path or "", frozenset(own)) for bundle, path, own in found.values_list(*_CODE)]
    owner = rules.team_of(codes[0]) if codes else None
    roles = set(TeamMember.objects.filter(team__name=owner).values_list("role", flat=True)) if owner else set()
    return next((str(role) for role in reversed(TeamMember.Role.values) if role in roles), None)


_OWN_TAGS = ArrayAgg("tags__name", filter=Q(tags__name__isnull=False), default=[])
_CODE = ("bundle_name", "file__relative_path", "own_tags")


def dags_of(names: Collection[str], dag_id: str | None = None) -> list[str]:
    """The DAGs that these teams own; with `dag_id` that one, if it is among them. Two statements at most, none without names."""
    rules = teams.rules() if names else teams.Rules()
    if not rules:
        return []
    maybe = Q(bundle_name__in=[bundle for bundle, team in rules.bundles.items() if team in names])
    maybe |= Q(tags__name__in=[tag for tag, owners in rules.tags.items() if owners & set(names)])
    for bundle, parts, team in rules.folders:
        if team in names:
            below = Q(file__relative_path__startswith="/".join(parts) + "/")
            maybe |= below & Q(bundle_name=bundle) if bundle else below
    dags = apps.get_model("dags", "Dag").objects
    found = dags.filter(pk__in=dags.filter(maybe, **({} if dag_id is None else {"pk": dag_id})).values("pk"))
    return [
        pk
        for pk, bundle, path, own in found.annotate(own_tags=_OWN_TAGS).values_list("pk", *_CODE)
        if rules.team_of(teams.Code(bundle, path or "", frozenset(own))) in names
    ]
