"""Backfills as domain calls: preview, create, pause, unpause, cancel; and `complete`, a duty of the scheduler.

The runs of a backfill are created with it, queued; `scheduler.begin_runs` begins them under the backfill's own
max_active_runs. Cancelling ends those that have not begun; those that run go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from apps.access import audit
from apps.dags.models import Dag
from apps.runs import claims, sql, transitions, wake
from apps.runs.actions import clearing, creation, trail
from apps.runs.backfills import slots
from apps.runs.backfills.models import Backfill
from apps.runs.errors import ActionRefused, Conflict, Invalid, NotFound
from apps.runs.models import Run
from trackside.core.reasons import Reason
from trackside.core.states import RunState, RunType, TriggeredBy
from trackside.core.timetables import generate_run_id


@dataclass(slots=True)
class Request:
    """What to backfill."""

    dag_id: str
    from_date: datetime
    to_date: datetime
    run_backwards: bool = False
    dag_run_conf: dict[str, Any] | None = None
    reprocess_behavior: str = "none"
    max_active_runs: int = 10
    run_on_latest_version: bool | None = None


def _plan(request: Request, dag: Dag, now: datetime, *, needs_slots: bool = False) -> list[slots.Slot]:
    checked = creation.checked_of(dag)
    if checked is None or dag.is_stale:
        raise NotFound(f"DAG with dag_id: '{dag.dag_id}' has no usable version")
    if dag.has_import_errors:
        raise ActionRefused(f"DAG with dag_id: '{dag.dag_id}' has import errors and cannot be backfilled")
    if request.max_active_runs < 1:
        raise Invalid("must be at least 1", field="max_active_runs")
    slots.check(
        dag, checked.dag, request.from_date, request.to_date, request.reprocess_behavior, backwards=request.run_backwards, now=now
    )
    creation.check_conf(checked.dag, request.dag_run_conf or {})
    all_slots = slots.planned(dag, request.from_date, request.to_date, now)
    if not all_slots and needs_slots:
        raise Invalid("No slot of the DAG's schedule lies between these dates and is over.")
    found = slots.chosen(dag, all_slots, request.reprocess_behavior)
    return found[::-1] if request.run_backwards else found


def _dag(dag_id: str) -> Dag:
    dag = Dag.objects.select_related("current_version").filter(dag_id=dag_id).first()
    if dag is None:
        raise NotFound(f"Could not find dag {dag_id}")
    return dag


def preview(request: Request) -> list[slots.Slot]:
    """The slots for which `create` would make a run or run one again, in their order."""
    return _plan(request, _dag(request.dag_id), sql.now())


def create(request: Request, *, actor: audit.Actor) -> Backfill:
    """Make the backfill and its runs. Raises NotFound, Invalid (422) and ActionRefused for what cannot be backfilled,
    Conflict while another backfill of the DAG is open."""
    _dag(request.dag_id)
    with transaction.atomic():
        # from here on neither the scheduler nor another backfill makes runs of this DAG
        dag = Dag.objects.select_for_update(of=("self",), no_key=True).select_related("current_version").get(dag_id=request.dag_id)
        now = sql.now()
        if Backfill.objects.filter(dag=dag, completed_at=None).exists():
            raise Conflict(f"Another backfill of dag {dag.dag_id} is open. Wait until it is complete, or cancel it.")
        found = _plan(request, dag, now, needs_slots=True)
        backfill = _insert(request, dag, actor, now)
        for order, slot in enumerate(found, 1):
            _make(backfill, dag, slot, order, actor, now)
        audit.record(
            "create_backfill", actor, dag_id=dag.dag_id, object_type="backfill", object_id=str(backfill.pk),
            extra={"after": {
                "from_date": request.from_date.isoformat(), "to_date": request.to_date.isoformat(), "runs": len(found),
                "again": sum(slot.existing is not None for slot in found), "reprocess_behavior": request.reprocess_behavior,
                "max_active_runs": request.max_active_runs, "conf": trail.conf_of(request.dag_run_conf),
            }},
        )  # fmt: skip
        wake.send_on_commit(wake.SCHEDULER, wake.LIVE)
    return backfill


def _insert(request: Request, dag: Dag, actor: audit.Actor, now: datetime) -> Backfill:
    try:
        with transaction.atomic():
            return Backfill.objects.create(
                dag=dag, from_date=request.from_date, to_date=request.to_date, dag_run_conf=request.dag_run_conf,
                reprocess_behavior=request.reprocess_behavior, max_active_runs=request.max_active_runs,
                run_on_latest_version=_on_latest_version(request, dag), triggering_user_name=actor.name, created_at=now, updated_at=now,
            )  # fmt: skip
    except IntegrityError as e:
        raise Conflict(f"Another backfill of dag {dag.dag_id} is open. Wait until it is complete, or cancel it.") from e


def _on_latest_version(request: Request, dag: Dag) -> bool:
    """What the request says, else the DAG's `rerun_with_latest_version`, else yes (rows 1.034 and 2.091)."""
    checked = creation.checked_of(dag)
    wanted = request.run_on_latest_version
    if wanted is None and checked is not None:
        wanted = checked.dag.rerun_with_latest_version
    return wanted is not False


def _make(backfill: Backfill, dag: Dag, slot: slots.Slot, order: int, actor: audit.Actor, now: datetime) -> None:
    """The run of one slot: a new one, or the one that is there, cleared. A partition gets a new run beside the old one."""
    info, run, key = slot.info, slot.existing, slot.partition_key
    place: dict[str, Any] = {"backfill_id": backfill.pk, "backfill_order": order}
    if run is not None and key is None:
        claims.lock_runs([run.pk])
        clearing.clear_run(run, actor=actor, run_on_latest_version=backfill.run_on_latest_version)
        if backfill.dag_run_conf is not None:
            place["conf"] = backfill.dag_run_conf
        Run.objects.filter(pk=run.pk).update(run_type=RunType.BACKFILL, triggered_by=TriggeredBy.BACKFILL, **place)
        return
    checked = creation.checked_of(dag)
    assert checked is not None  # _plan looked
    suffix = None if key is None else creation.partition_suffix(key)
    try:
        run = creation.create_run(
            dag, checked, run_id=generate_run_id(RunType.BACKFILL, info.run_after, info.logical_date, suffix)[:250],
            run_type=RunType.BACKFILL, logical_date=info.logical_date, interval=info.data_interval, run_after=info.run_after, now=now,
            conf=backfill.dag_run_conf, triggered_by=TriggeredBy.BACKFILL, user=actor.name, partition_key=key,
            partition_date=slot.partition_date,
        )  # fmt: skip
    except Conflict:
        return  # a person took its run id for another date: that slot is left out
    Run.objects.filter(pk=run.pk).update(**place)


def _open(backfill_id: int) -> Backfill:
    """The backfill, locked; Conflict if it is complete."""
    backfill = Backfill.objects.select_for_update(of=("self",)).select_related("dag").filter(pk=backfill_id).first()
    if backfill is None:
        raise NotFound(f"Could not find backfill with id {backfill_id}")
    if backfill.completed_at is not None:
        raise Conflict("Backfill is already completed.")
    return backfill


def set_paused(backfill_id: int, paused: bool, *, actor: audit.Actor) -> Backfill:
    """Let its queued runs wait, or begin again. Conflict if it is complete."""
    with transaction.atomic():
        backfill = _open(backfill_id)
        if backfill.is_paused != paused:
            backfill.is_paused, backfill.updated_at = paused, sql.now()
            backfill.save(update_fields=["is_paused", "updated_at"])
            action = "pause_backfill" if paused else "unpause_backfill"
            told = audit.change({"is_paused": not paused}, {"is_paused": paused})
            audit.record(action, actor, dag_id=backfill.dag_id, object_type="backfill", object_id=str(backfill.pk), extra=told)
            wake.send_on_commit(wake.SCHEDULER, wake.LIVE)
    return backfill


def cancel(backfill_id: int, *, actor: audit.Actor) -> Backfill:
    """Fail the runs that have not begun and complete the backfill. Conflict if it is complete."""
    with transaction.atomic():
        backfill = _open(backfill_id)
        queued = Run.objects.filter(dag=backfill.dag_id, backfill_id=backfill.pk, state=RunState.QUEUED).values_list("pk", flat=True)
        locked = claims.lock_runs(queued)
        now = sql.now()
        # one that began while we waited for it goes on
        waiting = list(Run.objects.filter(pk__in=locked, state=RunState.QUEUED).values_list("pk", flat=True))
        transitions.move_run("mark_failed", waiting, now, Reason("backfill_cancelled", "Its backfill was cancelled before it began."))
        told = {"before": {"is_paused": backfill.is_paused}, "after": {"cancelled": True, "runs_that_will_not_begin": len(waiting)}}
        backfill.is_paused, backfill.completed_at, backfill.updated_at = True, now, now
        backfill.save(update_fields=["is_paused", "completed_at", "updated_at"])
        audit.record("cancel_backfill", actor, dag_id=backfill.dag_id, object_type="backfill", object_id=str(backfill.pk), extra=told)
        wake.send_on_commit(wake.SCHEDULER, wake.LIVE)
    return backfill


def complete(now: datetime) -> int:
    """Complete the backfills of which no run is queued or running any more; how many."""
    return sql.run(
        "UPDATE runs_backfill b SET completed_at = %(now)s, updated_at = %(now)s WHERE completed_at IS NULL AND NOT EXISTS "
        "(SELECT 1 FROM runs_run r WHERE r.dag_id = b.dag_id AND r.state IN ('queued', 'running') AND r.backfill_id = b.id)",
        {"now": now},
    )
