"""Success, failed or skipped by hand, for task instances and whole runs. Running tries are fenced and killed.

Airflow's rule on tasks: what is marked keeps the mark; failed and upstream_failed tasks downstream of it are cleared, so
that they are decided anew, and a finished run is queued again for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from apps.access import audit
from apps.runs import brain, claims, sql, transitions, wake
from apps.runs.actions import clearing, selection, trail
from apps.runs.actions.selection import TaskChoice
from apps.runs.errands import callbacks
from apps.runs.errors import Invalid
from apps.runs.models import Run, TaskInstance
from trackside.core.states import FINISHED, PARKED, RunState, TaskState

UNSET: Any = object()
"""A note that is not given: keep what is there."""


@dataclass(slots=True)
class MarkRequest:
    """Which task instances to mark, beginning from a run."""

    run: Run
    task_ids: Sequence[TaskChoice]
    state: str
    upstream: bool = False
    downstream: bool = False
    future: bool = False
    past: bool = False
    note: str | None = None


def preview(request: MarkRequest) -> list[TaskInstance]:
    """The instances whose state would change, by run and task."""
    if request.state not in ("success", "failed", "skipped"):
        raise Invalid(f"'{request.state}' is not a state that can be set by hand: success, failed, skipped", field="new_state")
    return [ti for ti in _meant(request) if ti.state != request.state]


def _meant(request: MarkRequest) -> list[TaskInstance]:
    dag = selection.graph_of_run(request.run)
    whole, exact = selection.split(request.task_ids)
    tasks = {t for t in whole if t in dag.graph.tasks}
    named = tasks | {t for t, _ in exact}
    if request.upstream:
        tasks |= dag.graph.ancestors(*named)
    if request.downstream:
        tasks |= dag.graph.descendants(*named)
    runs = selection.runs_around(request.run, future=request.future, past=request.past)
    return list(selection.told(selection.instances(runs, tasks, exact)))


def mark(request: MarkRequest, *, actor: audit.Actor) -> list[TaskInstance]:
    """Mark what `preview` shows; those that carry the mark afterwards."""
    preview(request)
    with transaction.atomic():
        claims.lock_runs(ti.run_id for ti in _meant(request))
        chosen = preview(request)
        now = sql.now()
        transitions.mark([ti.pk for ti in chosen], TaskState(request.state), now)
        _decide_downstream_anew(request)
        if request.note is not None:
            TaskInstance.objects.filter(pk__in=[ti.pk for ti in chosen]).update(note=request.note or None, note_user=actor.name)
        brain.touch({ti.run_id for ti in chosen}, now)
        _audit(chosen, request.state, actor)
        wake.send_on_commit(wake.SCHEDULER, wake.WORK, wake.LIVE, wake.TRIGGER)
    return list(selection.told(TaskInstance.objects.filter(pk__in=[ti.pk for ti in chosen], state=request.state)))


def _decide_downstream_anew(request: MarkRequest) -> None:
    dag = selection.graph_of_run(request.run)
    whole, exact = selection.split(request.task_ids)
    named = {*whole, *(t for t, _ in exact)} & set(dag.graph.tasks)
    below = dag.graph.descendants(*named) - named
    runs = selection.runs_around(request.run, future=request.future, past=request.past)
    stale = list(selection.instances(runs, below).filter(state__in=("failed", "upstream_failed")).select_related("run")) if below else []
    if stale:
        clearing.clear_instances(stale)


def _audit(chosen: Sequence[TaskInstance], state: str, actor: audit.Actor) -> None:
    audit.record_each(
        "patch_task_instance", actor,
        (
            {"dag_id": ti.dag_id, "run_id": ti.run.run_id, "task_id": ti.task_id, "map_index": ti.map_index, "try_number": ti.try_number,
             "extra": {"before": ti.state, "after": state}}
            for ti in chosen
        ),
    )  # fmt: skip


# --- runs -----------------------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class RunPlan:
    """What marking a run does: `plan_run` makes it, `mark_run` carries it out, previews tell it."""

    before: str
    ended: list[TaskInstance]
    """Get the run's state: those under way, whose tries end."""
    skipped: list[TaskInstance]
    """Have not begun, and will not."""
    teardowns: bool
    """Teardowns have yet to run: the run gets its state when they have ended."""


def plan_run(run: Run, state: str) -> RunPlan:
    """What `mark_run` would do now. Raises Invalid for a state that cannot be set by hand."""
    if state not in ("success", "failed", "queued"):
        raise Invalid(f"'{state}' is not a state that a run can be set to: queued, success, failed", field="state")
    before = Run.objects.only("state").get(pk=run.pk).state
    unfinished = preview_run(run, state)
    ended = [ti for ti in unfinished if ti.state in (TaskState.RUNNING, TaskState.RESTARTING) or ti.state in PARKED]
    chosen = {ti.pk for ti in ended}
    waits = state != "queued" and before in ("queued", "running") and _teardowns_left(run)
    return RunPlan(before, ended, [ti for ti in unfinished if ti.pk not in chosen], waits)


def preview_run(run: Run, state: str) -> list[TaskInstance]:
    """The task instances that marking the run would change."""
    if state == "queued":
        return []
    unfinished = selection.told(TaskInstance.objects.filter(run=run).exclude(state__in=FINISHED))
    dag = selection.graph_of_run(run)
    return [ti for ti in unfinished if not (ti.task_id in dag.graph.tasks and dag.graph.tasks[ti.task_id].is_teardown)]


def mark_run(run: Run, state: str, *, actor: audit.Actor, note: Any = UNSET) -> Run:
    """Set a run to success, failed or queued; unfinished tasks follow (running ones get the state, the others are skipped).

    Teardowns still run; a run that has any left gets its state when they have ended.
    """
    with transaction.atomic():
        claims.lock_runs([run.pk])
        now = sql.now()
        plan = plan_run(run, state)
        if state == "queued":
            transitions.move_run("requeue", [run.pk], now, advance_at=now)
        else:
            transitions.mark([ti.pk for ti in plan.ended], TaskState(state), now)
            transitions.mark([ti.pk for ti in plan.skipped], TaskState.SKIPPED, now)
            if plan.teardowns:
                transitions.keep_mark(run.pk, state, now)
            else:
                callbacks.run_changed(transitions.move_run(f"mark_{state}", [run.pk], now), RunState(state), f"marked {state}")
        if note is not UNSET:
            Run.objects.filter(pk=run.pk).update(note=note or None, note_user=actor.name)
        told = {"before": {"state": plan.before, **trail.states_of([*plan.ended, *plan.skipped])}, "after": {"state": state}}
        audit.record("patch_dag_run", actor, dag_id=run.dag_id, run_id=run.run_id, extra=told)
        wake.send_on_commit(wake.SCHEDULER, wake.WORK, wake.LIVE, wake.TRIGGER)
    run.refresh_from_db()
    return run


def _teardowns_left(run: Run) -> bool:
    """Whether teardowns have yet to run: they clean up whatever a person thinks of the run (Airflow's rule)."""
    teardowns = [t.task_id for t in selection.graph_of_run(run).graph.tasks.values() if t.is_teardown]
    return bool(teardowns) and TaskInstance.objects.filter(run=run, task_id__in=teardowns).exclude(state__in=FINISHED).exists()
