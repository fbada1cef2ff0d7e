"""REST: why a task instance does not run yet, under Airflow's names of dependencies.

The planner's own sentence (`TaskInstance.reason`) is used wherever it speaks of the same thing.
"""

from __future__ import annotations

from typing import Any

from apps.access.rest.errors import Problem
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import Param
from apps.runs import compiled
from apps.runs.api.lookups import the_ti
from apps.runs.models import TaskInstance
from trackside.core.rules import Upstream, Verdict, evaluate
from trackside.core.states import RunState, TaskState

_NAMES = {
    "retry": "Not In Retry Period",
    "reschedule": "Ready To Reschedule",
    "past_run": "Previous Dagrun State",
    "future": "Execution Date",
    "pool": "Pool Slots Available",
    "dag_tasks": "Max Active Tasks",
    "task_concurrency": "Task Concurrency",
}
"""Reason code → Airflow's name."""
_SCHEMA = {
    "type": "object",
    "properties": {
        "dependencies": {
            "type": "array",
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "reason": {"type": "string"}}},
        }
    },
}


def unmet(ti: TaskInstance) -> list[dict[str, str]]:
    """Every unmet dependency of an instance that waits, by name; nothing for one that runs or ended."""
    if ti.state not in (TaskState.NONE, TaskState.SCHEDULED):
        return []
    found: dict[str, str] = {}
    if ti.run.dag.is_paused:
        found["Dag Not Paused"] = "The DAG is paused. Unpause it to go on."
    if ti.run.state != RunState.RUNNING:
        found["Dagrun Running"] = f"The run is {ti.run.state}, not running." + (f" {ti.run.reason}" if ti.run.reason else "")
    if ti.state != TaskState.SCHEDULED:
        found["Task Instance State"] = "The task is not scheduled yet: nothing was decided about it."
    if (rule := _trigger_rule(ti)) is not None:
        found["Trigger Rule"] = rule
    if (name := _NAMES.get(ti.reason_code or "")) is not None:
        found[name] = ti.reason or name
    return [{"name": name, "reason": found[name]} for name in sorted(found)]


def _trigger_rule(ti: TaskInstance) -> str | None:
    """The sentence about an unmet trigger rule; None when it is met (or the task no longer exists)."""
    version = ti.dag_version or ti.run.dag_version
    dag = compiled.get_many([(version.pk, version.spec_hash)]).get(version.pk) if version is not None else None
    if dag is None or ti.task_id not in dag.graph.tasks:
        return None
    names = dag.graph.upstream[ti.task_id]
    upstream, waiting = Upstream(), []
    rows = TaskInstance.objects.filter(run=ti.run_id, task_id__in=list(names)).values_list("task_id", "state")
    for task_id, state in rows:
        upstream.add(state, is_setup=dag.graph.tasks[task_id].is_setup)
        if state not in (TaskState.SUCCESS, TaskState.SKIPPED):
            waiting.append(task_id)
    rule = dag.graph.tasks[ti.task_id].trigger_rule
    if evaluate(rule, upstream) == Verdict.RUN:
        return None
    return f"The trigger rule {rule} is not met: {', '.join(sorted(set(waiting))) or 'upstream'} not done as it asks."


def _answer(call: Call, dag_id: str, run_id: str, task_id: str, map_index: int) -> dict[str, Any]:
    try:
        ti = the_ti(call, dag_id, run_id, task_id, map_index)
    except Problem as e:
        raise Problem(404, [e.detail]) from e  # a list here, as in Airflow
    return {"dependencies": unmet(ti)}


_BASE = "GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}"


@operation(f"{_BASE}/dependencies", may=("read", "task"), query=(Param("map_index", int, -1),), returns=_SCHEMA)
def get_task_instance_dependencies(call: Call, dag_id: str, dag_run_id: str, task_id: str) -> dict[str, Any]:
    """What keeps a task instance from running."""
    return _answer(call, dag_id, dag_run_id, task_id, call.query["map_index"])


@operation(f"{_BASE}/{{map_index}}/dependencies", may=("read", "task"), path={"map_index": int}, returns=_SCHEMA)
def get_task_instance_dependencies_by_map_index(call: Call, dag_id: str, dag_run_id: str, task_id: str, map_index: int) -> dict[str, Any]:
    """What keeps a mapped task instance from running."""
    return _answer(call, dag_id, dag_run_id, task_id, map_index)
