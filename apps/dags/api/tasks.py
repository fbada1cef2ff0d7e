"""REST: the tasks of a DAG, as its current version describes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apps.access.rest.errors import bad_request, not_found
from apps.access.rest.fields import anything, constant, flag, number, text, texts
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import Param
from apps.access.rest.resources import Resource
from apps.dags.api.dags import wire_params
from apps.dags.api.fields import time_span
from apps.dags.api.lookups import the_spec
from trackside.core.spec import DagSpec, TaskSpec


@dataclass(slots=True)
class _Row:
    """A task with what it inherits from its DAG."""

    task: TaskSpec
    dag: DagSpec

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)


def wire_date(stored: str | None) -> str | None:
    """A stored moment (ISO with microseconds and offset) as REST writes it."""
    if stored is None:
        return None
    out = stored.replace("+00:00", "Z")
    return out.replace(".000000Z", "Z")


def class_name(task: TaskSpec) -> str:
    """Name of the operator class; `operator` may be a nicer name for people."""
    return str(getattr(task, "class_name", "") or task.attributes.get("_class_name") or task.operator)


TASKS = Resource(
    "tasks",
    fields=(
        text("task_id", null=True),
        text("task_display_name", lambda r: r.task.task_display_name or r.task.task_id, null=True),
        text("owner", null=True),
        text("start_date", lambda r: wire_date(r.task.start_date or r.dag.start_date), null=True),
        text("end_date", lambda r: wire_date(r.task.end_date or r.dag.end_date), null=True),
        text("trigger_rule", null=True),
        flag("depends_on_past"),
        flag("wait_for_downstream"),
        number("retries", null=True),
        text("queue", null=True),
        text("pool", null=True),
        number("pool_slots", null=True),
        anything("execution_timeout", lambda r: time_span(r.task.execution_timeout)),
        anything("retry_delay", lambda r: time_span(r.task.retry_delay)),
        number("retry_exponential_backoff"),
        number("priority_weight", null=True),
        text("weight_rule", null=True),
        text("ui_color", null=True),
        text("ui_fgcolor", null=True),
        texts("template_fields", null=True),
        texts("downstream_task_ids", "task.downstream", null=True),
        text("doc_md", null=True),
        text("operator_name", "task.operator", null=True),
        anything("params", lambda r: wire_params({**r.dag.params, **r.task.params})),
        anything("class_ref", lambda r: {"module_path": r.task.module, "class_name": class_name(r.task)}),
        flag("is_mapped", "task.mapped", null=True),
        constant("extra_links", []),  # Airflow 3.3 names none here; see the operation on links
    ),
)
_ORDERS = frozenset(f for f in TaskSpec.__dataclass_fields__ if f not in ("attributes", "params", "expand", "executor_config"))


def _key(row: _Row, name: str) -> tuple[bool, Any]:
    value = getattr(row.task, name)
    return value is None, "" if value is None else value


@operation(
    "GET /dags/{dag_id}/tasks",
    may=("read", "task"),
    query=(Param("order_by", default="task_id"),),
    returns=TASKS.list_schema,
)
def get_tasks(call: Call, dag_id: str) -> dict[str, Any]:
    """List the tasks of a DAG, sorted by any of their attributes."""
    _, spec = the_spec(call, dag_id)
    word = call.query["order_by"]
    name = word.removeprefix("-")
    if name not in _ORDERS:
        raise bad_request(f"'{name}' is no attribute of a task that tasks can be sorted by")
    rows = sorted((_Row(t, spec) for t in spec.tasks), key=lambda r: _key(r, name), reverse=word.startswith("-"))
    return TASKS.collection(rows, call)


@operation("GET /dags/{dag_id}/tasks/{task_id}", may=("read", "task"), returns=TASKS.schema)
def get_task(call: Call, dag_id: str, task_id: str) -> dict[str, Any]:
    """One task."""
    _, spec = the_spec(call, dag_id)
    for task in spec.tasks:
        if task.task_id == task_id:
            return TASKS.one(_Row(task, spec), call)
    raise not_found(f"Task with id {task_id} was not found")
