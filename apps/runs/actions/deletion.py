"""Runs, task instances and DAGs go away for good, with their tries, XComs and logs. Refused while something runs."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from apps.access import audit
from apps.dags.models import Dag
from apps.runs import claims, logs, wake
from apps.runs.actions import trail
from apps.runs.errors import Conflict
from apps.runs.models import Event, Run, TaskInstance, Try
from trackside.core.states import OCCUPYING, RunState


@dataclass(slots=True)
class Plan:
    """What goes: made by `plan_run` and `plan_dag`, carried out by `delete_run` and `delete_dag`, told by previews."""

    runs: int
    instances: int
    tries: list[UUID]
    """With their logs."""
    returns: bool = False
    """A file still holds the DAG, which makes it anew without its history."""


def plan_run(run: Run) -> Plan:
    """What `delete_run` would delete now; Conflict while the run runs."""
    run.refresh_from_db()
    if run.state == RunState.RUNNING:
        raise Conflict(f"The DagRun with dag_id: `{run.dag_id}` and run_id: `{run.run_id}` cannot be deleted in running state")
    tries = list(Try.objects.filter(ti__run=run).values_list("id", flat=True))
    return Plan(1, TaskInstance.objects.filter(run=run).count(), tries)


def plan_dag(dag: Dag) -> Plan:
    """What `delete_dag` would delete now; Conflict while tasks run."""
    if TaskInstance.objects.filter(dag_id=dag.dag_id, state__in=OCCUPYING).exists():
        raise Conflict(f"Task instances of dag with id: '{dag.dag_id}' are still running. Wait until they end, or mark them failed first.")
    tries = list(Try.objects.filter(ti__dag_id=dag.dag_id).values_list("id", flat=True))
    runs, instances = Run.objects.filter(dag=dag).count(), TaskInstance.objects.filter(dag_id=dag.dag_id).count()
    return Plan(runs, instances, tries, returns=dag.file_id is not None and not dag.is_stale)


def delete_run(run: Run, *, actor: audit.Actor) -> Plan:
    """Delete a run; what went. Conflict while it runs."""
    with transaction.atomic():
        claims.lock_runs([run.pk])
        plan = plan_run(run)
        before = {"before": trail.run_of(run)}
        audit.record("delete_dag_run", actor, dag_id=run.dag_id, run_id=run.run_id, logical_date=run.logical_date, extra=before)
        Event.objects.create(kind="run", verb="delete", dag_id=run.dag_id, run_pk=run.pk, run_id=run.run_id)
        run.delete()
        transaction.on_commit(lambda: logs.delete(plan.tries))
        wake.send_on_commit(wake.SCHEDULER, wake.LIVE)
    return plan


def delete_task_instance(ti: TaskInstance, *, actor: audit.Actor) -> None:
    """Delete one task instance; Conflict while it holds a slot."""
    with transaction.atomic():
        claims.lock_runs([ti.run_id])
        ti.refresh_from_db()
        if ti.state in OCCUPYING:
            raise Conflict(f"The task instance {ti.task_id} is {ti.state}. Wait until it ends, or mark it failed first.")
        tries = list(Try.objects.filter(ti=ti).values_list("id", flat=True))
        before = {"before": {"state": ti.state, "try_number": ti.try_number, "note": ti.note}}
        audit.record(
            "delete_task_instance", actor, dag_id=ti.dag_id, run_id=ti.run.run_id, task_id=ti.task_id, map_index=ti.map_index, extra=before
        )
        Event.objects.create(kind="run", verb="delete_task", dag_id=ti.dag_id, run_pk=ti.run_id, run_id=ti.run.run_id)
        ti.delete()
        transaction.on_commit(lambda: logs.delete(tries))
        wake.send_on_commit(wake.LIVE)


def delete_dag(dag: Dag, *, actor: audit.Actor) -> Plan:
    """Delete a DAG with its versions and runs; what went. Conflict while tasks run. A file that remains registers it anew."""
    with transaction.atomic():
        claims.lock_runs(Run.objects.filter(dag=dag, state=RunState.RUNNING).values_list("pk", flat=True))
        plan = plan_dag(dag)
        before = {"runs": plan.runs, "task_instances": plan.instances, "is_paused": dag.is_paused, "file": dag.relative_fileloc}
        audit.record("delete_dag", actor, dag_id=dag.dag_id, extra={"before": before})
        Event.objects.create(kind="dag", verb="delete", dag_id=dag.dag_id)
        Dag.objects.filter(pk=dag.pk).delete()
        transaction.on_commit(lambda: logs.delete(plan.tries))
        wake.send_on_commit(wake.PARSE, wake.LIVE)
    return plan
