"""Take an action back, for ten minutes, as long as nothing has started from it.

`remembering` keeps what the rows of the touched runs said before an action; `undo` writes exactly that back, or refuses
with a sentence. What was stopped by an action cannot be brought back to life: then nothing is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from django.db import transaction

from apps.access import audit
from apps.access.models import AuditEvent
from apps.dags import catalogue
from apps.runs import brain, claims, sql, transitions, wake
from apps.runs.errors import Conflict, NotFound
from apps.runs.models import TaskInstance, Undo
from trackside.core.states import FINISHED, TaskState

T = TypeVar("T")
MINUTES = 10
MAX_INSTANCES = 5_000
"""Task instances of the touched runs above which nothing is remembered: the copy would cost more than the action."""
LIVE = frozenset(TaskState) - FINISHED - {TaskState.NONE, TaskState.SCHEDULED, TaskState.UP_FOR_RETRY}
"""States with a try that an action would end."""
ACTIONS = ("clear_task_instances", "clear_dag_run", "patch_task_instance", "patch_dag_run", "undo")

_REMEMBER = """
INSERT INTO runs_undo (id, at, actor, what, dag_id, dag_ids, paused, audit_id, runs, instances)
SELECT gen_random_uuid(), %(now)s::timestamptz, %(actor)s, %(what)s, %(dag)s, '[]'::jsonb, NULL, 0,
    (SELECT jsonb_agg(to_jsonb(r) - 'conf') FROM runs_run r WHERE r.id = ANY(%(runs)s::bigint[])),
    (SELECT coalesce(jsonb_agg(to_jsonb(ti) - 'rendered_fields'), '[]'::jsonb)
        FROM runs_taskinstance ti WHERE ti.run_id = ANY(%(runs)s::bigint[]))
RETURNING id
"""


def remembering(
    act: Callable[[], T], run_pks: Collection[int], touched: Sequence[TaskInstance], what: str, actor: audit.Actor
) -> tuple[T, UUID | None]:
    """Do `act` (a domain call that changes `touched` in these runs) and keep what undoes it: (its answer, id of the undo)."""
    with transaction.atomic():
        claims.lock_runs(run_pks)
        now = sql.now()
        sql.run("DELETE FROM runs_undo WHERE at < %s", [now - timedelta(minutes=6 * MINUTES)])
        states = TaskInstance.objects.filter(pk__in=[ti.pk for ti in touched]).values_list("state", flat=True)
        small = TaskInstance.objects.filter(run__in=run_pks)[: MAX_INSTANCES + 1].count() <= MAX_INSTANCES
        kept = None
        if run_pks and small and not LIVE.intersection(states):
            dag_id = touched[0].dag_id if touched else sql.rows("SELECT dag_id FROM runs_run WHERE id = %s", [next(iter(run_pks))])[0][0]
            parameters = {"now": now, "actor": actor.name, "what": what[:200], "dag": dag_id, "runs": list(run_pks)}
            kept = sql.rows(_REMEMBER, parameters)[0][0]
        answer = act()
        if kept:
            Undo.objects.filter(pk=kept).update(audit_id=_newest_audit())
    return answer, kept


def remember_pause(dag_ids: Collection[str], paused: bool, *, actor: audit.Actor) -> UUID | None:
    """Keep what undoes that these DAGs were just paused or unpaused (call it in the same transaction)."""
    if not dag_ids:
        return None
    what = f"{'Pause' if paused else 'Unpause'} {next(iter(dag_ids)) if len(dag_ids) == 1 else f'{len(dag_ids)} DAGs'}"
    kept = Undo.objects.create(
        at=sql.now(), actor=actor.name, what=what, dag_id=next(iter(dag_ids)) if len(dag_ids) == 1 else None, dag_ids=sorted(dag_ids),
        paused=paused, audit_id=_newest_audit(),
    )  # fmt: skip
    return kept.pk


def _newest_audit() -> int:
    return AuditEvent.objects.order_by("-id").values_list("id", flat=True).first() or 0


def undo(pk: UUID, *, actor: audit.Actor) -> str:
    """Take the action back; a sentence that says so. Raises NotFound, or Conflict with the reason why not."""
    with transaction.atomic():
        row = Undo.objects.select_for_update().filter(pk=pk).first()
        if row is None:
            raise NotFound(f"This can no longer be undone: {MINUTES} minutes are over.")
        if row.done_at is not None:
            raise Conflict("This was undone already.")
        now = sql.now()
        if now - row.at > timedelta(minutes=MINUTES):
            raise Conflict(f"This can no longer be undone: {MINUTES} minutes are over.")
        text = _undo_pause(row, actor) if row.paused is not None else _undo_states(row, actor)
        Undo.objects.filter(pk=pk).update(done_at=now)
    return text


def _undo_pause(row: Undo, actor: audit.Actor) -> str:
    began = sql.rows(
        "SELECT dag_id FROM runs_run WHERE dag_id = ANY(%s::text[]) AND run_type = 'scheduled' AND queued_at >= %s LIMIT 1",
        [row.dag_ids, row.at],
    )
    if not row.paused and began:
        raise Conflict(f"A run of {began[0][0]} was created meanwhile. Pause the DAG to stop further ones.")
    catalogue.set_paused(row.dag_ids, not row.paused, actor=actor)
    name = row.dag_ids[0] if len(row.dag_ids) == 1 else f"{len(row.dag_ids)} DAGs"
    if not row.paused:
        return f"Undone: paused {name} again."
    return f"Undone: {name} {'run' if len(row.dag_ids) > 1 else 'runs'} on schedule again."


def _undo_states(row: Undo, actor: audit.Actor) -> str:
    run_pks = [r["id"] for r in row.runs]
    if len(claims.lock_runs(run_pks)) < len(run_pks):
        raise Conflict("A run was deleted meanwhile.")
    claims.lock_instances(TaskInstance.objects.filter(run__in=run_pks).values_list("pk", flat=True))
    _refuse_if_moved_on(row, run_pks)
    now = sql.now()
    transitions.put_back(row.pk, run_pks, now)
    brain.touch(run_pks, now)
    for r in row.runs:
        audit.record("undo", actor, dag_id=r["dag_id"], run_id=r["run_id"], extra={"what": row.what})
    wake.send_on_commit(wake.SCHEDULER, wake.WORK, wake.LIVE)
    return f"Undone: {row.what}."


def _refuse_if_moved_on(row: Undo, run_pks: list[int]) -> None:
    started = sql.rows(
        "SELECT ti.task_id FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id "
        "WHERE ti.run_id = ANY(%s::bigint[]) AND (t.start_date >= %s OR ti.state = 'restarting') ORDER BY t.start_date LIMIT 1",
        [run_pks, row.at],
    )
    if started:
        raise Conflict(f"{started[0][0]} has started since. What runs cannot be undone; mark or clear it instead.")
    later = AuditEvent.objects.filter(
        id__gt=row.audit_id, action__in=ACTIONS, dag_id__in={r["dag_id"] for r in row.runs}, run_id__in=[r["run_id"] for r in row.runs]
    ).first()
    if later is not None:
        raise Conflict(f"{later.actor} has changed this run since. Undo that first, or do by hand what you want.")
