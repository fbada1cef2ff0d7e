"""Deadlines of runs: made with the run, watched by the scheduler, missed for good, gone when the run succeeds in time.

Rules 1.232-1.236 of Airflow. References of the product are computed here, own ones by an errand (`jobs._deadline`); intervals
read from a variable are read when the run is made. Callbacks are errands: AsyncCallback in the triggerer's child, SyncCallback
in a callback process; of runs that keep a version of their bundle both in a callback process.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction

from apps.access.models import Variable
from apps.runs import sql, wake
from apps.runs.errands import queue
from apps.runs.errands.models import Deadline, Errand
from apps.runs.models import Event, Run
from trackside.core.spec import DagSpec

logger = logging.getLogger(__name__)

QUEUED_AT = "DagRunQueuedAtDeadline"
BATCH = 100


def create(run: Run, spec: DagSpec, now: datetime) -> None:
    """Deadlines of a run that is just being made, in its transaction. What cannot be computed is logged, never raised: a
    deadline must not keep a run from being made."""
    for index, alert in enumerate(spec.deadlines):
        reference = alert.get("reference") or {}
        interval = _seconds(alert.get("interval"), spec.dag_id)
        if interval is None:
            continue
        kind = str(reference.get("reference_type"))
        if reference.get("classpath"):
            payload = {"index": index, "interval": interval, "reference": kind, **{k: alert.get(k) for k in ("name", "callback")}}
            queue.put("deadline", f"Deadline reference {kind}", payload, dag_id=spec.dag_id, run_pk=run.pk)
        elif (at := _reference(kind, reference, run, now)) is not None:
            _add(run.pk, index, alert.get("name"), kind, interval, alert.get("callback") or {}, at)


def _seconds(interval: Any, dag_id: str) -> float | None:
    if isinstance(interval, int | float):
        return float(interval)
    key = interval.get("variable") if isinstance(interval, dict) else None
    try:
        return float(Variable.objects.get(key=key).value)
    except Variable.DoesNotExist:
        logger.warning("deadline of %s: variable %r with its interval does not exist; the run has no such deadline", dag_id, key)
    except (TypeError, ValueError):
        logger.warning("deadline of %s: variable %r is not a number of seconds; the run has no such deadline", dag_id, key)
    return None


def _reference(kind: str, reference: dict[str, Any], run: Run, now: datetime) -> datetime | None:
    """The moment the interval is counted from; None: this run has none."""
    match kind:
        case "DagRunLogicalDateDeadline":
            return run.logical_date
        case "DagRunQueuedAtDeadline":
            return run.queued_at or now
        case "FixedDatetimeDeadline":
            at = datetime.fromisoformat(str(reference.get("datetime")))
            return at if at.tzinfo else at.replace(tzinfo=UTC)
        case "AverageRuntimeDeadline":
            return _average(run.dag_id, int(reference.get("max_runs") or 10), reference.get("min_runs"), now)
    logger.warning("deadline of %s: reference %s is not known", run.dag_id, kind)
    return None


def _average(dag_id: str, most: int, least: int | None, now: datetime) -> datetime | None:
    """Of successful runs only: one that failed at once or hung tells nothing of the usual length."""
    seconds = [r[0] for r in sql.rows(
        "SELECT extract(epoch FROM end_date - start_date) FROM runs_run WHERE dag_id = %s AND start_date IS NOT NULL "
        "AND end_date IS NOT NULL AND state = 'success' "
        "ORDER BY logical_date DESC NULLS FIRST, id DESC LIMIT %s", [dag_id, most])]  # fmt: skip
    if len(seconds) < (least or most):
        return None
    return now + timedelta(seconds=float(sum(seconds)) / len(seconds))


def _add(run_pk: int, index: int, name: str | None, kind: str, interval: float, callback: dict[str, Any], at: datetime) -> None:
    try:
        moment = at + timedelta(seconds=interval)
    except OverflowError:
        return
    fields = {"name": name, "reference": kind, "interval": interval, "callback": callback, "deadline_time": moment}
    Deadline.objects.update_or_create(run_id=run_pk, alert=index, defaults=fields)
    wake.send_on_commit(wake.SCHEDULER)


def referenced(errand: Errand, ok: bool, result: Any, now: datetime) -> None:
    """An own reference gave its moment."""
    asked = errand.payload
    if ok and isinstance(result, str) and errand.run_id is not None:
        _add(errand.run_id, asked["index"], asked.get("name"), asked["reference"], asked["interval"], asked["callback"] or {},
             datetime.fromisoformat(result))  # fmt: skip


def requeued(run_pks: Sequence[int], now: datetime) -> None:
    """Runs were cleared: deadlines counted from the queueing begin anew, missed ones too (Airflow's rule)."""
    for deadline in Deadline.objects.filter(run_id__in=list(run_pks), reference=QUEUED_AT):
        deadline.deadline_time = now + timedelta(seconds=deadline.interval)
        deadline.missed, deadline.errand, deadline.last_updated_at = False, None, now
        deadline.save(update_fields=["deadline_time", "missed", "errand", "last_updated_at"])


def succeeded(run_pk: int) -> None:
    """The run is done: deadlines that were not missed are met and go. Of a failed run they stay (Airflow's rule)."""
    Deadline.objects.filter(run_id=run_pk, missed=False, deadline_time__gt=sql.now()).delete()


def run_once(now: datetime) -> int:
    """The scheduler's step: mark what is missed and ask for its callbacks, each once; how many."""
    with transaction.atomic():
        late = list(
            Deadline.objects.select_for_update(skip_locked=True, of=("self",), no_key=True)
            .filter(missed=False, deadline_time__lte=now).select_related("run").order_by("deadline_time")[:BATCH]
        )  # fmt: skip
        for deadline in late:
            deadline.missed, deadline.last_updated_at = True, now
            deadline.errand = _call(deadline)
            deadline.save(update_fields=["missed", "last_updated_at", "errand"])
            run = deadline.run
            Event.objects.create(at=now, kind="run", verb="deadline", dag_id=run.dag_id, run_pk=run.pk, run_id=run.run_id, payload={})
        if late:
            wake.send_on_commit(wake.LIVE)
    return len(late)


def _call(deadline: Deadline) -> Errand | None:
    from apps.runs.errands.desk import run_record

    callback = deadline.callback
    if not callback.get("path"):
        return None
    told = {"id": str(deadline.id), "deadline_time": deadline.deadline_time.isoformat(), "alert_name": deadline.name}
    record = run_record(deadline.run)
    context = {"dag_run": {**record, "dag_run_id": record["run_id"]}, "deadline": told, "run_id": record["run_id"]}
    payload: dict[str, Any] = {"path": callback["path"], "kwargs": callback.get("kwargs") or {}, "context": context}
    is_async = callback.get("kind") == "async"
    # the triggerer's child is one process for all: it cannot have two versions of a module
    apart = is_async and deadline.run.bundle_version is not None
    payload["awaits"] = apart
    return queue.put(
        "function", f"Callback of missed deadline {deadline.name or deadline.reference}", payload, dag_id=deadline.run.dag_id,
        run_pk=deadline.run_id, runs_in="triggerer" if is_async and not apart else "processor",
    )  # fmt: skip

