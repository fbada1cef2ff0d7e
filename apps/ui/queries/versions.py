"""Versions of a DAG and what differs between two of them: lines of the source, and what the scheduler sees of it.

A version may differ without a changed line (a file that makes DAGs from a list elsewhere), so both are shown. Used by the
tab Code and by the comparison of two runs.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import Any

from django.db.models import Count
from django.utils.translation import gettext as _

from apps.dags.models import Dag, DagVersion
from apps.runs.models import Run

LISTED = 100
LINES_COMPARED = 20_000
"""More lines than this on both sides together are not compared: it would hold up the page."""
CHANGES_SHOWN = 200
VALUE_SHOWN = 120
UNTOLD = frozenset({"downstream", "upstream", "lineno", "line", "fileloc"})
"""Fields of a task that change with its neighbours or its place in the file."""


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of a unified diff; `kind` is hunk, same, add or del."""

    kind: str
    text: str
    old: int | None = None
    new: int | None = None


def of_dag(dag: Dag) -> list[DagVersion]:
    """Newest first, each with how many runs used it (`used`). Two statements."""
    found = list(dag.versions.order_by("-number").only("number", "created_at", "dag_id")[:LISTED])
    used = dict(Run.objects.filter(dag_version__in=[v.pk for v in found]).values_list("dag_version").annotate(n=Count("id")))
    for older, version in zip([*found[1:], None], found, strict=True):
        version.used = used.get(version.pk, 0)  # type: ignore[attr-defined]
        version.before = older.number if older else None  # type: ignore[attr-defined]
    return found


def pair(dag_id: str, numbers: set[int]) -> dict[int, DagVersion]:
    """These versions with source and spec. One statement."""
    return {v.number: v for v in DagVersion.objects.filter(dag_id=dag_id, number__in=numbers).only("number", "source", "spec", "dag_id")}


def lines(old: str, new: str) -> list[DiffLine] | None:
    """The unified diff of two texts with line numbers of both; None when they are too long to compare."""
    before, after = old.splitlines(), new.splitlines()
    if len(before) + len(after) > LINES_COMPARED:
        return None
    found: list[DiffLine] = []
    for group in difflib.SequenceMatcher(None, before, after, autojunk=True).get_grouped_opcodes(3):
        first, last = group[0], group[-1]
        found.append(DiffLine("hunk", f"@@ -{first[1] + 1},{last[2] - first[1]} +{first[3] + 1},{last[4] - first[3]} @@"))
        for tag, a, a_end, b, b_end in group:
            if tag == "equal":
                found += [DiffLine("same", before[a + k], a + k + 1, b + k + 1) for k in range(a_end - a)]
            else:
                found += [DiffLine("del", before[k], old=k + 1) for k in range(a, a_end)]
                found += [DiffLine("add", after[k], new=k + 1) for k in range(b, b_end)]
    return found


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, str]]:
    """What differs between two specs: tasks that came or went, and fields of tasks and of the DAG, before and after."""
    found: list[dict[str, str]] = []
    before, after = ({t["task_id"]: t for t in spec.get("tasks", ())} for spec in (old, new))
    found += [{"where": name, "what": _("task removed"), "old": "", "new": ""} for name in before if name not in after]
    found += [{"where": name, "what": _("task added"), "old": "", "new": ""} for name in after if name not in before]
    for name in (n for n in after if n in before):
        found += _fields(name, before[name], after[name])
        came, gone = (sorted(set(x.get("downstream") or ()) - set(y.get("downstream") or ()))
                      for x, y in ((after[name], before[name]), (before[name], after[name])))  # fmt: skip
        if came or gone:
            found.append({"where": name, "what": _("followed by"), "old": ", ".join(gone) or "–", "new": ", ".join(came) or "–"})
    rest = [{k: v for k, v in spec.items() if k not in ("tasks", "groups", "root_children")} for spec in (old, new)]
    return _fields("", *rest) + found


def _fields(where: str, old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, str]]:
    names = sorted((set(old) | set(new)) - UNTOLD)
    return [
        {"where": where, "what": name.replace("_", " "), "old": shown(old.get(name)), "new": shown(new.get(name))}
        for name in names
        if old.get(name) != new.get(name)
    ]


def shown(value: Any) -> str:
    """A value in one short line."""
    if value is None:
        return "–"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= VALUE_SHOWN else f"{text[:VALUE_SHOWN]}…"
