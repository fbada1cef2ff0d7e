"""How a try ended, from what `execute` raised: exceptions to outcomes of the report.

For `run.py`. One entry per exception that means something; everything else is a failure (rows 2.063-2.064).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from trackside.core.messages import FinishReport
from trackside.sdk import exceptions as x
from trackside.sdk import serde
from trackside.sdk.execution import triggering
from trackside.sdk.execution.logs import error_line
from trackside.sdk.execution.records import to_wire
from trackside.sdk.execution.ti import RuntimeTaskInstance

log = logging.getLogger("airflow.task")


def apply(report: FinishReport, error: BaseException, ti: RuntimeTaskInstance, context: Any) -> None:
    """Write into the report what `error` means."""
    for kind, handle in _MEANINGS:
        if isinstance(error, kind):
            handle(report, error, ti, context)
            return
    _failed(report, error, ti, context)


def _downstream_skipped(report: FinishReport, error: Any, ti: RuntimeTaskInstance, context: Any) -> None:
    ids = [task if isinstance(task, str) else task[0] for task in error.tasks]
    log.info("Skipping downstream tasks.")
    report.outcome = "success"
    if ti.skip_decision is None:
        ti.skip_decision = {"mode": "skipped", "ids": ids}


def _skipped(report: FinishReport, error: Any, ti: RuntimeTaskInstance, context: Any) -> None:
    log.info("Skipping task.%s", f" {error}" if str(error) else "")
    report.outcome = "skipped"


def _rescheduled(report: FinishReport, error: Any, ti: RuntimeTaskInstance, context: Any) -> None:
    log.info("Rescheduling task, marking task as UP_FOR_RESCHEDULE")
    report.outcome = "rescheduled"
    report.reschedule_at = to_wire(error.reschedule_date)


def _deferred(report: FinishReport, error: Any, ti: RuntimeTaskInstance, context: Any) -> None:
    log.info("Pausing task as DEFERRED. ")
    classpath, kwargs = error.trigger.serialize()
    report.outcome = "awaiting_input" if isinstance(error, x.TaskAwaitingInput) else "deferred"
    report.deferral = {
        "classpath": classpath,
        "kwargs": serde.serialize(kwargs),
        "next_method": error.method_name,
        "next_kwargs": serde.serialize(error.kwargs or {}),
        "timeout_s": error.timeout.total_seconds() if error.timeout is not None else None,
        "queue": error.queue or getattr(error.trigger, "queue", None) or getattr(error.trigger, "trigger_queue", None),
    }


def _trigger_run(report: FinishReport, error: Any, ti: RuntimeTaskInstance, context: Any) -> None:
    try:
        triggering.trigger_run(error, ti, context)
        report.outcome = "success"
    except BaseException as outcome:
        apply(report, outcome, ti, context)


def _no_retry(report: FinishReport, error: BaseException, ti: RuntimeTaskInstance, context: Any) -> None:
    log.error("Task failed; it will not be retried", exc_info=error)
    report.outcome = "failed_no_retry"
    report.error = error_line(error)


def _exit(report: FinishReport, error: Any, ti: RuntimeTaskInstance, context: Any) -> None:
    log.error("Task exited", exc_info=error)
    report.outcome = "failed"
    report.error = f"the task called sys.exit({error.code!r}), which counts as a failure"
    report.exit_code = error.code if isinstance(error.code, int) else int(error.code is not None)


def _failed(report: FinishReport, error: BaseException, ti: RuntimeTaskInstance, context: Any) -> None:
    log.error("Task failed with exception", exc_info=error)
    report.outcome = "failed"
    report.error = error_line(error)
    _ask_policy(report, error, ti, context)


def _ask_policy(report: FinishReport, error: BaseException, ti: RuntimeTaskInstance, context: Any) -> None:
    """The task's retry policy may forbid the retry or move it; one that fails itself is ignored."""
    policy = getattr(ti.task, "retry_policy", None)
    if policy is None:
        return
    try:
        decision = policy.evaluate(exception=error, try_number=ti.try_number, max_tries=ti.max_tries, context=context)
        delay = getattr(decision, "retry_delay", None)
        seconds = None if delay is None else max(0.0, delay.total_seconds() if isinstance(delay, timedelta) else float(delay))
        action = str(getattr(decision.action, "value", decision.action)).lower()
    except Exception:
        log.exception("The retry policy failed; the task's own retry settings count")
        return
    reason = str(getattr(decision, "reason", None) or "")[:500]
    if reason:
        log.info("Retry policy decision: %s (%s)", action, reason)
    if action == "fail":
        report.outcome = "failed_no_retry"
        report.retry_reason = reason or "the policy forbids a retry"
    elif action == "retry":
        report.retry_delay_s, report.retry_reason = seconds, reason or None


_MEANINGS: tuple[tuple[Any, Callable[[FinishReport, Any, RuntimeTaskInstance, Any], None]], ...] = (
    (x.DownstreamTasksSkipped, _downstream_skipped),
    (x.DagRunTriggerException, _trigger_run),
    (x.TaskDeferred, _deferred),
    (x.AirflowSkipException, _skipped),
    (x.AirflowRescheduleException, _rescheduled),
    ((x.AirflowFailException, x.AirflowSensorTimeout, x.AirflowTaskTerminated), _no_retry),
    (SystemExit, _exit),
)
