"""Every state of runs, task instances and tries, the legal moves, who makes them, and what a crash leaves.

For everybody: the server moves states only along `TASK_TRANSITIONS` and `RUN_TRANSITIONS` (see
`apps/runs/transitions`, the one writer), the planner reads the sets below, and `docs/states.md` is generated from
this module. State names are Airflow's, so that REST clients and people read the same words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TaskState(StrEnum):
    """State of a task instance (run, task, map index). REST shows NONE as null."""

    NONE = "none"
    """Nothing decided yet. Set at creation and by clear; the planner moves it on; a crash leaves it for the next plan."""
    SCHEDULED = "scheduled"
    """May run: all dependencies are met. Set by the planner; admission moves it on as soon as every limit allows."""
    QUEUED = "queued"
    """Admitted: holds its slots, a try row exists. Set by admission; a worker, pod or message claims it."""
    RUNNING = "running"
    """A try was handed to a worker. Set by the claim; ended by the worker's report, or by the reaper if it falls silent."""
    RESTARTING = "restarting"
    """Cleared while running: the old try is fenced and being killed. Ended by the worker's report or the reaper."""
    SUCCESS = "success"
    """Final. Set by the worker's report, by a person, or by the planner for tasks without work."""
    FAILED = "failed"
    """Final. Set by the worker's report or the reaper when no retry is left, or by a person."""
    SKIPPED = "skipped"
    """Final. Set by the planner (rules, branches), by the task itself, or by a person."""
    UPSTREAM_FAILED = "upstream_failed"
    """Final. Set by the planner when the trigger rule can no longer be met because something upstream failed."""
    REMOVED = "removed"
    """Final. The task (or map index) no longer exists in the DAG version of the run."""
    UP_FOR_RETRY = "up_for_retry"
    """Failed with retries left; waits for `next_at`. Set with the failed report; the planner schedules the next try."""
    UP_FOR_RESCHEDULE = "up_for_reschedule"
    """A sensor gave its slot back until `next_at`; the same try goes on. The planner schedules it again when due."""
    DEFERRED = "deferred"
    """Waits for a trigger in the triggerer; the same try goes on when the trigger fires or times out."""
    AWAITING_INPUT = "awaiting_input"
    """Waits for a person's answer; the same try goes on when the answer arrives or its time runs out."""


class RunState(StrEnum):
    """State of a DAG run."""

    QUEUED = "queued"
    """Created; waits for `run_after`, for the DAG to be unpaused, or for a place under max_active_runs."""
    RUNNING = "running"
    """Its tasks are being planned and run."""
    SUCCESS = "success"
    """Final: every effective leaf succeeded or was skipped."""
    FAILED = "failed"
    """Final: a leaf failed, the run timed out or can never go on, or a person said so."""


class TryState(StrEnum):
    """State of one try (one row, one UUID, one log). A try that ended never changes again."""

    QUEUED = "queued"
    RUNNING = "running"
    PARKED = "parked"
    """Rescheduled, deferred or awaiting input: the same try will be queued again."""
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    FENCED = "fenced"
    """Ended by the server (clear, mark, timeout) while somebody may still run it: whoever does must kill it."""
    LOST = "lost"
    """Its worker vanished or never reported; counted apart from the user's own failures."""


class RunType(StrEnum):
    """Why a run exists (Airflow's DagRunType)."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"
    BACKFILL = "backfill"
    OPERATOR_TRIGGERED = "operator_triggered"
    ASSET_TRIGGERED = "asset_triggered"
    ASSET_MATERIALIZATION = "asset_materialization"


class TriggeredBy(StrEnum):
    """By what means a run was created (Airflow's DagRunTriggeredByType)."""

    CLI = "cli"
    OPERATOR = "operator"
    REST_API = "rest_api"
    UI = "ui"
    TEST = "test"
    TIMETABLE = "timetable"
    ASSET = "asset"
    BACKFILL = "backfill"


FINISHED = frozenset({TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED, TaskState.UPSTREAM_FAILED, TaskState.REMOVED})
"""States in which a task instance stays unless a person acts."""
FAILED_STATES = frozenset({TaskState.FAILED, TaskState.UPSTREAM_FAILED})
SUCCESS_STATES = frozenset({TaskState.SUCCESS, TaskState.SKIPPED})
"""States of a leaf that let its run succeed."""
OCCUPYING = frozenset({TaskState.QUEUED, TaskState.RUNNING, TaskState.RESTARTING})
"""States that hold pool slots, max_active_tasks and executor capacity."""
PARKED = frozenset({TaskState.UP_FOR_RESCHEDULE, TaskState.DEFERRED, TaskState.AWAITING_INPUT})
"""States in which the same try waits without a process."""
PLANNABLE = frozenset({TaskState.NONE, TaskState.UP_FOR_RETRY, TaskState.UP_FOR_RESCHEDULE})
"""States from which the planner may schedule (Airflow's SCHEDULEABLE_STATES)."""
UNFINISHED = frozenset(TaskState) - FINISHED
RUN_FINISHED = frozenset({RunState.SUCCESS, RunState.FAILED})
TRY_ENDED = frozenset({TryState.SUCCESS, TryState.FAILED, TryState.SKIPPED, TryState.FENCED, TryState.LOST})


@dataclass(frozen=True, slots=True)
class Transition:
    """One verb: from which states, to which state, who makes the move, and what happens if that process dies there."""

    verb: str
    sources: frozenset[str]
    target: str
    mover: str
    crash: str


def _move(verb: str, sources: set[TaskState] | frozenset[TaskState], target: TaskState, mover: str, crash: str) -> Transition:
    return Transition(verb, frozenset(str(s) for s in sources), str(target), mover, crash)


_S = TaskState
_ROLLBACK = "the transaction is undone; the next plan decides again"

TASK_TRANSITIONS: dict[str, Transition] = {
    t.verb: t
    for t in (
        _move(
            "schedule", {_S.NONE, _S.UP_FOR_RETRY, _S.UP_FOR_RESCHEDULE, _S.DEFERRED, _S.AWAITING_INPUT}, _S.SCHEDULED, "planner", _ROLLBACK
        ),
        _move("admit", {_S.SCHEDULED}, _S.QUEUED, "admission", "the transaction is undone; the next admission decides again"),
        _move(
            "start",
            {_S.QUEUED},
            _S.RUNNING,
            "worker's claim",
            "before commit nothing happened; after it the try's lease runs out and it is found lost",
        ),
        _move("unqueue", {_S.QUEUED}, _S.SCHEDULED, "reaper", "done again by the next reaper"),
        _move(
            "requeue",
            {_S.RUNNING},
            _S.QUEUED,
            "exchange (an order that never reached its worker)",
            "done again at the worker's next exchange",
        ),
        _move("succeed", {_S.RUNNING}, _S.SUCCESS, "worker's report", "the worker repeats its report until it is accepted"),
        _move(
            "complete",
            {_S.NONE, _S.UP_FOR_RETRY, _S.UP_FOR_RESCHEDULE, _S.DEFERRED},
            _S.SUCCESS,
            "planner (tasks without work), triggerer",
            _ROLLBACK,
        ),
        _move(
            "fail",
            {_S.RUNNING, _S.QUEUED, _S.DEFERRED, _S.AWAITING_INPUT, _S.UP_FOR_RESCHEDULE, _S.SCHEDULED},
            _S.FAILED,
            "worker's report, reaper, triggerer",
            "repeated by the worker, or found by the next reaper",
        ),
        _move(
            "retry",
            {_S.RUNNING, _S.QUEUED, _S.DEFERRED, _S.AWAITING_INPUT},
            _S.UP_FOR_RETRY,
            "worker's report, reaper",
            "repeated by the worker, or found by the next reaper",
        ),
        _move("reschedule", {_S.RUNNING}, _S.UP_FOR_RESCHEDULE, "worker's report", "the worker repeats its report until it is accepted"),
        _move(
            "defer",
            {_S.RUNNING, _S.NONE, _S.SCHEDULED},
            _S.DEFERRED,
            "worker's report, planner (start_from_trigger)",
            "the worker repeats its report until it is accepted",
        ),
        _move("await_input", {_S.RUNNING}, _S.AWAITING_INPUT, "worker's report", "the worker repeats its report until it is accepted"),
        _move(
            "skip_self",
            {_S.RUNNING, _S.DEFERRED},
            _S.SKIPPED,
            "worker's report, triggerer",
            "the worker repeats its report until it is accepted",
        ),
        _move(
            "skip",
            {_S.NONE, _S.SCHEDULED, _S.UP_FOR_RETRY, _S.UP_FOR_RESCHEDULE, _S.DEFERRED, _S.AWAITING_INPUT, _S.QUEUED},
            _S.SKIPPED,
            "planner",
            _ROLLBACK,
        ),
        _move("upstream_fail", {_S.NONE, _S.UP_FOR_RETRY, _S.UP_FOR_RESCHEDULE, _S.SCHEDULED}, _S.UPSTREAM_FAILED, "planner", _ROLLBACK),
        _move("remove", set(TaskState) - {_S.REMOVED, _S.RUNNING, _S.RESTARTING}, _S.REMOVED, "planner", _ROLLBACK),
        _move("restore", {_S.REMOVED}, _S.NONE, "planner", _ROLLBACK),
        _move(
            "restart",
            {_S.RUNNING},
            _S.RESTARTING,
            "a person (clear)",
            "the worker learns it at its next exchange; a dead worker is found by the reaper",
        ),
        _move(
            "clear",
            set(TaskState) - {_S.RUNNING},
            _S.NONE,
            "a person (clear); worker's report or reaper after restart",
            "the transaction is undone",
        ),
        _move("mark_success", set(TaskState) - {_S.SUCCESS}, _S.SUCCESS, "a person", "the transaction is undone"),
        _move("mark_failed", set(TaskState) - {_S.FAILED}, _S.FAILED, "a person, run timeout, fail_fast", "the transaction is undone"),
        _move("mark_skipped", set(TaskState) - {_S.SKIPPED}, _S.SKIPPED, "a person, run timeout, fail_fast", "the transaction is undone"),
    )
}
"""verb → what it may do to a task instance. `apps/runs/transitions` has one function per verb."""

_R = RunState


def _run(verb: str, sources: set[RunState], target: RunState, mover: str, crash: str) -> Transition:
    return Transition(verb, frozenset(str(s) for s in sources), str(target), mover, crash)


RUN_TRANSITIONS: dict[str, Transition] = {
    t.verb: t
    for t in (
        _run("begin", {_R.QUEUED}, _R.RUNNING, "scheduler", "the transaction is undone; the next tick begins it"),
        _run("succeed", {_R.RUNNING}, _R.SUCCESS, "planner", _ROLLBACK),
        _run("fail", {_R.RUNNING, _R.QUEUED}, _R.FAILED, "planner (leaf failed, timeout, deadlock)", _ROLLBACK),
        _run("requeue", {_R.RUNNING, _R.SUCCESS, _R.FAILED}, _R.QUEUED, "a person (clear, mark queued)", "the transaction is undone"),
        _run("mark_success", {_R.QUEUED, _R.RUNNING, _R.FAILED}, _R.SUCCESS, "a person", "the transaction is undone"),
        _run("mark_failed", {_R.QUEUED, _R.RUNNING, _R.SUCCESS}, _R.FAILED, "a person", "the transaction is undone"),
    )
}
