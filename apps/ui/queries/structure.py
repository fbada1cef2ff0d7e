"""The shape of a DAG version as pages need it: rows of the grid, nodes and edges of the graph.

Cut once per version out of the (large) spec and kept in memory, because it never changes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from apps.dags.models import DagVersion
from apps.ui.queries import surroundings
from apps.ui.queries.surroundings import Neighbour
from trackside.core.spec import DagSpec

_KEPT = 64


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the grid: a task or a group, in reading order."""

    id: str
    label: str
    depth: int
    parent: int
    """Index of the enclosing group's row, -1 at the top."""
    is_group: bool
    mapped: bool
    operator: str


@dataclass(frozen=True, slots=True)
class Structure:
    """A DAG version without its values."""

    version_id: UUID
    number: int
    rows: tuple[Row, ...]
    task_ids: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    edge_labels: dict[tuple[str, str], str]
    labels: dict[str, str]
    depths: dict[str, int]
    operators: dict[str, str]
    params: dict[str, Any] = field(default_factory=dict)
    task_count: int = 0
    around: tuple[Neighbour, ...] = ()
    """Assets and other DAGs that this version names."""


_cache: OrderedDict[tuple[UUID, str], Structure] = OrderedDict()


def of_version(version_id: UUID | None, spec_hash: str = "") -> Structure | None:
    """The structure of that version; one statement when it is not in memory. `spec_hash` tells a rewritten version apart."""
    if version_id is None:
        return None
    key = (version_id, spec_hash)
    known = _cache.get(key)
    if known is not None:
        _cache.move_to_end(key)
        return known
    version = DagVersion.objects.filter(pk=version_id).only("id", "number", "spec").first()
    if version is None:
        return None
    built = build(version.pk, version.number, DagSpec.from_dict(version.spec))
    _cache[key] = built
    while len(_cache) > _KEPT:
        _cache.popitem(last=False)
    return built


def build(version_id: UUID, number: int, spec: DagSpec) -> Structure:
    """Flatten groups and tasks in declared order."""
    tasks = {t.task_id: t for t in spec.tasks}
    groups = {g.group_id: g for g in spec.groups}
    rows: list[Row] = []

    def add(ids: list[str], depth: int, parent: int) -> None:
        for name in ids:
            if group := groups.get(name):
                label = group.label or (name.removeprefix(f"{group.parent_id}.") if group.parent_id else name)
                rows.append(Row(name, label, depth, parent, True, group.mapped, ""))
                add(group.children, depth + 1, len(rows) - 1)
            elif task := tasks.get(name):
                rows.append(Row(name, task.label, depth, parent, False, task.mapped or task.mapped_group_id is not None, task.operator))

    add(spec.root_children or [t.task_id for t in spec.tasks], 0, -1)
    listed = {r.id for r in rows}
    add([t.task_id for t in spec.tasks if t.task_id not in listed], 0, -1)
    return Structure(
        version_id=version_id,
        number=number,
        rows=tuple(rows),
        task_ids=tuple(r.id for r in rows if not r.is_group),
        edges=tuple((t.task_id, down) for t in spec.tasks for down in t.downstream if down in tasks),
        edge_labels={(a, b): text for a, b, text in spec.edge_labels},
        labels={r.id: r.label for r in rows},
        depths={r.id: r.depth for r in rows},
        operators={t.task_id: t.operator for t in spec.tasks},
        params=spec.params,
        task_count=len(tasks),
        around=surroundings.of_spec(spec),
    )
