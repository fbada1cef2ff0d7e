"""The DAG as a graph: directions, order, ancestors. Pure; built once per DAG version and shared by all plans.

For the planner (`core.planning`), clearing and marking (`apps/runs/selection.py`) and the SDK's cycle check.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import cached_property

from trackside.core.spec import DagSpec, TaskSpec


class CycleError(ValueError):
    """The tasks depend on each other in a circle."""

    def __init__(self, cycle: list[str]):
        self.cycle = cycle
        super().__init__(f"Cycle detected in DAG: {' -> '.join(cycle)}")


class Graph:
    """Upstream and downstream sets of a DagSpec, in both directions, with a stable topological order."""

    def __init__(self, spec: DagSpec):
        self.spec = spec
        self.tasks: dict[str, TaskSpec] = {t.task_id: t for t in spec.tasks}
        self.downstream: dict[str, tuple[str, ...]] = {t.task_id: tuple(d for d in t.downstream if d in self.tasks) for t in spec.tasks}
        up: dict[str, list[str]] = {task_id: [] for task_id in self.tasks}
        for task_id, downs in self.downstream.items():
            for down in downs:
                up[down].append(task_id)
        self.upstream: dict[str, tuple[str, ...]] = {k: tuple(v) for k, v in up.items()}
        self.order: tuple[str, ...] = tuple(self._sort())

    def _sort(self) -> list[str]:
        """Kahn's algorithm, ties in declared order; raises CycleError naming one cycle."""
        waiting = {task_id: len(ups) for task_id, ups in self.upstream.items()}
        ready = deque(task_id for task_id in self.tasks if waiting[task_id] == 0)
        order: list[str] = []
        while ready:
            task_id = ready.popleft()
            order.append(task_id)
            for down in self.downstream[task_id]:
                waiting[down] -= 1
                if waiting[down] == 0:
                    ready.append(down)
        if len(order) != len(self.tasks):
            raise CycleError(self._find_cycle({t for t in self.tasks if waiting[t] > 0}))
        return order

    def _find_cycle(self, left: set[str]) -> list[str]:
        # every task that Kahn could not place has an unplaced upstream, so walking upstream must close a circle
        path: list[str] = []
        seen: dict[str, int] = {}
        task_id = min(left)
        while task_id not in seen:
            seen[task_id] = len(path)
            path.append(task_id)
            task_id = next(u for u in self.upstream[task_id] if u in left)
        return [*path[seen[task_id] :], task_id][::-1]

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """Tasks without upstream."""
        return tuple(t for t in self.order if not self.upstream[t])

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """Tasks without downstream."""
        return tuple(t for t in self.order if not self.downstream[t])

    @cached_property
    def effective_leaves(self) -> frozenset[str]:
        """Tasks that decide the state of a run.

        Airflow's rule: teardowns count only with on_failure_fail_dagrun; a task all of whose direct downstream is
        uncounted teardowns is a leaf, whatever follows those teardowns.
        """
        counted = {t.task_id for t in self.tasks.values() if not t.is_teardown or t.on_failure_fail_dagrun}
        return frozenset(t for t in counted if not any(d in counted for d in self.downstream[t])) or frozenset(self.leaves)

    def _walk(self, start: Iterable[str], edges: dict[str, tuple[str, ...]]) -> frozenset[str]:
        seen: set[str] = set()
        stack = [n for s in start for n in edges[s]]
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack.extend(edges[node])
        return frozenset(seen)

    def descendants(self, *task_ids: str) -> frozenset[str]:
        """All tasks downstream of any of `task_ids`, directly or not."""
        return self._walk(task_ids, self.downstream)

    def ancestors(self, *task_ids: str) -> frozenset[str]:
        """All tasks upstream of any of `task_ids`, directly or not."""
        return self._walk(task_ids, self.upstream)

    def group_tasks(self, group_id: str) -> tuple[str, ...]:
        """Tasks inside a group, nested ones included; empty if there is no such group."""
        inside = {group_id}
        grew = True
        while grew:
            new = {g.group_id for g in self.spec.groups if g.parent_id in inside} - inside
            inside |= new
            grew = bool(new)
        return tuple(t.task_id for t in self.spec.tasks if t.group_id in inside)

    @cached_property
    def priority(self) -> dict[str, int]:
        """Effective priority weight per task (rows 1.188-1.190 of Airflow's rules): downstream, upstream or absolute."""
        clip = 2**31 - 1
        out = {}
        for task in self.tasks.values():
            others: frozenset[str] = frozenset()
            if task.by_try and "priority_weight" in task.by_try[0]:
                out[task.task_id] = max(-clip, min(clip, int(task.by_try[0]["priority_weight"])))
                continue
            if task.weight_rule == "downstream":
                others = self.descendants(task.task_id)
            elif task.weight_rule == "upstream":
                others = self.ancestors(task.task_id)
            total = task.priority_weight + sum(self.tasks[o].priority_weight for o in others)
            out[task.task_id] = max(-clip, min(clip, total))
        return out
