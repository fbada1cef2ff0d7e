"""What else happens when a run ends: pausing after too many failures, letting the next run begin. Same transaction."""

from __future__ import annotations

from datetime import datetime

from apps.access import audit
from apps.runs import sql
from apps.runs.errands import callbacks, deadlines
from trackside.core.reasons import Reason
from trackside.core.snapshot import CompiledDag
from trackside.core.states import RunState


def run_ended(run_pk: int, dag: CompiledDag, outcome: RunState, why: Reason | None, now: datetime) -> None:
    """Called for every run that the planner ended."""
    callbacks.run_ended(run_pk, dag, outcome, why)
    if outcome is RunState.SUCCESS and dag.spec.deadlines:
        deadlines.succeeded(run_pk)
    if outcome is RunState.FAILED and dag.spec.max_consecutive_failed_dag_runs > 0:
        _pause_after_failures(dag.spec.dag_id, dag.spec.max_consecutive_failed_dag_runs)


def _pause_after_failures(dag_id: str, limit: int) -> None:
    """max_consecutive_failed_dag_runs: the newest runs (by run_after) all failed."""
    states = [
        r[0]
        for r in sql.rows(
            "SELECT state FROM runs_run WHERE dag_id = %s AND state IN ('success', 'failed') ORDER BY run_after DESC, id DESC LIMIT %s",
            [dag_id, limit],
        )
    ]
    if (
        len(states) == limit
        and all(s == "failed" for s in states)
        and sql.run(
            "UPDATE dags_dag SET is_paused = true, blocked_reason = %s WHERE dag_id = %s AND NOT is_paused",
            [
                f"Paused because the last {limit} runs failed (max_consecutive_failed_dag_runs). Unpause it when the cause is mended.",
                dag_id,
            ],
        )
    ):
        audit.record("paused", audit.Actor("scheduler", "scheduler"), dag_id=dag_id, extra={"failed_runs": limit})
