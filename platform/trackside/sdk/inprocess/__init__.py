"""A whole run of a DAG in one process, without a server: `dag.test()`, `trackside dags test`, `trackside tasks test`.

For DAG authors. The decisions are those of a real run, because the same code makes them: `core.planning` plans,
`core.retries` counts, `sdk.execution.run_task` runs a try. Here is only what the server's tables and processes do otherwise:
`ledger` keeps the states, `server` answers the tasks' questions, `waiting` runs triggers, `console` speaks to the author.
"""

from __future__ import annotations

from trackside.sdk.inprocess.entry import render_task, run_dag, try_task
from trackside.sdk.inprocess.results import TaskResult, TestedRun

__all__ = ["TaskResult", "TestedRun", "render_task", "run_dag", "try_task"]
