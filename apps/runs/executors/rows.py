"""What the ledger knows of the tries of one executor, and their references. Reads only, but for taking and noting."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from apps.runs import claims, compiled, sql
from apps.runs.execution import tokens
from trackside.executors.base import Known, TryRef

_LIVE = """
SELECT t.id, t.round, t.state, t.kill_confirmed, t.submitted_at, t.start_date IS NOT NULL, t.heartbeat_at,
       ti.id, ti.state, ti.try_id = t.id, ti.run_id, ti.queued_at, t.facts ->> 'runner_said', t.reuse_key, t.place
FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id
WHERE t.executor = %(alias)s AND ((t.state = 'queued' AND t.submitted_at IS NOT NULL) OR t.state = 'running' OR NOT t.kill_confirmed)
"""


@dataclass(slots=True)
class Live:
    """A try that is under way with its executor, or being killed."""

    id: UUID
    round: int
    state: str
    kill_confirmed: bool
    submitted_at: datetime | None
    began: bool
    heartbeat_at: datetime | None
    pk: int
    ti_state: str
    current: bool
    run_pk: int
    queued_at: datetime | None
    runner_said: str | None
    """Why its runner stopped, if it could say that much."""
    reuse_key: str
    place: str

    @property
    def known(self) -> Known:
        """What its executor may know of it."""
        return Known(self.state, self.submitted_at, self.reuse_key, self.place)


def live(alias: str) -> dict[UUID, Live]:
    """Everything of this executor that is under way."""
    return {row[0]: Live(*row) for row in sql.rows(_LIVE, {"alias": alias})}


_STATES = "SELECT id, state, round FROM runs_try WHERE id = ANY(%s::uuid[])"


def states(try_ids: Collection[UUID]) -> dict[UUID, tuple[str, int]]:
    """State and round of tries; those that do not exist (any more) are missing."""
    return {i: (state, number) for i, state, number in sql.rows(_STATES, [list(try_ids)])} if try_ids else {}


def anything_unsubmitted(alias: str) -> bool:
    """Whether there is something to submit."""
    statement = "SELECT 1 FROM runs_try WHERE state = 'queued' AND executor = %s AND submitted_at IS NULL LIMIT 1"
    return bool(sql.rows(statement, [alias]))


def unsubmitted(alias: str) -> list[int]:
    """Task instances whose current try waits to be submitted."""
    return [r[0] for r in sql.rows(
        "SELECT ti.id FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id AND ti.try_id = t.id "
        "WHERE t.state = 'queued' AND ti.state = 'queued' AND t.executor = %s AND t.submitted_at IS NULL LIMIT 2000", [alias])]  # fmt: skip


def take(alias: str, limit: int, again: Collection[UUID]) -> list[TryRef]:
    """Take tries to be submitted (again: although they were); nobody else takes them now. A crash before the submission is
    found by `Executor.lost`."""
    return references([r[0] for r in sql.rows(claims.TAKE_UNSUBMITTED, {"executor": alias, "limit": limit, "again": list(again)})])


_REFERENCES = """
SELECT t.id, t.round, ti.dag_id, ti.task_id, r.run_id, ti.map_index, t.number, t.queue, t.submissions, r.logical_date, v.id, v.spec_hash,
       t.reuse_key, t.place
FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id JOIN runs_run r ON r.id = ti.run_id JOIN dags_dag d ON d.dag_id = ti.dag_id
LEFT JOIN dags_dagversion v ON v.id = coalesce(r.dag_version_id, d.current_version_id)
WHERE t.id = ANY(%s::uuid[]) ORDER BY ti.priority_weight DESC, t.queued_at, ti.id
"""


def references(try_ids: Collection[UUID]) -> list[TryRef]:
    """References of these tries, best first."""
    found = sql.rows(_REFERENCES, [list(try_ids)]) if try_ids else []
    dags = compiled.get_many({(r[10], r[11]) for r in found if r[10] is not None})
    refs = []
    for try_id, number, dag_id, task_id, run_id, map_index, attempt, queue, submissions, logical_date, version_id, _, key, place in found:
        task = dags[version_id].graph.tasks.get(task_id) if version_id in dags else None
        refs.append(TryRef(
            try_id, number, dag_id, task_id, run_id, map_index, attempt, queue, submissions,
            logical_date.isoformat() if logical_date else None, task.executor_config if task else {},
            tokens.start_token(try_id), key, place,
        ))  # fmt: skip
    return refs


def give_back(try_ids: Collection[UUID]) -> None:
    """These could not be submitted now: they wait for another time."""
    if try_ids:
        sql.run("UPDATE runs_try SET submitted_at = NULL WHERE id = ANY(%s::uuid[]) AND state = 'queued'", [list(try_ids)])


_SHARE = """
UPDATE runs_try t SET reuse_key = e.key, place = '' FROM unnest(%s::uuid[], %s::text[]) AS e(id, key)
WHERE t.id = e.id AND t.state = 'queued' AND t.submitted_at IS NOT NULL
"""


def share(keys: Mapping[UUID, str]) -> bool:
    """Warm pods of these keys may take these tries from now on; whoever had one handed to it before has lost it. True: there were some."""
    return bool(keys) and sql.run(_SHARE, [list(keys), list(keys.values())]) > 0


_NOTE = """
UPDATE runs_try t SET facts = coalesce(t.facts, '{}'::jsonb) || e.facts
FROM unnest(%(ids)s::uuid[], %(facts)s::jsonb[]) AS e(id, facts)
WHERE t.id = e.id AND NOT coalesce(t.facts, '{}'::jsonb) @> e.facts
"""


def note(facts: Mapping[UUID, Mapping[str, Any]]) -> None:
    """Keep what executors tell of where tries run."""
    told = {i: f for i, f in facts.items() if f}
    if told:
        texts = [orjson.dumps(f, default=str).decode().replace("\\u0000", "") for f in told.values()]
        sql.run(_NOTE, {"ids": list(told), "facts": texts})
