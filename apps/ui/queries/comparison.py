"""Two runs of a DAG side by side: code, conf, durations and states of their tasks. The words are in `views/compare`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from apps.runs.models import Run
from apps.ui.queries import runs as run_queries
from apps.ui.queries.runs import TaskLine
from apps.ui.queries.versions import shown

CHOICES = 50
NOTICEABLE = 1.0
"""Seconds by which a task must differ to be called slower or faster."""


@dataclass(frozen=True, slots=True)
class TaskPair:
    """One task in both runs; None where a run does not have it."""

    task_id: str
    label: str
    prefix: str
    depth: int
    now: TaskLine | None
    then: TaskLine | None

    @property
    def difference(self) -> float | None:
        """Seconds longer (or, negative, shorter) than then."""
        a, b = self.now.seconds if self.now else None, self.then.seconds if self.then else None
        return a - b if a is not None and b is not None else None

    @property
    def other_state(self) -> bool:
        """It ended otherwise, or exists in one of the runs only."""
        return (self.now.state if self.now else None) != (self.then.state if self.then else None)

    @property
    def changed(self) -> bool:
        """Worth a look."""
        d = self.difference
        slow = d is not None and self.then is not None and abs(d) >= max(NOTICEABLE, 0.2 * (self.then.seconds or 0))
        return self.other_state or slow or (self.now is not None and self.then is not None and self.now.count != self.then.count)


def previous_success(run: Run) -> Run | None:
    """The newest successful run before this one. One statement."""
    older = Run.objects.filter(dag_id=run.dag_id, state="success").extra(
        where=["(runs_run.run_after, runs_run.id) < (%s, %s)"], params=(run.run_after, run.pk)
    )
    return older.select_related("dag_version").defer("dag_version__spec", "dag_version__source").order_by("-run_after", "-id").first()


def choices(run: Run) -> list[Run]:
    """Newest runs to compare with. One statement."""
    others = Run.objects.filter(dag_id=run.dag_id).exclude(pk=run.pk).order_by("-run_after", "-id")
    return list(others.only("id", "run_id", "run_after", "state")[:CHOICES])


def pairs(now: Run, then: Run) -> list[TaskPair]:
    """Tasks of both runs, in the order of this one's version. Two statements, and one for a version not seen yet."""
    mine = run_queries.task_lines(now, run_queries.version_structure(now))
    other = {t.task_id: t for t in run_queries.task_lines(then, run_queries.version_structure(then))}
    found = [TaskPair(t.task_id, t.label, t.prefix, t.depth, t, other.pop(t.task_id, None)) for t in mine]
    return found + [TaskPair(t.task_id, t.label, t.prefix, t.depth, None, t) for t in other.values()]


def conf_changes(now: Any, then: Any) -> list[dict[str, str]]:
    """Values of the conf that differ, named by their path (`a.b[0]`)."""
    before, after = dict(_leaves(then)), dict(_leaves(now))
    return [
        {"name": name, "old": shown(before[name]) if name in before else "", "new": shown(after[name]) if name in after else ""}
        for name in sorted(set(before) | set(after))
        if name not in before or name not in after or before[name] != after[name] or type(before[name]) is not type(after[name])
    ]  # fmt: skip


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for k, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{k}]")
    elif path or value:  # an empty conf has no values
        yield path, value
