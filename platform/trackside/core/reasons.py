"""Why something does not move, as a code and one sentence: cause, what unblocks it, when.

Codes are stable words for filters and metrics; sentences are for people. Written by the planner, by admission and by the
transitions that end a try, in the transaction of the decision.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class Reason(NamedTuple):
    """A stable code and a sentence."""

    code: str
    text: str


def names(ids: list[str], limit: int = 3) -> str:
    """`a`, `b`, `c` and 5 more."""
    shown = ", ".join(ids[:limit])
    return f"{shown} and {len(ids) - limit} more" if len(ids) > limit else shown


def moment(at: datetime) -> str:
    """A moment in a sentence; pages show it in the reader's zone from the ISO form in the data."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def upstream(waiting: list[str]) -> Reason:
    """Dependencies are still open."""
    return Reason("upstream", f"Waits for {names(waiting)} to finish.")


def setups(waiting: list[str]) -> Reason:
    """A setup in whose scope the task lies is still open."""
    return Reason("upstream", f"Waits for its setup {names(waiting)} to finish.")


def retry(try_number: int, max_tries: int, at: datetime) -> Reason:
    """Between two tries."""
    return Reason("retry", f"Try {try_number} failed; retry {try_number} of {max_tries} starts at {moment(at)}.")


def reschedule(at: datetime) -> Reason:
    """A sensor sleeps without a slot."""
    return Reason("reschedule", f"Its condition is not met yet; it checks again at {moment(at)}.")


def past_missing(run_id: str) -> Reason:
    """depends_on_past, and the previous run has no such task."""
    return Reason("past_run", f"Depends on the past, and run {run_id} has no instance of this task. Run it there, or mark it success.")


def past_unsuccessful(run_id: str, state: str) -> Reason:
    """depends_on_past, and the previous instance has not succeeded."""
    return Reason("past_run", f"Depends on the past: in run {run_id} it is {state}. It goes on once that one is success or skipped.")


def past_downstream(run_id: str, waiting: list[str]) -> Reason:
    """wait_for_downstream, and the previous run's downstream tasks are not through."""
    return Reason("past_run", f"Waits for {names(waiting)} of run {run_id} to succeed or be skipped (wait_for_downstream).")


def mapped_source(source: str) -> Reason:
    """A mapped task waits for the length of its input."""
    return Reason("upstream", f"Waits for {source} to say how many instances there will be.")


def future(logical_date: datetime) -> Reason:
    """The logical date lies ahead."""
    return Reason("future", f"Its logical date is in the future; tasks start at {moment(logical_date)}.")


PAUSED = Reason("paused", "The DAG is paused. Unpause it to go on.")
DEADLOCK = Reason(
    "all_tasks_deadlocked", "No task of this run can ever run: the rest waits for tasks that cannot finish. Clear or mark one of them."
)
TASK_FAILURE = "task_failure"


def failed_leaves(ids: list[str]) -> Reason:
    """Why the run failed."""
    return Reason(TASK_FAILURE, f"Failed because of {names(ids)}. Clear the failed tasks to run them again.")


def timed_out(seconds: float) -> Reason:
    """dagrun_timeout."""
    return Reason("timed_out", f"The run took longer than its dagrun_timeout of {seconds:g} s; what had not finished was skipped.")


def fail_fast(task_id: str) -> Reason:
    """fail_fast stopped this task."""
    return Reason("fail_fast", f"Stopped because {task_id} failed and the DAG has fail_fast.")


def branch(task_id: str) -> Reason:
    """A branch chose another way."""
    return Reason("branch", f"{task_id} chose another way.")


def rule_skip(rule: str) -> Reason:
    """The trigger rule says skip."""
    return Reason("rule", f"Skipped by its trigger rule {rule}.")


def rule_fail(rule: str, ids: list[str]) -> Reason:
    """The trigger rule can no longer be met."""
    return Reason("rule", f"{names(ids)} failed, so its trigger rule {rule} cannot be met. Clear the failed task to run both again.")


NOTHING_TO_MAP = Reason("empty", "Its input is empty, so there is nothing to run.")
