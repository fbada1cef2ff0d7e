"""The door of warm pods, `POST /execution/warm/next`: the report of the try that has ended goes up, the order of the next comes down.

A pod asks for what its token names (`Grant`): tries that were submitted for its reuse key, and, ahead of their submission, queued
tries of its DAG that would be (same `executor_config`, and no executor process with other settings lives). It holds one
try at a time. Every call has a number (`seq`): a try that was handed out in an earlier call and is not known to have ended
was in an answer that got lost, and is handed out again; nobody else can have begun it. Everything else about a try goes
through the doors of a single runner (`doors`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.runs import claims, compiled, sql, transitions, wake
from apps.runs.execution import checking, doors, orders, tokens
from apps.runs.execution.refusal import Refused
from trackside.executors.base import Grant, config_digest

DIRECT = 20
"""Queued tries of the DAG that are looked at for one that need not be submitted first."""


@dataclass(slots=True)
class HandOut:
    """The answer: `order` of the next try, `finished`: what became of the report; or nothing."""

    body: dict[str, Any] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Nothing to tell: the call may be parked."""
        return not self.body


def grant_of(token: str) -> Grant:
    """What the caller may ask for. Raises Refused."""
    found = tokens.grant_of(token)
    if found is None:
        raise Refused(401, "This token does not let a warm pod ask for tries (any more).")
    return found


def serve(grant: Grant, body: dict[str, Any]) -> HandOut:
    """Everything of one call except waiting."""
    answer = HandOut()
    finished = checking.field(body, "finished", dict, default=None)
    wake_others: Callable[[int], None] = lambda _started: None  # noqa: E731
    if finished:
        try:
            answer.body["finished"], wake_others = doors.end(
                token=str(finished.get("token")), body=finished, try_id=str(finished.get("try_id"))
            )
        except Refused as e:
            answer.body["finished"] = {"status": e.status, "detail": e.detail}
    order = None
    try:
        order = look(grant, body) if body.get("take", True) else None
    finally:  # only now: nobody else need look for what this very call has brought and taken
        wake_others(1 if order is not None else 0)
    if order is not None:
        answer.body["order"] = order
        wake.send(wake.LIVE)
    return answer


def look(grant: Grant, body: dict[str, Any]) -> dict[str, Any] | None:
    """The order of the next try, if there is one; it runs from then on."""
    seq = checking.field(body, "seq", int, default=0) or 0
    parameters = {"key": grant.reuse_key, "place": grant.place, "seq": seq}
    direct = [] if (found := sql.rows(_LOOK, parameters)) else _direct(grant)
    if not direct and not found:
        return None
    with transaction.atomic():
        now = sql.now()
        claims.lock_place(grant.place)
        found = sql.rows(_LOOK, parameters)
        if lost := [row for row in found if row[3]]:
            # before anything else is locked: the run is planned by others meanwhile
            claims.lock_runs(row[4] for row in lost)
            transitions.requeue([row[0] for row in sql.rows(_LOOK, parameters) if row[3]], now)
            found = sql.rows(_LOOK, parameters)
        handed = _handed(grant, found, direct)
        if handed is None:
            return None
        order = orders.claim_one(handed, hostname=str(body.get("hostname", ""))[:1000], now=now, epoch=seq)
    if order is None:
        wake.send(wake.WORK)  # it is this place's, but its rows were locked: look again at once, not at the end of the wait
    return order


# What this place has (mine, still queued, lost on the way), and whether anything waits for one of its key. The literals repeat the
# condition of the index try_reuse.
_LOOK = """
SELECT t.id, t.place = %(place)s::text, t.state = 'queued' AND ti.state = 'queued' AND ti.try_id = t.id,
       t.place = %(place)s::text AND t.state = 'running' AND t.worker_epoch < %(seq)s::int, ti.run_id
FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id
WHERE t.reuse_key = %(key)s::text AND t.reuse_key > '' AND (t.state IN ('queued', 'running') OR NOT t.kill_confirmed)
    AND t.place IN ('', %(place)s::text)
ORDER BY 2 DESC LIMIT 3
"""


def _handed(grant: Grant, found: list[tuple], direct: list[UUID]) -> UUID | None:
    """The try this place has or gets now; None while one that it had is being ended."""
    mine = [(try_id, is_queued) for try_id, is_mine, is_queued, *_ in found if is_mine]
    if mine:
        return mine[0][0] if all(is_queued for _, is_queued in mine) else None
    parameters = {"key": grant.reuse_key, "place": grant.place}
    rows = sql.rows(claims.HAND_TO_PLACE, parameters) if found else []
    if not rows and direct:
        rows = sql.rows(claims.SUBMIT_TO_PLACE, {**parameters, "ids": direct})
    return rows[0][0] if rows else None


# Queued tries of the DAG that no executor has taken up, and whether all living executor processes would make the same pod for the same
# wishes as the one that made this place.
_UNSUBMITTED = """
SELECT t.id, v.id, v.spec_hash, ti.task_id,
    (SELECT coalesce(bool_and(info -> 'places' ->> %(alias)s::text = %(site)s::text), false) FROM runs_process
     WHERE kind = 'executor' AND ended_at IS NULL AND lease_until > clock_timestamp() AND info -> 'places' ? %(alias)s::text)
FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id JOIN runs_run r ON r.id = ti.run_id JOIN dags_dag d ON d.dag_id = ti.dag_id
JOIN dags_dagversion v ON v.id = coalesce(r.dag_version_id, d.current_version_id)
WHERE t.state = 'queued' AND t.submitted_at IS NULL AND t.executor = %(alias)s::text AND ti.dag_id = %(dag_id)s::text
    AND ti.state = 'queued' AND ti.try_id = t.id
ORDER BY ti.priority_weight DESC, r.run_after, ti.map_index, ti.id LIMIT %(limit)s::int
"""


def _direct(grant: Grant) -> list[UUID]:
    """Queued tries that their executor has not seen yet and for which it would name this key, best first."""
    rows = sql.rows(_UNSUBMITTED, {"alias": grant.alias, "dag_id": grant.dag_id, "site": grant.site, "limit": DIRECT})
    if not rows or not rows[0][4]:
        return []
    dags = compiled.get_many({(version_id, spec_hash) for _, version_id, spec_hash, *_ in rows})
    return [try_id for try_id, version_id, _, task_id, _ in rows if _config_of(dags.get(version_id), task_id) == grant.config]


def _config_of(dag: compiled.CompiledDag | None, task_id: str) -> str:
    task = dag.graph.tasks.get(task_id) if dag is not None else None
    return config_digest(task.executor_config) if task is not None else ""
