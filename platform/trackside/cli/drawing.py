"""A DAG drawn as text, DOT and Mermaid, for `trackside dags show`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trackside.core.spec import DagSpec, TaskSpec

COLOURS = {"success": "palegreen", "failed": "salmon", "skipped": "lightpink", "upstream_failed": "orange"}


def spec_of(data: dict[str, Any]) -> DagSpec:
    """The DAG a parse result holds."""
    return DagSpec.from_dict(data)


def schedule(spec: DagSpec) -> str:
    """The schedule in short."""
    from trackside.core.timetables import from_dict

    return from_dict(spec.timetable).summary or "none"


def text(spec: DagSpec, states: Mapping[str, str | None] | None = None) -> str:
    """Facts, then every task with what follows it, groups indented."""
    head = [spec.dag_id, f"  schedule   {schedule(spec)}", f"  start      {spec.start_date or '-'}"]
    head += [f"  catchup    {'yes' if spec.catchup else 'no'}", f"  tasks      {len(spec.tasks)}", ""]
    return "\n".join([*head, *_tree(spec, spec.root_children, 1)])


def _tree(spec: DagSpec, children: list[str], depth: int) -> Iterator[str]:
    tasks = {task.task_id: task for task in spec.tasks}
    groups = {group.group_id: group for group in spec.groups}
    for child in children:
        if child in groups:
            yield f"{'  ' * depth}[{child}]{' ×n' if groups[child].mapped else ''}"
            yield from _tree(spec, groups[child].children, depth + 1)
        elif child in tasks:
            yield f"{'  ' * depth}{_facts(tasks[child])}"


def _facts(task: TaskSpec) -> str:
    marks = [task.operator, "setup" if task.is_setup else "", "teardown" if task.is_teardown else ""]
    marks.append("" if task.trigger_rule == "all_success" else task.trigger_rule)
    line = f"{task.task_id}{' ×n' if task.mapped else ''} ({', '.join(filter(None, marks))})"
    return line + (f" → {', '.join(task.downstream)}" if task.downstream else "")


def dot(spec: DagSpec, states: Mapping[str, str | None] | None = None) -> str:
    """Graphviz."""
    lines = [f"digraph {_quoted(spec.dag_id)} {{", "  rankdir=LR;", "  node [shape=box, style=rounded];"]
    lines += _dot_nodes(spec, spec.root_children, "  ", states or {})
    labels = {(up, down): label for up, down, label in spec.edge_labels}
    for task in spec.tasks:
        for down in task.downstream:
            label = labels.get((task.task_id, down))
            lines.append(f"  {_quoted(task.task_id)} -> {_quoted(down)}{f' [label={_quoted(label)}]' if label else ''};")
    return "\n".join([*lines, "}"])


def _dot_nodes(spec: DagSpec, children: list[str], indent: str, states: Mapping[str, str | None]) -> Iterator[str]:
    groups = {group.group_id: group for group in spec.groups}
    tasks = {task.task_id: task for task in spec.tasks}
    for child in children:
        if child in groups:
            yield f"{indent}subgraph {_quoted('cluster_' + child)} {{"
            yield f"{indent}  label={_quoted(groups[child].label or child)};"
            yield from _dot_nodes(spec, groups[child].children, indent + "  ", states)
            yield f"{indent}}}"
        elif child in tasks:
            colour = COLOURS.get(states.get(child) or "")
            fill = f', style="rounded,filled", fillcolor={colour}' if colour else ""
            yield f"{indent}{_quoted(child)} [label={_quoted(tasks[child].label)}{fill}];"


def mermaid(spec: DagSpec, states: Mapping[str, str | None] | None = None) -> str:
    """Mermaid, as GitHub and many wikis draw it."""
    ids = {name: f"n{number}" for number, name in enumerate([*(t.task_id for t in spec.tasks), *(g.group_id for g in spec.groups)])}
    lines = ["flowchart LR", *_mermaid_nodes(spec, spec.root_children, "  ", ids)]
    labels = {(up, down): label for up, down, label in spec.edge_labels}
    for task in spec.tasks:
        for down in task.downstream:
            label = labels.get((task.task_id, down))
            lines.append(f"  {ids[task.task_id]} -->{f'|{_safe(label)}|' if label else ''} {ids[down]}")
    return "\n".join(lines)


def _mermaid_nodes(spec: DagSpec, children: list[str], indent: str, ids: dict[str, str]) -> Iterator[str]:
    groups = {group.group_id: group for group in spec.groups}
    tasks = {task.task_id: task for task in spec.tasks}
    for child in children:
        if child in groups:
            yield f'{indent}subgraph {ids[child]}["{_safe(groups[child].label or child)}"]'
            yield from _mermaid_nodes(spec, groups[child].children, indent + "  ", ids)
            yield f"{indent}end"
        elif child in tasks:
            yield f'{indent}{ids[child]}["{_safe(tasks[child].label)}"]'


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _safe(label: str) -> str:
    return label.replace('"', "#quot;").replace("|", "#124;")


def as_json(spec: DagSpec, states: Mapping[str, str | None] | None = None) -> str:
    """Everything the server stores of the DAG."""
    return json.dumps(spec.to_dict(), indent=2)


FORMS: dict[str, Callable[[DagSpec], str]] = {"text": text, "dot": dot, "mermaid": mermaid, "json": as_json}
