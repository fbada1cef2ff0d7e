"""Whose secrets a DAG's code may have: with teams, only those of its own team and those of nobody.

The team of a DAG is that of its bundle (`team_name` in TRACKSIDE_DAG_BUNDLES), so that no DAG file chooses it. As long as no bundle
has a team there are no teams, and the `team_name` of connections and variables is only shown. For the execution API, the processor,
callbacks and triggers; people's rights are `policy`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db.models import Q

from apps.access import audit


def teams() -> dict[str, str]:
    """Bundle → its team."""
    return {b.name: b.team_name for b in settings.DAG_BUNDLES if b.team_name}


def readable(bundle: str | None) -> Q:
    """Rows of connections or variables for code of this bundle; None: code of no single one, which gets what is nobody's."""
    known = teams()
    if not known:
        return Q()
    nobodys = Q(team_name=None) | Q(team_name="")
    team = known.get(bundle or "")
    return nobodys | Q(team_name=team) if team else nobodys


def may_have(secret: Any, bundle: str | None) -> bool:
    """Whether code of this bundle may have a Connection or Variable."""
    known = teams()
    return not known or not secret.team_name or secret.team_name == known.get(bundle or "")


def refusal(kind: str, name: str, *, dag_id: str | None = None, run_id: str | None = None, task_id: str | None = None,
            map_index: int | None = None, place: Sequence[str] = ()) -> str:  # fmt: skip
    """The sentence for somebody else's secret; it is an event of the audit trail, too."""
    who = dag_id or "/".join(place) or "user code"
    audit.record(
        "secret_refused", audit.Actor(who[:250], "worker"), dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index,
        object_type=kind, object_id=name[:500],
    )  # fmt: skip
    return (
        f"The {kind} `{name}` belongs to another team than this code's bundle. An administrator can take the team away from it, "
        "or the DAG file can move to a bundle of that team."
    )
