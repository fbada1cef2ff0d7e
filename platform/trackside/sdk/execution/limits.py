"""Limits of a try: `execution_timeout`, and the order to stop (SIGTERM).

For `run.py`. Both work by signals and therefore only in the main thread of the task process, where tasks run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from types import FrameType
from typing import Any

from trackside.sdk.exceptions import AirflowTaskTerminated, AirflowTaskTimeout

log = logging.getLogger("airflow.task")


class timeout:
    """`with timeout(seconds):` raises AirflowTaskTimeout inside the block when it takes longer."""

    def __init__(self, seconds: float | timedelta = 1, error_message: str = "Timeout") -> None:
        self.seconds = seconds.total_seconds() if isinstance(seconds, timedelta) else float(seconds)
        self.error_message = error_message
        self._before: Any = None

    def _ring(self, signum: int, frame: FrameType | None) -> None:
        log.error("Process timed out, PID: %s", threading.get_native_id())
        raise AirflowTaskTimeout(self.error_message)

    def __enter__(self) -> timeout:
        try:
            self._before = signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, self.seconds)
        except ValueError:
            log.warning("timeout can't be used in the current context: only the main thread has one")
        return self

    def __exit__(self, *exc: object) -> None:
        if self._before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)


@contextlib.contextmanager
def execution_timeout(limit: timedelta | float | None, started: float) -> Iterator[None]:
    """AirflowTaskTimeout when the block is not over `limit` after `started` (monotonic seconds)."""
    if limit is None:
        yield
        return
    total = limit.total_seconds() if isinstance(limit, timedelta) else float(limit)
    left = total - (time.monotonic() - started)
    if left <= 0:
        raise AirflowTaskTimeout("Timeout")
    with timeout(left, f"the task ran longer than its execution_timeout of {total:g} s"):
        yield


@contextlib.contextmanager
def on_sigterm(task: Any) -> Iterator[None]:
    """A SIGTERM inside the block runs the task's `on_kill` and ends it with AirflowTaskTerminated."""

    own = os.getpid()

    def stop(signum: int, frame: FrameType | None) -> None:
        if os.getpid() != own:  # a process that the task forked inherited this handler
            os._exit(128 + signum)
        log.error("Received SIGTERM. Terminating subprocesses")
        kill(task)
        raise AirflowTaskTerminated("the task was asked to stop (SIGTERM)")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def kill(task: Any) -> None:
    """The task's `on_kill`; what it raises is only logged."""
    try:
        task.on_kill()
    except Exception:
        log.exception("on_kill failed")
