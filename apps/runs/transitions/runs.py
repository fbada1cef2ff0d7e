"""Verbs of whole runs, and the sentences of task instances and runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from apps.runs import sql
from trackside.core.reasons import Reason
from trackside.core.states import RUN_TRANSITIONS

# --- words ------------------------------------------------------------------------------------------------------------
_EXPLAIN = """
WITH changed AS (
    UPDATE runs_taskinstance ti SET reason_code = e.code, reason = e.text,
        reason_since = CASE WHEN ti.reason_code IS NOT DISTINCT FROM e.code THEN coalesce(ti.reason_since, %(now)s::timestamptz) ELSE %(now)s::timestamptz END
    FROM unnest(%(ids)s::bigint[], %(codes)s::text[], %(texts)s::text[]) AS e(pk, code, text), runs_run r
    WHERE ti.id = e.pk AND r.id = ti.run_id AND (ti.reason_code, ti.reason) IS DISTINCT FROM (e.code, e.text)
    RETURNING ti.id, ti.run_id AS run_pk, ti.dag_id, ti.task_id, ti.map_index, ti.try_number, r.run_id
), said AS (
    INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload)
    SELECT %(now)s::timestamptz, 'task', 'explain', dag_id, run_pk, run_id, jsonb_build_object('tis',
           jsonb_agg(jsonb_build_array(id, task_id, map_index, try_number) ORDER BY id))
    FROM changed GROUP BY dag_id, run_pk, run_id
)
SELECT count(*) FROM changed
"""


def explain(why: Mapping[int, Reason | None], now: datetime) -> int:
    """Write the sentences of task instances, None clears; how many are new. Pages hear "explain" (no state) for those."""
    if not why:
        return 0
    values = list(why.values())
    parameters = {"ids": list(why), "codes": [w and w.code for w in values], "texts": [w and w.text for w in values], "now": now}
    return sql.rows(_EXPLAIN, parameters)[0][0]


# --- runs -------------------------------------------------------------------------------------------------------------
_MOVE_RUN = """
WITH changed AS (
    UPDATE runs_run r SET state = %(target)s::text, updated_at = %(now)s::timestamptz, advance_at = %(advance_at)s::timestamptz, troubles = 0,
        reason_code = %(code)s::text, reason = %(text)s::text, reason_since = CASE WHEN %(code)s::text IS NULL THEN NULL ELSE %(now)s::timestamptz END{sets}
    WHERE r.id = ANY(%(ids)s::bigint[]) AND r.state = ANY(%(sources)s::text[])
    RETURNING r.id, r.dag_id, r.run_id
), said AS (
    INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload)
    SELECT %(now)s::timestamptz, 'run', %(verb)s::text, dag_id, id, run_id, jsonb_build_object('state', %(target)s::text) FROM changed
)
SELECT id FROM changed
"""
_RUN_SETS = {
    "begin": ", start_date = coalesce(r.start_date, %(now)s::timestamptz), end_date = NULL",
    "succeed": ", end_date = %(now)s::timestamptz, last_scheduling_decision = %(now)s::timestamptz",
    "fail": ", end_date = %(now)s::timestamptz, last_scheduling_decision = %(now)s::timestamptz, start_date = coalesce(r.start_date, %(now)s::timestamptz)",
    "mark_success": ", end_date = %(now)s::timestamptz",
    "mark_failed": ", end_date = %(now)s::timestamptz",
    "requeue": ", marked = NULL, queued_at = %(now)s::timestamptz, start_date = NULL, end_date = NULL, last_scheduling_decision = NULL",
}
_RUN_STATEMENTS = {verb: _MOVE_RUN.format(sets=sets) for verb, sets in _RUN_SETS.items()}


def move_run(
    verb: str, run_pks: Sequence[int], now: datetime, why: Reason | None = None, *, advance_at: datetime | None = None
) -> list[int]:
    """Make a run transition (`core.states.RUN_TRANSITIONS`); the pks that moved."""
    rule = RUN_TRANSITIONS[verb]
    parameters = {
        "target": rule.target, "sources": sorted(rule.sources), "verb": verb, "now": now, "ids": list(run_pks),
        "code": why and why.code, "text": why and why.text, "advance_at": advance_at,
    }  # fmt: skip
    return [r[0] for r in sql.rows(_RUN_STATEMENTS[verb], parameters)] if run_pks else []


def keep_mark(run_pk: int, state: str, now: datetime) -> None:
    """A person set the run to `state`, but teardowns are still to run: it goes on, and ends so when they have ended."""
    sql.run(
        "UPDATE runs_run SET marked = %s, advance_at = %s, updated_at = %s WHERE id = %s AND state IN ('queued', 'running')",
        [state, now, now, run_pk],
    )


_EXPLAIN_RUN = """
WITH before AS (SELECT id, dag_id, run_id, state, reason FROM runs_run WHERE id = %(id)s), said AS (
    INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload)
    SELECT %(now)s::timestamptz, 'run', 'explain', dag_id, id, run_id, '{}'::jsonb FROM before WHERE reason IS DISTINCT FROM %(text)s::text
)
UPDATE runs_run r SET advance_at = %(advance_at)s::timestamptz, last_scheduling_decision = %(now)s::timestamptz, troubles = 0, reason_code = %(code)s::text, reason = %(text)s::text,
    reason_since = CASE WHEN %(code)s::text IS NULL THEN NULL WHEN r.reason_code IS NOT DISTINCT FROM %(code)s::text THEN coalesce(r.reason_since, %(now)s::timestamptz)
        ELSE %(now)s::timestamptz END
WHERE r.id = %(id)s
"""


def planned_run(run_pk: int, now: datetime, why: Reason | None, advance_at: datetime | None) -> None:
    """Note that a run was planned: its sentence, and when time alone may change something."""
    sql.run(_EXPLAIN_RUN, {"id": run_pk, "now": now, "code": why and why.code, "text": why and why.text, "advance_at": advance_at})
