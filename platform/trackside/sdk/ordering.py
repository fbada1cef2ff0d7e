"""The order in which the tasks of a DAG are stored and shown: after what they wait for, else as declared.

For `serialization.py` and `DAG.topological_sort`. Groups stay together: inside each group its members are sorted, where
a group counts as one member.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from trackside.sdk.taskgroup import TaskGroup

if TYPE_CHECKING:
    from trackside.sdk.dag import DAG


def ordered_members(dag: DAG) -> dict[str, list[str]]:
    """Group id ("" for the top) → ids of its members in order."""
    chains = _group_chains(dag)
    edges: dict[str, set[tuple[str, str]]] = {}
    for task_id, task in dag.task_dict.items():
        for down in task.downstream_task_ids:
            if down in chains:
                group, first, then = _where_they_part(chains[task_id], chains[down])
                edges.setdefault(group, set()).add((first, then))
    groups = {"": dag.task_group, **dag.task_group_dict}
    return {gid: _sorted(list(group.children), edges.get(gid, set())) for gid, group in groups.items()}


def ordered_task_ids(dag: DAG) -> list[str]:
    """All tasks, group by group."""
    members = ordered_members(dag)
    found: list[str] = []

    def walk(group_id: str) -> None:
        for child in members[group_id]:
            if child in dag.task_dict:
                found.append(child)
            else:
                walk(child)

    walk("")
    return found


def _group_chains(dag: DAG) -> dict[str, list[str]]:
    """Task id → ids of the groups around it from the outside in, then the task itself."""
    chains: dict[str, list[str]] = {}

    def walk(group: TaskGroup, above: list[str]) -> None:
        for child_id, child in group.children.items():
            if isinstance(child, TaskGroup):
                walk(child, [*above, child_id])
            else:
                chains[child_id] = [*above, child_id]

    walk(dag.task_group, [])
    return chains


def _where_they_part(one: list[str], two: list[str]) -> tuple[str, str, str]:
    """The innermost common group of two tasks, and the member of it each is in."""
    depth = 0
    while one[depth] == two[depth]:
        if depth + 1 in (len(one), len(two)):
            break
        depth += 1
    return (one[depth - 1] if depth else ""), one[depth], two[depth]


def _sorted(members: list[str], edges: set[tuple[str, str]]) -> list[str]:
    """Kahn's algorithm, the earliest declared first; members in a circle (groups may be) follow as declared."""
    position = {member: i for i, member in enumerate(members)}
    waiting = dict.fromkeys(members, 0)
    after: dict[str, list[str]] = {member: [] for member in members}
    for first, then in edges:
        if first != then:
            waiting[then] += 1
            after[first].append(then)
    ready = [position[m] for m in members if waiting[m] == 0]
    order: list[str] = []
    while ready:
        member = members[heapq.heappop(ready)]
        order.append(member)
        for then in after[member]:
            waiting[then] -= 1
            if waiting[then] == 0:
                heapq.heappush(ready, position[then])
    placed = set(order)
    return [*order, *(m for m in members if m not in placed)]
