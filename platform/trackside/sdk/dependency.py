"""What can stand left and right of `>>`: tasks, groups, results of tasks, and lists of them.

For operators, `TaskGroup`, `XComArg` and `EdgeModifier`, which build on `Dependable`. One function, `link`, draws every
edge; each edge is stored once per side as task ids (`upstream_task_ids`, `downstream_task_ids`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trackside.sdk.abstract import AbstractOperator
    from trackside.sdk.dag import DAG
    from trackside.sdk.edges import EdgeModifier


class Dependable:
    """Something with tasks at its start (`roots`) and at its end (`leaves`)."""

    @property
    def roots(self) -> Sequence[AbstractOperator]:
        """Tasks that wait when this is told to wait."""
        raise NotImplementedError

    @property
    def leaves(self) -> Sequence[AbstractOperator]:
        """Tasks that others wait for when told to wait for this."""
        raise NotImplementedError

    @property
    def edge_id(self) -> str:
        """Id an edge label is stored under: of the task, or of the group as a whole."""
        raise NotImplementedError

    def set_upstream(self, task_or_task_list: Any, edge_modifier: EdgeModifier | None = None) -> None:
        """Make this wait for the given tasks, groups or results."""
        for other in flatten(task_or_task_list):
            if other.is_edge_modifier:
                other.set_downstream(self)
            else:
                link(other, self, edge_modifier)

    def set_downstream(self, task_or_task_list: Any, edge_modifier: EdgeModifier | None = None) -> None:
        """Make the given tasks, groups or results wait for this."""
        for other in flatten(task_or_task_list):
            if other.is_edge_modifier:
                other.set_upstream(self)
            else:
                link(self, other, edge_modifier)

    is_edge_modifier = False

    def pass_on(self, sources: Sequence[AbstractOperator]) -> None:
        """Told to wait without having tasks: a group remembers whom, so that what follows it waits instead."""

    def as_setup(self) -> Dependable:
        """Mark as setup: what follows needs it, and it is cleared together with it."""
        for task in self.leaves:
            task.as_setup()
        return self

    def as_teardown(self, *, setups: Any = None, on_failure_fail_dagrun: bool | None = None) -> Dependable:
        """Mark as teardown of `setups`: runs whatever happened in between."""
        for task in self.roots:
            task.as_teardown(setups=setups, on_failure_fail_dagrun=on_failure_fail_dagrun)
        return self

    def __lshift__(self, other: Any) -> Any:
        """`self << other`."""
        self.set_upstream(other)
        return other

    def __rshift__(self, other: Any) -> Any:
        """`self >> other`."""
        self.set_downstream(other)
        return other

    def __rrshift__(self, other: Any) -> Any:
        """`[a, b] >> self`."""
        self.__lshift__(other)
        return self

    def __rlshift__(self, other: Any) -> Any:
        """`[a, b] << self`."""
        self.__rshift__(other)
        return self


def flatten(things: Any) -> list[Dependable]:
    """One thing or (nested) lists of things as a flat list. Raises TypeError for what cannot have dependencies."""
    if isinstance(things, Dependable):
        return [things]
    if isinstance(things, Iterable) and not isinstance(things, str | bytes | dict):
        return [item for thing in things for item in flatten(thing)]
    hint = ""
    if callable(things) and hasattr(things, "override"):
        hint = f"; call it first: {getattr(things, '__name__', 'task')}()"
    raise TypeError(
        f"Relationships can only be set between operators, task groups and task results; received {type(things).__name__}{hint}"
    )


def link(first: Dependable, then: Dependable, label: EdgeModifier | None = None) -> None:
    """Make the roots of `then` wait for the leaves of `first`, and remember the label of the edge."""
    sources, targets = list(first.leaves), list(then.roots)
    dag = _common_dag([*sources, *targets])
    if not targets:
        then.pass_on(sources)
    for source in sources:
        for target in targets:
            source.downstream_task_ids.add(target.task_id)
            target.upstream_task_ids.add(source.task_id)
    if label is None or dag is None:
        return
    dag.set_edge_info(first.edge_id, then.edge_id, {"label": label.label})
    for source in sources:
        for target in targets:
            dag.set_edge_info(source.task_id, target.task_id, {"label": label.label})


def _common_dag(tasks: Sequence[AbstractOperator]) -> DAG | None:
    """The one DAG of all tasks; tasks without any join it."""
    dags = {id(task.dag): task.dag for task in tasks if task.has_dag()}
    if len(dags) > 1:
        names = ", ".join(sorted(dag.dag_id for dag in dags.values()))
        raise RuntimeError(f"Tried to set relationships between tasks in more than one Dag: {names}")
    if not dags:
        if not tasks:
            return None
        raise RuntimeError(
            "Tried to create relationships between tasks that don't have Dags yet. "
            f"Set the Dag for at least one task and try again: {[task.task_id for task in tasks]}"
        )
    dag = next(iter(dags.values()))
    for task in tasks:
        if not task.has_dag():
            dag.add_task(task)
    return dag
