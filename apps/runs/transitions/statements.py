"""The statement every verb of a task instance is made of: one conditional UPDATE that also writes the event rows.

For the verbs next door; nobody outside this package uses it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.runs import sql
from trackside.core.states import TASK_TRANSITIONS, TRY_ENDED


@dataclass(frozen=True, slots=True)
class Changed:
    """One task instance that moved."""

    pk: int
    run_pk: int
    dag_id: str
    task_id: str
    map_index: int
    try_number: int
    try_id: UUID


_MOVE = """
WITH changed AS (
    UPDATE runs_taskinstance ti SET state = %(target)s::text, updated_at = %(now)s::timestamptz{sets}
    FROM runs_run r {source}
    WHERE ti.id = {match} AND ti.state = ANY(%(sources)s::text[]) AND r.id = ti.run_id
    RETURNING ti.id, ti.run_id AS run_pk, ti.dag_id, ti.task_id, ti.map_index, ti.try_number, ti.try_id, r.run_id{returning}
), said AS (
    INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload)
    SELECT %(now)s::timestamptz, 'task', %(verb)s::text, dag_id, run_pk, run_id, jsonb_build_object('state', %(target)s::text, 'tis',
           jsonb_agg(jsonb_build_array(id, task_id, map_index, try_number) ORDER BY id))
    FROM changed GROUP BY dag_id, run_pk, run_id
){more}
SELECT id, run_pk, dag_id, task_id, map_index, try_number, try_id FROM changed
"""


def statement(sets: str = "", *, source: str = "", match: str = "ANY(%(ids)s::bigint[])", returning: str = "", more: str = "") -> str:
    return _MOVE.format(sets=f", {sets}" if sets else "", source=source, match=match, returning=returning, more=more)


def move(verb: str, statement: str, now: datetime, **parameters: Any) -> list[Changed]:
    rule = TASK_TRANSITIONS[verb]
    base = {"target": rule.target, "sources": sorted(rule.sources), "verb": verb, "now": now}
    return [Changed(*row) for row in sql.rows(statement, base | parameters)]


CLEAN = "reason = NULL, reason_code = NULL, reason_since = NULL"
END_NOW = (
    "start_date = coalesce(ti.start_date, %(now)s::timestamptz), end_date = %(now)s::timestamptz, "
    "duration = extract(epoch FROM %(now)s::timestamptz - coalesce(ti.start_date, %(now)s::timestamptz))"
)

_FENCE = """
UPDATE runs_try t SET state = 'fenced', final_state = coalesce(%(final)s::text, t.final_state), end_date = %(now)s::timestamptz,
    duration = extract(epoch FROM %(now)s::timestamptz - t.start_date), kill_confirmed = (t.state <> 'running'),
    error = %(error)s::text
WHERE t.id = ANY(%(ids)s::uuid[]) AND NOT t.state = ANY(%(ended)s::text[])
"""


def fence(try_ids: Iterable[UUID], now: datetime, *, final_state: str | None, error: str | None = None) -> int:
    """End these tries from the server's side; whoever runs one learns it at the next call and kills it."""
    ids = list(try_ids)
    if not ids:
        return 0
    return sql.run(_FENCE, {"ids": ids, "now": now, "final": final_state, "error": error, "ended": [str(s) for s in TRY_ENDED]})
