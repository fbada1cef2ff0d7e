"""Run it again: task instances go back to none and get new tries; finished runs are queued again.

A running instance becomes restarting: its try is fenced and killed first, so that two tries never run at once.
`preview` and `clear` choose by the same code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from apps.access import audit
from apps.runs import brain, claims, compiled, instances, sql, transitions, wake
from apps.runs.actions import creation, selection, trail
from apps.runs.actions.selection import TaskChoice
from apps.runs.errands import deadlines
from apps.runs.errors import Conflict
from apps.runs.models import Run, TaskInstance
from trackside.core.states import RUN_FINISHED, TaskState


@dataclass(slots=True)
class ClearRequest:
    """What to clear. Without `run_pks` the date range chooses the runs; without `task_ids` all tasks are meant."""

    dag_id: str
    run_pks: list[int] | None = None
    task_ids: Sequence[TaskChoice] | None = None
    only_failed: bool = False
    only_running: bool = False
    upstream: bool = False
    downstream: bool = False
    future: bool = False
    past: bool = False
    start_date: datetime | None = None
    end_date: datetime | None = None
    reset_dag_runs: bool = True
    run_on_latest_version: bool | None = None
    prevent_running_task: bool = False
    note: str | None = None


def preview(request: ClearRequest) -> list[TaskInstance]:
    """The task instances that `clear` would clear, by run and task.

    Removed ones are among them if the DAG has their task: a mapped task's input may be longer this time. The planner removes them
    again if it is not (row 1.119).
    """
    _, dag = selection.dag_of(request.dag_id)
    found = selection.instances(_runs(request), *_tasks(request, dag), removed_of=dag.graph.tasks)
    if request.only_failed and request.only_running:
        found = found.filter(state__in=("failed", "upstream_failed", "running"))
    elif request.only_failed:
        found = found.filter(state__in=("failed", "upstream_failed"))
    elif request.only_running:
        found = found.filter(state="running")
    return list(selection.told(found))


def _runs(request: ClearRequest):  # type: ignore[no-untyped-def]  # a queryset of Run
    if request.run_pks is None:
        return selection.runs_between(request.dag_id, request.start_date, request.end_date)
    runs = Run.objects.filter(pk__in=request.run_pks, dag_id=request.dag_id)
    if not (request.future or request.past):
        return runs
    around = Run.objects.none()
    for run in runs:
        around |= selection.runs_around(run, future=request.future, past=request.past)
    return around


def _tasks(request: ClearRequest, dag: compiled.CompiledDag) -> tuple[set[str] | None, list[tuple[str, int]]]:
    if request.task_ids is None:
        return None, []
    whole, exact = selection.split(request.task_ids)
    relatives = selection.with_relatives(dag, [*whole, *(t for t, _ in exact)], upstream=request.upstream, downstream=request.downstream)
    # a single index does not mean its whole task, unless that was named too
    return (relatives - {t for t, _ in exact}) | set(whole), exact


def clear(request: ClearRequest, *, actor: audit.Actor) -> list[TaskInstance]:
    """Clear what `preview` shows and wake whoever goes on; the instances as they are now.

    Raises Conflict if `prevent_running_task` and one of them runs.
    """
    with transaction.atomic():
        chosen = preview(request)
        claims.lock_runs(ti.run_id for ti in chosen)
        _choose_version(request, chosen)
        chosen = preview(request)
        running = [ti for ti in chosen if ti.state == TaskState.RUNNING]
        if request.prevent_running_task and running:
            raise Conflict(f"Task {running[0].task_id} is running, stopping attempt to clear")
        cleared = clear_instances(chosen, reset_runs=request.reset_dag_runs)
        if request.note is not None:
            TaskInstance.objects.filter(pk__in=[ti.pk for ti in chosen]).update(note=request.note, note_user=actor.name)
        _audit(chosen, actor)
    return cleared


def clear_instances(chosen: Sequence[TaskInstance], *, reset_runs: bool = True) -> list[TaskInstance]:
    """Clear these instances in the caller's transaction (runs locked) and have their runs planned."""
    Run.objects.filter(pk__in={ti.run_id for ti in chosen}, marked__isnull=False).update(marked=None)
    now = sql.now()
    restart: dict[int, int] = {}
    clear_: dict[int, int] = {}
    # a queued one may have been claimed since it was chosen; from here on nobody claims
    states = {pk: state for pk, (state, _) in claims.lock_instances(ti.pk for ti in chosen).items()}
    for ti, retries in _retries(chosen):
        if states.get(ti.pk) != TaskState.RESTARTING:  # that one is cleared as soon as its old try is confirmed dead
            (restart if states.get(ti.pk) == TaskState.RUNNING else clear_)[ti.pk] = retries
    transitions.restart(restart, now)
    transitions.clear(clear_, now)
    run_pks = sorted({ti.run_id for ti in chosen})
    if reset_runs and run_pks:
        finished = list(Run.objects.filter(pk__in=run_pks, state__in=RUN_FINISHED).values_list("pk", flat=True))
        transitions.move_run("requeue", finished, now, advance_at=now)
        deadlines.requeued(finished, now)
        sql.run("UPDATE runs_run SET clear_number = clear_number + 1 WHERE id = ANY(%s::bigint[])", [run_pks])
    brain.touch(run_pks, now)
    wake.send_on_commit(wake.SCHEDULER, wake.WORK, wake.LIVE, wake.TRIGGER)
    return list(selection.told(TaskInstance.objects.filter(pk__in=[ti.pk for ti in chosen])))


def _choose_version(request: ClearRequest, chosen: Sequence[TaskInstance]) -> None:
    """What the request says, else the DAG's `rerun_with_latest_version`, else each run keeps its version."""
    latest = request.run_on_latest_version
    if chosen and latest is None:
        latest = selection.dag_of(request.dag_id)[1].spec.rerun_with_latest_version
    if chosen and latest:
        to_latest_version(request.dag_id, sorted({ti.run_id for ti in chosen}))


def to_latest_version(dag_id: str, run_pks: Sequence[int]) -> None:
    """Point these runs (locked) at the newest DAG version and, where bundles have versions, at the newest of the bundle."""
    dag, latest = selection.dag_of(dag_id)
    if dag.current_version is None:
        return
    keep = creation.version_to_keep(dag, latest.spec)
    now = sql.now()
    for run_pk in run_pks:
        instances.follow_version(run_pk, latest, dag.current_version.id, now)
    Run.objects.filter(pk__in=run_pks).update(bundle_version=keep)


def _retries(chosen: Sequence[TaskInstance]) -> list[tuple[TaskInstance, int]]:
    """Each instance with the retries its task has now; pool, queue and priority follow the DAG version again."""
    by_run: dict[int, list[TaskInstance]] = defaultdict(list)
    for ti in chosen:
        by_run[ti.run_id].append(ti)
    versions = dict(
        sql.rows(
            "SELECT r.id, coalesce(r.dag_version_id, d.current_version_id) FROM runs_run r JOIN dags_dag d ON d.dag_id = r.dag_id "
            "WHERE r.id = ANY(%s::bigint[])",
            [list(by_run)],
        )
    )
    hashes: dict[UUID, str] = dict(
        sql.rows("SELECT id, spec_hash FROM dags_dagversion WHERE id = ANY(%s::uuid[])", [[v for v in versions.values() if v]])
    )
    dags = compiled.get_many(list(hashes.items()))
    out = []
    for run_pk, tis in by_run.items():
        dag = dags.get(versions.get(run_pk))  # type: ignore[arg-type]
        known = [(ti, dag.graph.tasks[ti.task_id]) for ti in tis if dag is not None and ti.task_id in dag.graph.tasks]
        if dag is not None:
            instances.refresh([(ti.pk, task) for ti, task in known], dag)
        out += [(ti, task.retries) for ti, task in known]
        out += [(ti, max(0, ti.max_tries - ti.try_number)) for ti in tis if dag is None or ti.task_id not in dag.graph.tasks]
    return out


def _audit(chosen: Sequence[TaskInstance], actor: audit.Actor) -> None:
    for run_pk in dict.fromkeys(ti.run_id for ti in chosen):
        tis = [ti for ti in chosen if ti.run_id == run_pk]
        audit.record(
            "clear_task_instances",
            actor,
            dag_id=tis[0].dag_id,
            run_id=tis[0].run.run_id,
            extra={"count": len(tis), "tasks": sorted({ti.task_id for ti in tis})[:100], "before": trail.states_of(tis)},
        )


def clear_run(
    run: Run,
    *,
    actor: audit.Actor,
    only_failed: bool = False,
    only_new: bool = False,
    run_on_latest_version: bool | None = None,
    note: str | None = None,
    dry_run: bool = False,
) -> list[TaskInstance]:
    """A whole run again (or its failed part, or the tasks that are new in the latest version); the instances concerned."""
    if only_new:
        return _only_new(run, actor=actor, dry_run=dry_run)
    request = ClearRequest(run.dag_id, run_pks=[run.pk], only_failed=only_failed, run_on_latest_version=run_on_latest_version)
    if dry_run:
        return preview(request)
    with transaction.atomic():
        cleared = clear(request, actor=actor)
        if not cleared:
            claims.lock_runs([run.pk])
            now = sql.now()
            transitions.move_run("requeue", [run.pk], now, advance_at=now)
            wake.send_on_commit(wake.SCHEDULER, wake.LIVE)
        if note is not None:
            Run.objects.filter(pk=run.pk).update(note=note or None, note_user=actor.name)
    return cleared


def _only_new(run: Run, *, actor: audit.Actor, dry_run: bool) -> list[TaskInstance]:
    dag, latest = selection.dag_of(run.dag_id)
    existing = set(TaskInstance.objects.filter(run=run).values_list("task_id", flat=True))
    new = [t for t in latest.graph.tasks if t not in existing]
    if dry_run or not new or dag.current_version is None:
        return [TaskInstance(run=run, dag_id=run.dag_id, task_id=t, map_index=-1) for t in new]
    with transaction.atomic():
        claims.lock_runs([run.pk])
        now = sql.now()
        to_latest_version(run.dag_id, [run.pk])
        transitions.move_run("requeue", [run.pk], now, advance_at=now)
        brain.touch([run.pk], now)
        audit.record("clear_dag_run", actor, dag_id=run.dag_id, run_id=run.run_id, extra={"only_new": new})
        wake.send_on_commit(wake.SCHEDULER, wake.LIVE)
    return list(selection.told(TaskInstance.objects.filter(run=run, task_id__in=new)))
