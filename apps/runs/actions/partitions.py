"""Runs lose their partition: key and date become null, so that the partition counts as not made (row 2.103)."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from apps.access import audit
from apps.runs import claims, sql, wake
from apps.runs.actions import clearing
from apps.runs.models import Event, Run, TaskInstance


def reset(runs: Sequence[Run], *, actor: audit.Actor, clear_task_instances: bool = False, dry_run: bool = False) -> tuple[int, int]:
    """Take the partition from these runs, and clear their tasks if wished: (runs that had one, task instances)."""
    with_one = [run for run in runs if run.partition_key is not None or run.partition_date is not None]
    if dry_run:
        tis = TaskInstance.objects.filter(run__in=[run.pk for run in runs]).count() if clear_task_instances else 0
        return len(with_one), tis
    with transaction.atomic():
        now = sql.now()
        claims.lock_runs({run.pk for run in runs})
        Run.objects.filter(pk__in=[run.pk for run in with_one]).update(partition_key=None, partition_date=None, updated_at=now)
        for run in with_one:
            Event.objects.create(at=now, kind="run", verb="partition", dag_id=run.dag_id, run_pk=run.pk, run_id=run.run_id)
            audit.record("clear_partition", actor, dag_id=run.dag_id, run_id=run.run_id, extra={"before": _partition_of(run)})
        cleared = [ti for run in runs for ti in clearing.clear_run(run, actor=actor)] if clear_task_instances else []
        wake.send_on_commit(wake.LIVE)
    return len(with_one), len(cleared)


def _partition_of(run: Run) -> dict[str, str | None]:
    return {"partition_key": run.partition_key, "partition_date": run.partition_date.isoformat() if run.partition_date else None}
