"""`dag.test()` and `trackside tasks test`: what was asked for becomes a run, the ledger runs it.

For `sdk.dag.DAG.test` and `trackside.cli`. Arguments are Airflow's (row 1.041); the keyword-only ones are Trackside's own.
"""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackside.core.messages import RunRecord
from trackside.core.timetables import generate_run_id
from trackside.sdk import arguments as check
from trackside.sdk.exceptions import TaskNotFound
from trackside.sdk.execution import current
from trackside.sdk.execution.context import merged_params
from trackside.sdk.execution.records import to_wire
from trackside.sdk.inprocess import console
from trackside.sdk.inprocess.files import read_connections, read_variables
from trackside.sdk.inprocess.ledger import Ledger
from trackside.sdk.inprocess.results import TaskResult, TestedRun
from trackside.sdk.inprocess.server import LocalServer
from trackside.sdk.types import NOTSET, is_arg_set

if TYPE_CHECKING:
    from trackside.sdk.dag import DAG

log = console.log


def run_dag(
    dag: DAG,
    run_after: datetime | None = None,
    logical_date: Any = NOTSET,
    run_conf: dict[str, Any] | None = None,
    conn_file_path: str | Path | None = None,
    variable_file_path: str | Path | None = None,
    use_executor: bool = False,
    mark_success_pattern: str | re.Pattern[str] | None = None,
    *,
    answers: Mapping[str, Sequence[str]] | None = None,
    wait_for_retries: bool = True,
    others: Iterable[DAG] = (),
) -> TestedRun:
    """One manual run of the whole DAG in this process, to its end. See `DAG.test` for the arguments.

    `others`: DAGs that TriggerDagRunOperator may start (by default those of the script that runs). Raises what is wrong
    with the DAG, ParamValidationError for a conf that does not fit the params, ValueError for files that cannot be read.
    """
    console.set_up()
    if use_executor:
        log.warning("use_executor is ignored: dag.test() runs every task in this process")
    dag.validate()
    merged_params(dag, None, run_conf)
    mark = re.compile(mark_success_pattern) if isinstance(mark_success_pattern, str) else mark_success_pattern
    known = {other.dag_id: other for other in (*_dags_of_the_script(), *others, dag)}
    server = LocalServer(
        connections=read_connections(conn_file_path) if conn_file_path else None,
        variables=read_variables(variable_file_path) if variable_file_path else None,
        dags=known,
    )
    ledger = Ledger(dag, _record(dag, run_after, logical_date, run_conf), server, mark=mark, answers=answers, patient=wait_for_retries)
    with current.use_comms(server):
        return ledger.run()


def try_task(dag: DAG, task_id: str, *, map_index: int = -1, **arguments: Any) -> TaskResult:
    """One try of one task, whatever it depends on; deferrals and reschedules are waited for, retries are not made.

    Further arguments: `logical_date`, `run_conf`, `task_params` (over the conf), `conn_file_path`, `variable_file_path`,
    `xcoms` (task id → return value that the task finds there) and `others`, as `run_dag`. Raises TaskNotFound, and as `run_dag`.
    """
    ledger = _alone(dag, task_id, **arguments)
    with current.use_comms(ledger.server):
        return ledger.run_one(task_id, map_index)


def render_task(dag: DAG, task_id: str, *, map_index: int = -1, **arguments: Any) -> dict[str, Any]:
    """Template fields of a task as a try would see them; nothing is executed. Arguments and errors as `try_task`.

    Raises what a template raises.
    """
    ledger = _alone(dag, task_id, **arguments)
    with current.use_comms(ledger.server):
        return ledger.render(task_id, map_index)


def _alone(
    dag: DAG,
    task_id: str,
    *,
    logical_date: Any = NOTSET,
    run_conf: dict[str, Any] | None = None,
    task_params: dict[str, Any] | None = None,
    conn_file_path: str | Path | None = None,
    variable_file_path: str | Path | None = None,
    xcoms: Mapping[str, Any] | None = None,
    others: Iterable[DAG] = (),
) -> Ledger:
    console.set_up()
    dag.validate()
    if not dag.has_task(task_id):
        raise TaskNotFound(f"DAG {dag.dag_id!r} has no task {task_id!r}; it has {', '.join(sorted(dag.task_ids))}")
    server = LocalServer(
        connections=read_connections(conn_file_path) if conn_file_path else None,
        variables=read_variables(variable_file_path) if variable_file_path else None,
        dags={other.dag_id: other for other in (*others, dag)},
    )
    ledger = Ledger(dag, _record(dag, None, logical_date, {**(run_conf or {}), **(task_params or {})}), server)
    for other, value in (xcoms or {}).items():
        server.publish(dag.dag_id, ledger.record.run_id, other, value)
    return ledger


def _record(dag: DAG, run_after: datetime | None, logical_date: Any, conf: dict[str, Any] | None) -> RunRecord:
    now = datetime.now(UTC)
    date = check.moment("logical_date", logical_date) if is_arg_set(logical_date) else now
    after = check.moment("run_after", run_after) or now
    start = end = None
    if date is not None:
        infer = getattr(dag.timetable, "infer_manual_data_interval", None)
        interval = infer(run_after=date) if infer is not None else None
        start, end = (interval.start, interval.end) if interval is not None else (date, date)
    return RunRecord(
        dag.dag_id,
        generate_run_id("manual", after, date, secrets.token_hex(4)),
        logical_date=to_wire(date),
        data_interval_start=to_wire(start),
        data_interval_end=to_wire(end),
        run_after=to_wire(after),
        queued_at=to_wire(now),
        start_date=to_wire(now),
        conf=dict(conf or {}),
        triggered_by="test",
        triggering_user_name="dag_test",
    )


def _dags_of_the_script() -> list[DAG]:
    from trackside.sdk.dag import DAG

    return [value for value in vars(sys.modules["__main__"]).values() if isinstance(value, DAG)]

