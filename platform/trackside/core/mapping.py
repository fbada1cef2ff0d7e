"""How many instances a mapped task or a mapped task group has: lengths in, a number or "not known yet" out.

For the planner. What the values are is resolved in the task process (`trackside.sdk.mapping`); the server only counts.
Expand inputs are the JSON of `TaskSpec.expand` / `GroupSpec.expand`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trackside.core.snapshot import CompiledDag, TaskRow
from trackside.core.spec import TaskSpec
from trackside.core.states import TaskState

Lengths = Mapping[str, Mapping[int, int]]
Rows = Mapping[str, Sequence[TaskRow]]


def expand_inputs(task: TaskSpec, dag: CompiledDag) -> list[dict[str, Any]]:
    """The expand inputs that decide the indexes of a task: its own, or that of the mapped group around it."""
    if task.mapped and task.expand:
        return [task.expand]
    group = dag.mapped_groups.get(task.mapped_group_id or "")
    return [group.expand] if group is not None and group.expand else []


def is_expanded_lazily(task: TaskSpec, dag: CompiledDag) -> bool:
    """Whether the task starts as one unexpanded instance (map index -1)."""
    return bool(expand_inputs(task, dag))


def _references(value: Any) -> Iterator[str]:
    """Task ids referred to anywhere inside an expand input."""
    if isinstance(value, dict):
        if "__xcom__" in value:
            inner = value["__xcom__"]
            if isinstance(inner, dict) and isinstance(inner.get("task_id"), str):
                yield inner["task_id"]
            yield from _references(inner)
        else:
            for item in value.values():
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def sources(task: TaskSpec, dag: CompiledDag) -> list[str]:
    """Tasks whose results a mapped task is mapped over."""
    return list(dict.fromkeys(t for e in expand_inputs(task, dag) for t in _references(e) if t in dag.graph.tasks))


def expansion_length(task: TaskSpec, dag: CompiledDag, lengths: Lengths, rows: Rows) -> int | None:
    """Number of instances; None while an upstream length is unknown."""
    total: int | None = None
    for expand in expand_inputs(task, dag):
        n = _input_length(expand, lengths, rows)
        if n is None:
            return None
        total = n if total is None else total * n
    return total


def first_unknown(task: TaskSpec, dag: CompiledDag, lengths: Lengths, rows: Rows) -> str:
    """A source whose length is not known yet."""
    return next((s for s in sources(task, dag) if _xcom_length({"task_id": s}, lengths, rows) is None), task.task_id)


def _input_length(expand: dict[str, Any], lengths: Lengths, rows: Rows) -> int | None:
    value = expand.get("value")
    if expand.get("kind") == "dict" and isinstance(value, dict):
        total = 1
        for item in value.values():
            n = _value_length(item, lengths, rows)
            if n is None:
                return None
            total *= n
        return total
    return _value_length(value, lengths, rows)


def _value_length(value: Any, lengths: Lengths, rows: Rows) -> int | None:
    if isinstance(value, dict):
        if "__xcom__" in value:
            return _xcom_length(value["__xcom__"], lengths, rows)
        if "__literal_length__" in value:
            return int(value["__literal_length__"])
        return len(value)
    return len(value) if isinstance(value, list) else None


def _xcom_length(ref: dict[str, Any], lengths: Lengths, rows: Rows) -> int | None:
    """Length of an XComArg: plain, map (as its input), zip (shortest, or longest with a fill value), concat (sum)."""
    kind = ref.get("kind", "plain")
    if kind == "plain":
        return _plain_length(ref["task_id"], lengths, rows)
    inner = [_value_length(a, lengths, rows) for a in ref.get("args", ())]
    known = [n for n in inner if n is not None]
    if len(known) != len(inner) or not known:
        return None
    if kind == "zip":
        return max(known) if "fillvalue" in ref else min(known)
    return sum(known) if kind == "concat" else known[0]


def _plain_length(task_id: str, lengths: Lengths, rows: Rows) -> int | None:
    instances = rows.get(task_id, ())
    if any(r.map_index >= 0 for r in instances):
        # a mapped source gives one item per instance that returned something
        if any(r.state not in (TaskState.SUCCESS, TaskState.SKIPPED, TaskState.REMOVED) for r in instances):
            return None
        return sum(1 for i in lengths.get(task_id, {}) if i >= 0)
    if instances and all(r.state == TaskState.SKIPPED for r in instances):
        return 0
    return lengths.get(task_id, {}).get(-1)
