"""A copy of a DAG with only some of its tasks (row 1.040).

For `DAG.partial_subset`, which tests and command lines use to run a part.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from trackside.sdk.taskgroup import TaskGroup

if TYPE_CHECKING:
    from trackside.sdk.dag import DAG


def partial_subset(
    dag: DAG,
    task_ids: str | Iterable[str],
    include_downstream: bool = False,
    include_upstream: bool = True,
    include_direct_upstream: bool = False,
    depth: int | None = None,
) -> DAG:
    """`task_ids`: ids, or a text that is searched for in ids. Setups and teardowns of kept tasks are kept, too."""
    if isinstance(task_ids, str):
        pattern = re.compile(task_ids)
        matched = {task_id for task_id in dag.task_dict if pattern.search(task_id)}
    else:
        matched = {task_id for task_id in task_ids if task_id in dag.task_dict}
    kept = set(matched)
    for task_id in matched:
        if include_downstream:
            kept |= _reach(dag, task_id, False, depth)
        if include_upstream:
            kept |= _reach(dag, task_id, True, depth)
        elif include_direct_upstream:
            kept |= dag.task_dict[task_id].upstream_task_ids
    kept |= _scaffolding(dag, kept)
    return _cut(copy.deepcopy(dag), kept)


def _reach(dag: DAG, start: str, upstream: bool, depth: int | None) -> set[str]:
    found: set[str] = set()
    edge = {start}
    while edge and (depth is None or depth > 0):
        edge = {n for t in edge for n in dag.task_dict[t].get_direct_relative_ids(upstream)} - found
        found |= edge
        depth = None if depth is None else depth - 1
    return found


def _scaffolding(dag: DAG, kept: set[str]) -> set[str]:
    """Setups upstream of what is kept, and the teardowns that belong to kept setups."""
    above = {up for task_id in kept for up in _reach(dag, task_id, True, None)}
    setups = {task_id for task_id in above | kept if dag.task_dict[task_id].is_setup}
    downs = {d for s in setups for d in dag.task_dict[s].downstream_task_ids if dag.task_dict[d].is_teardown}
    return setups | downs


def _cut(dag: DAG, kept: set[str]) -> DAG:
    dag.task_dict = {task_id: task for task_id, task in dag.task_dict.items() if task_id in kept}
    for task in dag.task_dict.values():
        task.upstream_task_ids &= kept
        task.downstream_task_ids &= kept
    _prune(dag.task_group, kept)
    dag.task_group_dict = {g.node_id: g for g in dag.task_group.get_task_group_dict().values() if not g.is_root}
    return dag


def _prune(group: TaskGroup, kept: set[str]) -> None:
    for child_id, child in list(group.children.items()):
        if isinstance(child, TaskGroup):
            _prune(child, kept)
            if not child.children:
                del group.children[child_id]
        elif child_id not in kept:
            del group.children[child_id]
