"""Ways to draw many edges at once, and labels for edges.

For DAG files: `chain`, `chain_linear`, `cross_downstream`, `Label`. Next door: `dependency.py` draws the single edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from trackside.sdk.dependency import Dependable, flatten


class EdgeModifier(Dependable):
    """A label between two ends of an edge: `a >> Label("if new") >> b`."""

    is_edge_modifier = True

    def __init__(self, label: str | None = None) -> None:
        self.label = label
        self._upstream: list[Dependable] = []
        self._downstream: list[Dependable] = []

    @property
    def roots(self) -> Sequence[Any]:
        return [task for item in self._downstream for task in item.roots]

    @property
    def leaves(self) -> Sequence[Any]:
        return [task for item in self._upstream for task in item.leaves]

    def set_upstream(self, task_or_task_list: Any, edge_modifier: EdgeModifier | None = None) -> None:
        """Take what stands left of the label; joins it to what already stands right of it."""
        new = self._checked(task_or_task_list)
        self._upstream.extend(new)
        self._join(new, self._downstream)

    def set_downstream(self, task_or_task_list: Any, edge_modifier: EdgeModifier | None = None) -> None:
        """Take what stands right of the label; joins it to what already stands left of it."""
        new = self._checked(task_or_task_list)
        self._downstream.extend(new)
        self._join(self._upstream, new)

    def _join(self, upstream: list[Dependable], downstream: list[Dependable]) -> None:
        for item in upstream:
            item.set_downstream(downstream, edge_modifier=self)

    @staticmethod
    def _checked(items: Any) -> list[Dependable]:
        found = flatten(items)
        if any(item.is_edge_modifier for item in found):
            raise TypeError("A Label must stand between tasks or groups, not next to another Label")
        return found


def Label(label: str) -> EdgeModifier:
    """A label for the edge it stands in; shown in the graph."""
    return EdgeModifier(label=label)


def chain(*tasks: Any) -> None:
    """Make each argument wait for the one before it.

    Two neighbouring lists are paired item by item, so they must have the same length (ValueError otherwise).
    """
    for first, then in pairwise(tasks):
        if not _is_list(first):
            first.set_downstream(then)
        elif not _is_list(then):
            then.set_upstream(first)
        else:
            _pair(first, then)


def _pair(first: Sequence[Any], then: Sequence[Any]) -> None:
    if len(first) != len(then):
        raise ValueError(
            f"Chain not supported for different length Iterable. Got {len(first)} and {len(then)}; "
            "use chain_linear() to connect every task of one list with every task of the next"
        )
    for up, down in zip(first, then, strict=True):
        up.set_downstream(down)


def cross_downstream(from_tasks: Sequence[Any], to_tasks: Any) -> None:
    """Make every task of `to_tasks` wait for every task of `from_tasks`."""
    for task in from_tasks:
        task.set_downstream(to_tasks)


def chain_linear(*elements: Any) -> None:
    """Make everything in an argument wait for everything in the argument before; lists need no equal length."""
    if not elements:
        raise ValueError("No tasks provided; nothing to do.")
    previous: list[Dependable] | None = None
    linked = False
    for element in elements:
        if element is None or (_is_list(element) and not element):
            continue
        current = flatten(element)
        if any(item.is_edge_modifier for item in current):
            raise ValueError("Labels are not supported by chain_linear")
        if previous is not None:
            for item in current:
                item.set_upstream(previous)
            linked = True
        previous = current
    if not linked:
        raise ValueError("No dependencies were set. Did you forget to expand with `*`?")


def _is_list(thing: Any) -> bool:
    return not isinstance(thing, Dependable) and isinstance(thing, Sequence)
