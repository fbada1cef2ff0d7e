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
from apps.access.models import TeamMember


def roles_of(user: Any) -> dict[str, str]:
    """Team → the person's role in it; asked once per user object (a request)."""
    known = getattr(user, "_team_roles", None)
    if known is None:
        known = dict(TeamMember.objects.filter(user_id=user.pk).values_list("team__name", "role")) if user.pk else {}
        user._team_roles = known
    return dict(known)


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
    own_tags = ArrayAgg("tags__name", filter=Q(tags__name__isnull=False), default=[])
    return [
        pk
        for pk, bundle, path, own in found.annotate(own_tags=own_tags).values_list("pk", "bundle_name", "file__relative_path", "own_tags")
        if rules.team_of(teams.Code(bundle, path or "", frozenset(own))) in names
    ]
