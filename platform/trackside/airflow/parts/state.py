"""`airflow.utils.state`: the states by name, and their groups."""

from __future__ import annotations

from enum import StrEnum

from trackside.sdk.enums import DagRunState, TaskInstanceState


class TerminalTIState(StrEnum):
    """States in which a task instance stays."""

    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    UPSTREAM_FAILED = "upstream_failed"
    REMOVED = "removed"


class IntermediateTIState(StrEnum):
    """States a task instance leaves by itself."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RESTARTING = "restarting"
    UP_FOR_RETRY = "up_for_retry"
    UP_FOR_RESCHEDULE = "up_for_reschedule"
    DEFERRED = "deferred"
    AWAITING_INPUT = "awaiting_input"


class JobState(StrEnum):
    """States of Airflow's jobs."""

    RUNNING = "running"
    SUCCESS = "success"
    RESTARTING = "restarting"
    FAILED = "failed"


class State:
    """All states in one place."""

    NONE = None
    SUCCESS = TaskInstanceState.SUCCESS
    RUNNING = TaskInstanceState.RUNNING
    FAILED = TaskInstanceState.FAILED
    QUEUED = TaskInstanceState.QUEUED
    SCHEDULED = TaskInstanceState.SCHEDULED
    SKIPPED = TaskInstanceState.SKIPPED
    REMOVED = TaskInstanceState.REMOVED
    RESTARTING = TaskInstanceState.RESTARTING
    UP_FOR_RETRY = TaskInstanceState.UP_FOR_RETRY
    UP_FOR_RESCHEDULE = TaskInstanceState.UP_FOR_RESCHEDULE
    UPSTREAM_FAILED = TaskInstanceState.UPSTREAM_FAILED
    DEFERRED = TaskInstanceState.DEFERRED
    AWAITING_INPUT = TaskInstanceState.AWAITING_INPUT

    finished_dr_states = frozenset({DagRunState.SUCCESS, DagRunState.FAILED})
    unfinished_dr_states = frozenset({DagRunState.QUEUED, DagRunState.RUNNING})
    task_states = (None, *TaskInstanceState)
    dag_states = (DagRunState.QUEUED, DagRunState.SUCCESS, DagRunState.RUNNING, DagRunState.FAILED)
    finished = frozenset(TaskInstanceState(state.value) for state in TerminalTIState)
    unfinished = frozenset({None, *TaskInstanceState}) - finished
    failed_states = frozenset({TaskInstanceState.FAILED, TaskInstanceState.UPSTREAM_FAILED})
    success_states = frozenset({TaskInstanceState.SUCCESS, TaskInstanceState.SKIPPED})
