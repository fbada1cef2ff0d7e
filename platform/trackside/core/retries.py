"""When the next try may start. Airflow 3.3's back-off, to the second."""

from __future__ import annotations

import hashlib
import math
from datetime import datetime, timedelta

from trackside.core.spec import TaskSpec

MAX_TASK_RETRY_DELAY = 86_400.0
"""Seconds; Airflow's `[core] max_task_retry_delay`."""


def may_retry(try_number: int, max_tries: int) -> bool:
    """Whether a failed try `try_number` leaves a retry: Airflow counts max_tries without the first try."""
    return try_number <= max_tries


def retry_delay(task: TaskSpec, *, dag_id: str, logical_date: datetime | None, try_number: int) -> float:
    """Seconds between the end of failed try `try_number` and the next one.

    Constant: `retry_delay`. With a multiplier m: base = ceil(delay * m^(try_number-1)), at least 1 s; plus a jitter of
    sha1(dag#task#logical date#try) mod base, so that equal tasks do not retry in step but a given try always waits
    equally long; capped by MAX_TASK_RETRY_DELAY, then by the task's max_retry_delay.
    """
    delay = task.retry_delay
    multiplier = float(task.retry_exponential_backoff or 0)
    if not multiplier:
        return delay if task.max_retry_delay is None else min(delay, task.max_retry_delay)
    try:
        base = max(1, math.ceil(delay * multiplier ** (try_number - 1)))
    except OverflowError:
        base = int(MAX_TASK_RETRY_DELAY)
    base = min(base, int(MAX_TASK_RETRY_DELAY))
    seed = f"{dag_id}#{task.task_id}#{logical_date}#{try_number}"
    jitter = int(hashlib.sha1(seed.encode(), usedforsecurity=False).hexdigest(), 16) % base
    total = min(float(base + jitter), MAX_TASK_RETRY_DELAY)
    return total if task.max_retry_delay is None else min(total, task.max_retry_delay)


def next_try_at(task: TaskSpec, *, dag_id: str, logical_date: datetime | None, try_number: int, ended: datetime) -> datetime:
    """Moment at which the try after `try_number` may be scheduled."""
    return ended + timedelta(seconds=retry_delay(task, dag_id=dag_id, logical_date=logical_date, try_number=try_number))
