"""Facts about runs and task instances that sensors ask for: how many are in which state, and the states themselves.

For task code (`data`, with a try's token) and for triggers (`apps.runs.triggerer.facts`). `query` is that of the HTTP call:
texts, lists as JSON; the DAG is the asker's own unless the query names another.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from apps.runs import sql
from apps.runs.execution import checking
from apps.runs.execution.refusal import Refused

_RUNS = """
FROM runs_run r WHERE r.dag_id = %(dag)s AND (%(states)s::text[] IS NULL OR r.state = ANY(%(states)s::text[]))
  AND (%(dates)s::timestamptz[] IS NULL OR r.logical_date = ANY(%(dates)s::timestamptz[])) AND (%(ids)s::text[] IS NULL OR r.run_id = ANY(%(ids)s::text[]))
"""
_TASKS = """
FROM runs_taskinstance ti JOIN runs_run r ON r.id = ti.run_id
WHERE ti.dag_id = %(dag)s AND (%(tasks)s::text[] IS NULL OR ti.task_id = ANY(%(tasks)s::text[])) AND (%(states)s::text[] IS NULL OR ti.state = ANY(%(states)s::text[]))
  AND (%(dates)s::timestamptz[] IS NULL OR r.logical_date = ANY(%(dates)s::timestamptz[])) AND (%(ids)s::text[] IS NULL OR r.run_id = ANY(%(ids)s::text[]))
  AND (%(index)s::int IS NULL OR ti.map_index = %(index)s)
"""
Query = dict[str, str]


def listed(query: dict[str, str], name: str) -> list[str] | None:
    """A comma-separated or JSON list of a query parameter; None if it is not there."""
    raw = query.get(name)
    if not raw:
        return None
    if raw.startswith("["):
        try:
            return [str(x) for x in orjson.loads(raw)]
        except orjson.JSONDecodeError as e:
            raise Refused(422, f"{name} is not a list: {e}") from e
    return raw.split(",")


def moments(query: dict[str, str], name: str) -> list[datetime] | None:
    texts = listed(query, name)
    return None if texts is None else [checking.moment(t, name) for t in texts]


def count_runs(own_dag: str, query: Query) -> dict[str, Any]:
    """`{"count": n}` of the runs that match states, logical_dates and run_ids."""
    return {"count": sql.rows("SELECT count(*) " + _RUNS, _runs(own_dag, query))[0][0]}


def run_state(own_dag: str, query: Query) -> dict[str, Any]:
    """`{"state": …}` of one run, null if there is none."""
    key = [query.get("dag_id") or own_dag, query.get("run_id")]
    rows = sql.rows("SELECT state FROM runs_run WHERE dag_id = %s AND run_id = %s", key)
    return {"state": rows[0][0] if rows else None}


def count_task_instances(own_dag: str, query: Query) -> dict[str, Any]:
    """`{"count": n}` of the task instances that match."""
    return {"count": sql.rows("SELECT count(*) " + _TASKS, _tasks(own_dag, query))[0][0]}


def task_states(own_dag: str, query: Query) -> dict[str, Any]:
    """`{"states": …}`: run id → task id (with _index when mapped) → state (null for none)."""
    out: dict[str, dict[str, str | None]] = {}
    rows = sql.rows("SELECT r.run_id, ti.task_id, ti.map_index, ti.state " + _TASKS, _tasks(own_dag, query))
    for run_id, task_id, map_index, state in rows:
        out.setdefault(run_id, {})[task_id if map_index < 0 else f"{task_id}_{map_index}"] = None if state == "none" else state
    return {"states": out}


def _runs(own_dag: str, query: Query) -> dict[str, Any]:
    return {
        "dag": query.get("dag_id") or own_dag, "states": listed(query, "states"), "dates": moments(query, "logical_dates"),
        "ids": listed(query, "run_ids"),
    }  # fmt: skip


def _tasks(own_dag: str, query: Query) -> dict[str, Any]:
    found = _runs(own_dag, query)
    tasks = listed(query, "task_ids")
    if query.get("task_group_id"):
        tasks = [*(tasks or []), *_group(found["dag"], query["task_group_id"])]
    return {**found, "tasks": tasks, "index": checking.whole(query.get("map_index"), "map_index")}


def _group(dag_id: str, group_id: str) -> list[str]:
    from apps.runs.compiled import of_version

    version = sql.rows("SELECT current_version_id FROM dags_dag WHERE dag_id = %s", [dag_id])
    return list(of_version(version[0][0]).graph.group_tasks(group_id)) if version and version[0][0] else []
