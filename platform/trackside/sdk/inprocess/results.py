"""What `dag.test()` returns: the run with its task instances, to print and to assert on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trackside.sdk.execution.records import DagRun


@dataclass(slots=True)
class TaskResult:
    """One task instance after the run."""

    task_id: str
    map_index: int = -1
    state: str | None = None
    try_number: int = 0
    start_date: datetime | None = None
    end_date: datetime | None = None
    duration: float = 0.0
    """Seconds its tries took, waits between them not counted."""
    error: str | None = None
    """Why the last try failed, or why the task did not run: one line."""
    rendered_fields: dict[str, Any] = field(default_factory=dict)
    asset_events: list[dict[str, Any]] = field(default_factory=list)
    """What it said about its outlets; nobody is told in a test."""
    _pull: Callable[..., Any] | None = field(default=None, repr=False)

    def xcom_pull(self, task_ids: str | Iterable[str] | None = None, key: str = "return_value") -> Any:
        """A value this task published; with `task_ids` a value of that task. None if there is none."""
        if self._pull is None:
            return None
        if task_ids is None or isinstance(task_ids, str):
            return self._pull(task_ids or self.task_id, key, self.map_index if task_ids is None else None)
        return [self._pull(task_id, key, None) for task_id in task_ids]


@dataclass(slots=True)
class TestedRun(DagRun):
    """A run of `dag.test()`. Has all that `dag_run` has in a task's context."""

    __test__ = False  # no test case, whatever pytest thinks of the name
    reason: str | None = None
    """Why it failed."""
    task_instances: list[TaskResult] = field(default_factory=list)

    def get_task_instances(self, state: str | Iterable[str] | None = None) -> list[TaskResult]:
        """Task instances in the DAG's order, all or those in one of the states."""
        wanted = None if state is None else {state} if isinstance(state, str) else set(state)
        return [ti for ti in self.task_instances if wanted is None or ti.state in wanted]

    def get_task_instance(self, task_id: str, map_index: int = -1) -> TaskResult | None:
        """One task instance, or None."""
        return next((ti for ti in self.task_instances if (ti.task_id, ti.map_index) == (task_id, map_index)), None)

    @property
    def states(self) -> dict[str, str | None]:
        """Task id (`task[3]` for an index of a mapped task) → state."""
        return {ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": ti.state for ti in self.task_instances}
