"""The loop of every background duty: woken by hints, by due times and by a slow safety poll; written once."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import InterfaceError, OperationalError, connection

from apps.runs import processes, sql, wake
from apps.runs.models import Process
from trackside.core import logline
from trackside.runner import probes

logger = logging.getLogger(__name__)


class Loop:
    """Runs `step() -> next due moment` until told to stop; renews the process lease from the loop itself, so that a stuck
    loop does not look alive."""

    def __init__(
        self,
        kind: str,
        step: Callable[[], datetime | None],
        channel: str,
        *,
        floor: float = 0.002,
        beat_every: float = 5.0,
        info: Callable[[], dict[str, Any]] = dict,
    ):
        """`info`: facts for its row in `runs_process`, asked with every beat; empty leaves what is there."""
        self.kind = kind
        self.info = info
        self.step = step
        self.channel = channel
        self.floor = floor
        self.beat_every = beat_every
        self.process: Process | None = None
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._beaten = 0.0

    def stop(self, *_: object) -> None:
        """End after the current step."""
        self._stopping.set()
        self._woken.set()

    def wake(self) -> None:
        """Take the next step now. Callable from any thread."""
        self._woken.set()

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        logline.name_process(self.kind)
        probes.start()
        listener = wake.Listener({self.channel: [self._woken.set]})
        listener.start()
        pause = 0.1
        while not self._stopping.is_set():
            self._woken.clear()
            started = time.monotonic()
            try:
                due = self.step()
                self._beat()
                probes.turn()
                wait = self._wait(due)
                pause = 0.1
            except (OperationalError, InterfaceError) as e:
                # the database is away: everything is in it, so there is nothing to do but to come back
                probes.turn("The database does not answer.")
                logger.warning(
                    "%s: database unavailable, again in %.1f s: %s", self.kind, pause, str(e).strip().splitlines()[0] if str(e) else e
                )
                connection.close()
                self._stopping.wait(pause)
                pause = min(pause * 2, 3.0)
                continue
            except Exception:
                # no beat until a step succeeds again: a loop that only fails must not look alive
                logger.exception("%s: a step failed, again in %.1f s", self.kind, pause)
                probes.turn("Its last pass failed; its log says why.")
                self._stopping.wait(pause)
                pause = min(pause * 2, 15.0)
                continue
            self._sleep(wait, started)
        listener.stop()
        if self.process is not None:
            try:
                processes.end(self.process.pk)
            except (OperationalError, InterfaceError):
                pass

    def _wait(self, due: datetime | None) -> float:
        wait = wake.SAFETY_POLL if due is None else (due - sql.now()).total_seconds()
        return max(0.0, min(wait, self.beat_every - (time.monotonic() - self._beaten)))

    def _sleep(self, wait: float, started: float) -> None:
        self._woken.wait(wait)
        # hints come in bursts: a tick that follows too closely would find half of one
        rest = self.floor - (time.monotonic() - started)
        if rest > 0:
            time.sleep(rest)

    def _beat(self) -> None:
        if time.monotonic() - self._beaten < self.beat_every:
            return
        if self.process is None or not processes.beat(self.process.pk, lease=3 * self.beat_every, **self.info()):
            self.process = processes.register(self.kind, lease=3 * self.beat_every, **self.info())
        self._beaten = time.monotonic()
