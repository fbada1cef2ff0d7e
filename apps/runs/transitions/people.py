"""What people (and timeouts) do to task instances: mark, clear, undo. Running tries are fenced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from apps.runs import claims, sql
from apps.runs.transitions.statements import CLEAN, END_NOW, Changed, fence, move, statement
from trackside.core.states import TaskState

_MARK = statement(f"next_at = NULL, next_method = NULL, next_kwargs = NULL, trigger_id = NULL, {END_NOW}, {CLEAN}")
_MARKS = {TaskState.SUCCESS: "mark_success", TaskState.FAILED: "mark_failed", TaskState.SKIPPED: "mark_skipped"}


def mark(ids: Sequence[int], state: TaskState, now: datetime, *, error: str | None = None) -> list[Changed]:
    """Set success, failed or skipped by hand (or by a timeout, or fail_fast); running tries are fenced and killed."""
    changed = move(_MARKS[state], _MARK, now, ids=list(ids)) if ids else []
    fence([c.try_id for c in changed], now, final_state=state, error=error or f"Marked {state}.")
    return changed


_RESTART = statement("max_tries = ti.try_number + (%(retries)s::int[])[array_position(%(ids)s::bigint[], ti.id)]")
_CLEAR = statement(
    "try_id = gen_random_uuid(), reschedules = 0, infra_failures = 0, next_at = NULL, next_method = NULL, next_kwargs = NULL, trigger_id = NULL, "
    "max_tries = CASE WHEN ti.state = 'restarting' THEN ti.max_tries "
    "ELSE ti.try_number + (%(retries)s::int[])[array_position(%(ids)s::bigint[], ti.id)] END, "
    f"rendered_map_index = CASE WHEN ti.map_index >= 0 THEN ti.map_index::text END, {CLEAN}"
)


def restart(retries: Mapping[int, int], now: datetime) -> list[Changed]:
    """Running → restarting (clear of a running task): its try is fenced; once it is confirmed dead the instance is cleared.

    `retries`: task instance pk → retries the task has now.
    """
    changed = move("restart", _RESTART, now, ids=list(retries), retries=list(retries.values())) if retries else []
    fence([c.try_id for c in changed], now, final_state=TaskState.FAILED, error="Cleared while it was running.")
    return changed


def clear(retries: Mapping[int, int], now: datetime) -> list[Changed]:
    """Back to none with a new try to come; max_tries = tries so far + retries (Airflow's rule)."""
    if not retries:
        return []
    # locked before anything is fenced: a claim in between would leave a running instance with a fenced try
    held = claims.lock_instances(retries)
    fence([try_id for state, try_id in held.values() if state != TaskState.RUNNING], now, final_state=None)
    return move("clear", _CLEAR, now, ids=list(retries), retries=list(retries.values()))


BACK = (
    "state", "map_index", "try_id", "try_number", "max_tries", "infra_failures", "queued_at", "scheduled_at", "start_date", "end_date", "duration",
    "next_at", "reschedules", "next_method", "next_kwargs", "trigger_id", "reason_code", "reason", "reason_since", "note", "note_user",
    "rendered_map_index", "pool", "pool_slots", "queue", "priority_weight", "executor", "operator", "dag_version_id",
)  # fmt: skip
RUN_BACK = (
    "state", "queued_at", "start_date", "end_date", "last_scheduling_decision", "clear_number", "reason_code", "reason", "reason_since", "note",
    "note_user", "dag_version_id", "marked",
)  # fmt: skip
_PUT_BACK = f"""
WITH gone AS (
    DELETE FROM runs_taskinstance ti USING runs_undo u WHERE u.id = %(undo)s AND ti.run_id = ANY(%(runs)s::bigint[])
        AND NOT EXISTS (SELECT 1 FROM jsonb_array_elements(u.instances) e WHERE (e->>'id')::bigint = ti.id)
), old AS (
    SELECT o.* FROM runs_undo u, jsonb_populate_recordset(NULL::runs_taskinstance, u.instances) o WHERE u.id = %(undo)s
), unstarted AS (
    DELETE FROM runs_try t USING old WHERE t.ti_id = old.id AND t.state = 'queued' AND t.start_date IS NULL AND t.id <> old.try_id
), changed AS (
    UPDATE runs_taskinstance ti SET updated_at = %(now)s::timestamptz, {", ".join(f"{c} = old.{c}" for c in BACK)}
    FROM old, runs_run r WHERE ti.id = old.id AND r.id = ti.run_id AND (ti.state, ti.try_id, ti.try_number, ti.max_tries, ti.note, ti.reason)
        IS DISTINCT FROM (old.state, old.try_id, old.try_number, old.max_tries, old.note, old.reason)
    RETURNING ti.id, ti.run_id AS run_pk, ti.dag_id, ti.task_id, ti.map_index, ti.try_number, ti.state, r.run_id
), said AS (
    INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload)
    SELECT %(now)s::timestamptz, 'task', 'undo', dag_id, run_pk, run_id, jsonb_build_object('state', state, 'tis',
           jsonb_agg(jsonb_build_array(id, task_id, map_index, try_number) ORDER BY id))
    FROM changed GROUP BY dag_id, run_pk, run_id, state
), old_run AS (
    SELECT o.* FROM runs_undo u, jsonb_populate_recordset(NULL::runs_run, u.runs) o WHERE u.id = %(undo)s
), changed_run AS (
    UPDATE runs_run r SET updated_at = %(now)s::timestamptz, advance_at = NULL, {", ".join(f"{c} = old_run.{c}" for c in RUN_BACK)}
    FROM old_run WHERE r.id = old_run.id RETURNING r.id, r.dag_id, r.run_id, r.state
)
INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload)
SELECT %(now)s::timestamptz, 'run', 'undo', dag_id, id, run_id, jsonb_build_object('state', state) FROM changed_run
"""


def put_back(undo: UUID, run_pks: Sequence[int], now: datetime) -> None:
    """Write back what `runs_undo` kept of these runs. The caller locked runs and instances and knows that nothing started
    since; tries that were made but never handed out are forgotten."""
    sql.run(_PUT_BACK, {"undo": undo, "runs": list(run_pks), "now": now})
