"""What triggers may ask while they wait: connections, variables, states and numbers of runs and task instances. For `service`."""

from __future__ import annotations

from typing import Any

from apps.access import teams
from apps.dags import answers
from apps.runs.execution import counts, stores
from apps.runs.execution.refusal import Refused
from apps.runs.stores import store

_COUNTS = {
    "/runs/state": counts.run_state,
    "/runs/count": counts.count_runs,
    "/task-instances/count": counts.count_task_instances,
    "/task-instances/states": counts.task_states,
}


def answer(method: str, path: str, params: dict[str, Any], body: Any = None, *, code: teams.Code | None = None) -> tuple[int, Any]:
    """Status and JSON; paths and bodies are those that tasks use (`/execution`).

    `code`: whose code asks. Triggers share a process, so they get only secrets that are no team's.
    """
    if method == "GET" and path in _COUNTS:
        if not params.get("dag_id"):
            return 422, {"detail": "dag_id is missing: a trigger belongs to no DAG of its own"}
        try:
            return 200, _COUNTS[path]("", params)
        except Refused as e:
            return e.status, {"detail": e.detail}
    if path == "/state/asset":
        try:
            return 200, stores.for_asset(method, params, body, store.Writer("watcher"))
        except Refused as e:
            return e.status, {"detail": e.detail}
    status, said = answers.answer(method, path, params, code=code)
    if status == 403:
        said = {"detail": f"{method} {path} is not possible in a trigger: do it in the task."}
    return status, said
