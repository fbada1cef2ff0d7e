"""Whose secrets and pools a DAG's code may have: with teams, only those of its own team and those of nobody.

A DAG belongs to the team of its bundle (`team_name` in TRACKSIDE_DAG_BUNDLES), else to that which owns the folder of its file,
else to that which owns one of its tags (rows of `Team`, kept in the administration). Bundles and folders are not for a DAG's author
to choose; tags are, so they give a DAG a team but never take it from one. As long as no bundle, folder or tag has a team there
are no teams, and the `team_name` of connections, variables and pools is only shown. For the execution API, the processor, callbacks,
triggers and admission; people's rights are `policy`'s. Which code a DAG is: `apps.dags.ownership`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Q

from apps.access import audit
from apps.access.models import Team


class Code(NamedTuple):
    """Where user code is from. None instead of it: code of no single place (triggers), which gets what is nobody's."""

    bundle: str
    path: str = ""
    """Of its file, relative to the bundle; empty: of no file that is known."""
    tags: frozenset[str] = frozenset()
    """Of its DAG; while a file is parsed nobody knows them yet."""


@dataclass(slots=True)
class Rules:
    """What belongs to whom now; false if nothing does."""

    bundles: dict[str, str] = field(default_factory=dict)
    folders: list[tuple[str | None, tuple[str, ...], str]] = field(default_factory=list)
    """(bundle, None for any; parts of the path; team), the deepest first."""
    tags: dict[str, set[str]] = field(default_factory=dict)

    known: set[str] = field(default_factory=set)
    """Teams that have a row, whether they own something or not."""

    def __bool__(self) -> bool:
        return bool(self.bundles or self.folders or self.tags)

    @property
    def names(self) -> set[str]:
        """All teams."""
        return self.known | set(self.bundles.values())

    def team_of(self, code: Code | None) -> str | None:
        """The team of this code; None: of nobody. Tags of two teams are those of none."""
        if code is None:
            return None
        if code.bundle in self.bundles:
            return self.bundles[code.bundle]
        parts = PurePosixPath(code.path).parts[:-1]
        for bundle, folder, team in self.folders:
            if bundle in (None, code.bundle) and parts[: len(folder)] == folder:
                return team
        owners = set().union(*(self.tags.get(tag, ()) for tag in code.tags))
        return owners.pop() if len(owners) == 1 else None


def rules() -> Rules:
    """What is configured now: one statement."""
    made = Rules({b.name: b.team_name for b in settings.DAG_BUNDLES if b.team_name})
    for team in Team.objects.order_by("name"):
        made.known.add(team.name)
        for text in team.folders:
            bundle, folder = split_folder(text)
            made.folders.append((bundle, folder, team.name))
        for tag in team.tags:
            made.tags.setdefault(tag, set()).add(team.name)
    made.folders.sort(key=lambda f: (-len(f[1]), f[0] is None))
    return made


def split_folder(text: str) -> tuple[str | None, tuple[str, ...]]:
    """`folder/below` or `bundle:folder/below`. Raises ValueError, saying why, for what is no folder inside of a bundle."""
    bundle, colon, path = text.strip().rpartition(":")
    parts = PurePosixPath(path.strip()).parts
    if not parts or ".." in parts or path.strip().startswith("/") or (colon and not bundle):
        raise ValueError(f"{text!r} is no folder of a bundle: write it like reports/daily, or bundle:reports/daily.")
    return bundle or None, parts


def readable(code: Code | None) -> Q:
    """Rows of connections or variables for this code."""
    if not (known := rules()):
        return Q()
    nobodys = Q(team_name=None) | Q(team_name="")
    team = known.team_of(code)
    return nobodys | Q(team_name=team) if team else nobodys


def may_have(owned: Any, code: Code | None) -> bool:
    """Whether this code may have a Connection, Variable or Pool. Costs nothing for what is nobody's."""
    if not owned.team_name:
        return True
    known = rules()
    return not known or owned.team_name == known.team_of(code)


def refused(kind: str, name: str, *, dag_id: str | None = None, run_id: str | None = None, task_id: str | None = None,
            map_index: int | None = None, place: Sequence[str] = ()) -> None:  # fmt: skip
    """Somebody asked for another team's secret: an event of the trail. The asker is told what it is told of names that do not exist."""
    who = dag_id or "/".join(place) or "user code"
    audit.record(
        "secret_refused", audit.Actor(who[:250], "worker"), dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index,
        object_type=kind, object_id=name[:500],
    )  # fmt: skip
