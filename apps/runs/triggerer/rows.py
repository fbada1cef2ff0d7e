"""Rows of triggers: written in the transaction of the deferral, deleted when nobody waits for them any more.

For `execution.reports` (writes), `service` (claims and reads) and the scheduler (sweeps and explains).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.access.crypto import WrongKey, decrypt
from apps.runs import brain, claims, sql, transitions, wake
from apps.runs.assets import watchers
from apps.runs.models import Trigger
from apps.runs.transitions import Changed
from trackside.core.reasons import Reason
from trackside.core.states import TaskState
from trackside.runner.jsonio import exact_dumps, exact_loads

EXPLAIN_AFTER = timedelta(seconds=3)
"""A trigger that nobody took for this long has a reason worth telling."""
NO_TRIGGERER = "no_triggerer"


def store(changed: Sequence[Changed], deferrals: Mapping[int, Mapping[str, Any]], now: datetime) -> None:
    """Write the triggers of instances that have just been deferred (`deferrals`: instance pk → the report's deferral)."""
    if not changed:
        return
    rows = [_row(c, deferrals[c.pk], now) for c in changed]
    Trigger.objects.filter(ti__in=[c.pk for c in changed]).delete()
    Trigger.objects.bulk_create(rows)
    sql.run(
        "UPDATE runs_taskinstance ti SET trigger_id = e.id FROM unnest(%s::bigint[], %s::bigint[]) AS e(pk, id) WHERE ti.id = e.pk",
        [[r.ti_id for r in rows], [r.pk for r in rows]],
    )
    is_served = _is_served()
    transitions.explain({r.ti_id: waiting(r.classpath) if is_served else unserved(r.classpath, False) for r in rows}, now)
    # a limit to the wait may now be the scheduler's next due moment
    has_limit = any(deferrals[c.pk].get("timeout_s") is not None for c in changed)
    wake.send_on_commit(wake.TRIGGER, *((wake.SCHEDULER,) if has_limit else ()))


def _row(c: Changed, deferral: Mapping[str, Any], now: datetime) -> Trigger:
    queue = deferral.get("queue")
    return Trigger(
        ti_id=c.pk, try_id=c.try_id, classpath=str(deferral.get("classpath") or "")[:1000],
        kwargs=exact_dumps(deferral.get("kwargs") or {}).decode(), queue=str(queue)[:256] if queue else None, created_at=now,
    )  # fmt: skip


def _is_served() -> bool:
    return bool(
        sql.rows("SELECT 1 FROM runs_process WHERE kind = 'triggerer' AND ended_at IS NULL AND lease_until > clock_timestamp() LIMIT 1")
    )


# --- words ------------------------------------------------------------------------------------------------------------
def waiting(classpath: str) -> Reason:
    """Somebody waits for it."""
    return Reason("trigger", f"Waits for its trigger {classpath.rpartition('.')[2]} to fire.")


def unserved(classpath: str, is_full: bool) -> Reason:
    """Nobody waits for it, and what helps."""
    name = classpath.rpartition(".")[2]
    if is_full:
        text = f"Waits for its trigger {name}; every triggerer is full. Start another, or raise TRACKSIDE_TRIGGER_CAPACITY."
        return Reason("triggerer_full", text)
    return Reason(NO_TRIGGERER, f"Waits for its trigger {name}; no triggerer runs. Start one: trackside triggerer")


_UNSERVED = """
SELECT ti.id, ti.run_id, g.classpath FROM runs_trigger g
JOIN runs_taskinstance ti ON ti.id = g.ti_id AND ti.state = 'deferred' AND ti.try_id = g.try_id
LEFT JOIN runs_process p ON p.id = g.triggerer_id
WHERE g.created_at < %(before)s AND ti.reason_code IS DISTINCT FROM %(code)s
  AND (p.id IS NULL OR p.ended_at IS NOT NULL OR p.lease_until < clock_timestamp()) LIMIT 2000
"""


def explain_unserved(now: datetime) -> None:
    """Triggers that no living triggerer holds say so."""
    is_full = _is_served()
    rows = sql.rows(_UNSERVED, {"before": now - EXPLAIN_AFTER, "code": unserved("", is_full).code})
    _explain({pk: unserved(classpath, is_full) for pk, _, classpath in rows}, {run_pk for _, run_pk, _ in rows}, now)


def _explain(why: Mapping[int, Reason], run_pks: Collection[int], now: datetime) -> None:
    if why:
        with transaction.atomic():
            transitions.explain({pk: why[pk] for pk in claims.free_instances(why, TaskState.DEFERRED)}, now)
        brain.touch(run_pks, now)
        wake.send(wake.SCHEDULER)


def tidy(now: datetime) -> None:
    """The scheduler's share: works without a triggerer, too."""
    sweep()
    explain_unserved(now)
    watchers.sync()


def sweep() -> int:
    """Delete triggers nobody waits for any more; the number deleted."""
    return sql.run(claims.DELETE_DEAD_TRIGGERS)


# --- the triggerer's side ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Job:
    """A trigger to run, and whose it is."""

    id: int
    try_id: UUID
    message: dict[str, Any]
    """What the child needs to start it; with "wrong" it cannot be started, and why."""


_JOBS = """
SELECT g.id, g.try_id, g.classpath, g.kwargs, ti.dag_id, r.run_id, ti.task_id, ti.map_index, ti.try_number, d.fileloc
FROM runs_trigger g JOIN runs_taskinstance ti ON ti.id = g.ti_id JOIN runs_run r ON r.id = ti.run_id JOIN dags_dag d ON d.dag_id = ti.dag_id
WHERE g.id = ANY(%s::bigint[]) ORDER BY ti.priority_weight DESC, g.id
"""


def jobs(ids: Iterable[int]) -> list[Job]:
    """What is needed to run these triggers, most important first."""
    out = []
    for pk, try_id, classpath, kwargs, dag_id, run_id, task_id, map_index, try_number, fileloc in sql.rows(_JOBS, [list(ids)]):
        ti = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index, "try_number": try_number, "id": str(try_id)}
        message: dict[str, Any] = {"do": "start", "id": pk, "classpath": classpath, "ti": ti, "dag_file": fileloc}
        try:
            message["kwargs"] = exact_loads(decrypt(kwargs))
        except WrongKey as e:
            message["wrong"] = str(e)
        out.append(Job(pk, try_id, message))
    return out


def held(triggerer: UUID) -> set[int]:
    """Triggers that this triggerer holds and for which a task still waits."""
    return {
        r[0]
        for r in sql.rows(
            "SELECT g.id FROM runs_trigger g JOIN runs_taskinstance ti ON ti.id = g.ti_id "
            "WHERE ti.state = 'deferred' AND ti.try_id = g.try_id AND g.triggerer_id = %s",
            [triggerer],
        )
    }


def is_wanted(ids: Iterable[int]) -> set[int]:
    """Those of the triggers for which a task still waits, whoever holds them."""
    return {
        r[0]
        for r in sql.rows(
            "SELECT g.id FROM runs_trigger g JOIN runs_taskinstance ti ON ti.id = g.ti_id "
            "WHERE ti.state = 'deferred' AND ti.try_id = g.try_id AND g.id = ANY(%s::bigint[])",
            [list(ids)],
        )
    }


def claim(triggerer: UUID, room: int, queues: Sequence[str] | None, now: datetime) -> set[int]:
    """Take up to `room` triggers that no living triggerer holds. `queues`: only these; None: those without a queue too."""
    if room <= 0:
        return set()
    taken = sql.rows(claims.TAKE_TRIGGERS, {"me": triggerer, "now": now, "limit": room, "queues": list(queues) if queues else None})
    told = {pk: (run_pk, classpath) for _, pk, run_pk, classpath, code in taken if code != "trigger"}
    _explain({pk: waiting(classpath) for pk, (_, classpath) in told.items()}, {run_pk for run_pk, _ in told.values()}, now)
    return {r[0] for r in taken}
