"""What the planner sees: one run and its task instances as plain values, loaded in a fixed number of queries.

Built by `apps/runs/snapshots.py` and by the property tests; read by `planning.plan`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from trackside.core.graph import Graph
from trackside.core.spec import DagSpec


class CompiledDag:
    """A DAG version ready for planning: spec, graph and what can be derived once."""

    def __init__(self, spec: DagSpec):
        self.spec = spec
        self.graph = Graph(spec)
        self.dagrun_timeout = spec.dagrun_timeout
        self.needs_past = frozenset(t.task_id for t in spec.tasks if t.depends_on_past or t.wait_for_downstream)
        self.group_of: dict[str, str | None] = {t.task_id: t.mapped_group_id for t in spec.tasks}
        self.mapped_groups = {g.group_id: g for g in spec.groups if g.mapped}
        self.scope_setups = {t: self._setups_of(t) for t in self.graph.tasks} if self._has_setups else {}
        self.teardown_scope = {t.task_id: self._scope_of(t.task_id) for t in spec.tasks if t.is_teardown}

    @property
    def _has_setups(self) -> bool:
        return any(t.is_setup for t in self.spec.tasks)

    def _setups_of(self, task_id: str) -> tuple[str, ...]:
        """Setups in whose scope the task lies: upstream setups without teardown, or with one downstream of the task."""
        graph = self.graph
        if graph.tasks[task_id].is_teardown:
            return ()
        below = {d for d in graph.descendants(task_id) if graph.tasks[d].is_teardown}
        out = []
        for up in graph.ancestors(task_id):
            if graph.tasks[up].is_setup:
                teardowns = {d for d in graph.downstream[up] if graph.tasks[d].is_teardown}
                if not teardowns or teardowns & below:
                    out.append(up)
        return tuple(sorted(out))

    def _scope_of(self, teardown: str) -> tuple[str, ...]:
        """Tasks between a teardown's setups and itself, which must all be finished before it runs."""
        graph = self.graph
        setups = [u for u in graph.upstream[teardown] if graph.tasks[u].is_setup]
        if not setups:
            return ()
        return tuple(sorted(graph.descendants(*setups) & graph.ancestors(teardown)))


@dataclass(slots=True)
class TaskRow:
    """One task instance. `state` is changed in place while planning, so that one pass sees its own decisions."""

    pk: int
    task_id: str
    map_index: int = -1
    state: str = "none"
    try_number: int = 0
    max_tries: int = 0
    next_at: datetime | None = None
    reason_code: str | None = None
    reason: str | None = None


@dataclass(slots=True)
class PastRun:
    """The previous run as depends_on_past needs it."""

    states: dict[str, list[str]] = field(default_factory=dict)
    """Task id → states of its instances in the previous run (all indexes)."""
    run_id: str = ""
    logical_date: datetime | None = None
    had_before: frozenset[str] = frozenset()
    """Tasks that have an instance in any earlier run."""


@dataclass(slots=True)
class RunRow:
    """The run being planned."""

    pk: int
    run_id: str = ""
    state: str = "running"
    run_type: str = "manual"
    logical_date: datetime | None = None
    start_date: datetime | None = None
    ignores_past: bool = False
    """First run of a backfill."""
    reason_code: str | None = None
    reason: str | None = None
    marked: str | None = None
    """What a person set it to while teardowns were still to run: that is how it ends."""


@dataclass(slots=True)
class Snapshot:
    """Everything `plan` may look at."""

    dag: CompiledDag
    run: RunRow
    tasks: list[TaskRow]
    past: PastRun | None = None
    """None: there is no previous run."""
    decisions: dict[tuple[str, int], dict[str, list[str]]] = field(default_factory=dict)
    """(task id, map index) of branches and short circuits → {"followed": ids} or {"skipped": ids}."""
    lengths: dict[str, dict[int, int]] = field(default_factory=dict)
    """Task id → map index → number of items of its return value, for mapped consumers."""
    paused: bool = False
