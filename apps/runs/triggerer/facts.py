"""What triggers may ask while they wait: connections, variables, the state of a run. For `service`."""

from __future__ import annotations

from typing import Any

from apps.dags import answers
from apps.runs import sql


def answer(method: str, path: str, params: dict[str, Any]) -> tuple[int, Any]:
    """Status and JSON; paths and bodies are those that tasks use (`/execution`)."""
    if (method, path) == ("GET", "/runs/state"):
        rows = sql.rows("SELECT state FROM runs_run WHERE dag_id = %s AND run_id = %s", [params.get("dag_id"), params.get("run_id")])
        return 200, {"state": rows[0][0] if rows else None}
    status, body = answers.answer(method, path, params)
    if status == 403:
        body = {"detail": f"{method} {path} is not possible in a trigger: do it in the task."}
    return status, body
