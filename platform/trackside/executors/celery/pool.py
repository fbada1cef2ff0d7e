"""The Celery worker's pool: no threads, no children; a message's try is named to the agent, which runs it.

For `worker`. Everything happens in Celery's own event loop: it reads what the agent says, and acknowledges there, so that
the next message is fetched at once. As many messages as there are slots are *begun*. While tries are short, some more are
named *ahead*: the answer that brings a try's end to the server then brings the next try along. What does not begin within
`AHEAD_S` goes back to the broker for other workers, so that nothing waits behind long tasks.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from celery.concurrency.base import BasePool
from celery.exceptions import Reject
from celery.worker import state as worker_state
from celery.worker.request import ExceptionInfo
from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.serialization import loads

logger = logging.getLogger("trackside.worker")

AHEAD_S = 0.5
"""A message named ahead that has not begun by then is given back; so many tries as ended in this time are named ahead at most."""
LOOK_S = 0.5
"""How often a pool that waits for its last tries looks whether it is to hurry."""


@dataclass(slots=True, eq=False)
class Job:
    """One message."""

    try_id: str
    accept: Callable[[int, float], Any]
    done: Callable[[tuple[int, Any, float]], Any]
    reject: Callable[[ExceptionInfo], Any]
    came: float
    begun: bool = False
    leaving: bool = False


class AgentPool(BasePool):  # type: ignore[misc]
    """See the module. `ours` is the socket to the agent (`trackside.runner.intake` says what is spoken)."""

    ours: ClassVar[socket.socket]
    """Set by `worker` before Celery makes the pool."""
    consumer: Any = None
    """Celery's consumer, whose prefetch count follows what is named ahead."""
    body_can_be_buffer = False
    signal_safe = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._jobs: dict[str, list[Job]] = {}
        self._ahead: deque[Job] = deque()
        self._begun = 0
        self._ended: deque[float] = deque()
        self._extra: tuple[Any, int] = (None, 0)
        self._hub: Any = None
        self._data = b""
        self._lock = threading.RLock()
        self.gone = False

    # What Celery asks for

    def register_with_event_loop(self, hub: Any) -> None:
        """Called anew after each reconnection to the broker, with a hub that has forgotten its readers."""
        if self.gone:
            return
        self._hub = hub
        hub.add_reader(self.ours.fileno(), self._read)

    def on_start(self) -> None:
        """Where the broker's transport has no event loop, a thread listens to the agent."""
        if self.options.get("threads"):
            threading.Thread(target=self._read_for_ever, name="agent", daemon=True).start()

    def on_apply(
        self, target: Any, args: tuple[Any, ...] = (), kwargs: Any = None, callback: Any = None, accept_callback: Any = None,
        error_callback: Any = None, **_: Any,
    ) -> None:  # fmt: skip
        """A message has come. `target` would run it in a process of Celery's; `args[3:6]` is its body."""
        job = Job("", accept_callback, callback, error_callback, time.monotonic())
        named = _argument(*args[3:6])
        try:
            job.try_id = str(UUID(str(named)))
        except ValueError:
            logger.error("a message names no try (%.100r) and is dropped", named)
            job.accept(os.getpid(), job.came)
            job.done((0, None, 0.0))
            return
        with self._lock:
            if self.gone:
                self._refuse(job, requeue=False)
                return
            others = self._jobs.setdefault(job.try_id, [])
            others.append(job)
            if self._begun < self.limit:
                self._begin(job)
            else:
                self._ahead.append(job)
                self._look_later()
            if len(others) == 1:
                self._say("take", job)

    def on_stop(self) -> None:
        """Warm shutdown: what has begun ends, what was named ahead is left to others."""
        with self._lock:
            for job in list(self._ahead):
                self._leave(job)
        while self._begun and not self.gone and not worker_state.should_terminate:
            ready, _, _ = select.select([self.ours], [], [], LOOK_S)
            if ready:
                self._read()

    def on_terminate(self) -> None:
        """Cold shutdown: the agent ends what runs."""
        hang_up(self.ours)

    def _get_info(self) -> dict[str, Any]:
        return {**super()._get_info(), "begun": self._begun, "ahead": len(self._ahead)}

    # What the agent says

    def _read(self) -> None:
        try:
            got = self.ours.recv(65536)
        except OSError:
            got = b""
        with self._lock:
            if not got:
                self._agent_gone()
                return
            *lines, self._data = (self._data + got).split(b"\n")
            for line in lines:
                verb, _, try_id = line.decode().partition(" ")
                if verb == "done":
                    self._over(try_id)
                elif verb == "left":
                    self._left(try_id)
            self._foresee()

    def _read_for_ever(self) -> None:
        while not self.gone and self._state != self.TERMINATE:
            if select.select([self.ours], [], [], LOOK_S)[0]:
                self._read()

    def _over(self, try_id: str) -> None:
        now = time.monotonic()
        for job in self._jobs.pop(try_id, ()):
            self._forget(job)
            job.done((0, None, now - job.came))
        self._ended.append(now)
        while self._ahead and self._begun < self.limit:
            self._begin(self._ahead.popleft())

    def _left(self, try_id: str) -> None:
        for job in self._jobs.pop(try_id, ()):
            self._forget(job)
            self._refuse(job, requeue=True)

    def _agent_gone(self) -> None:
        """Its tries are lost and start again elsewhere, by the ledger's doing: their messages are done with."""
        self.gone = True
        if self._hub is not None:
            self._hub.remove(self.ours.fileno())
            self._hub = None
        for jobs in list(self._jobs.values()):
            for job in jobs:
                self._forget(job)
                self._refuse(job, requeue=False)
        self._jobs.clear()

    # Ahead

    def _foresee(self) -> None:
        """Fetch as many messages beyond the slots as tries ended lately; none while tries are long."""
        limit = time.monotonic() - AHEAD_S
        while self._ended and self._ended[0] < limit:
            self._ended.popleft()
        qos = getattr(self.consumer, "qos", None)
        if qos is None or self._state == self.TERMINATE:
            return
        before = self._extra[1] if self._extra[0] is qos else 0
        extra = min(len(self._ended), self.limit)
        if before // 2 < extra < before:
            extra = before  # some brokers must be told each change
        if extra > before:
            qos.increment_eventually(extra - before)
        elif extra < before:
            qos.decrement_eventually(before - extra)
        self._extra = (qos, extra)

    def _look_later(self) -> None:
        if len(self._ahead) == 1 and self._hub is not None:
            self._hub.call_later(AHEAD_S, self._look)

    def _look(self) -> None:
        """Give back what has waited too long."""
        with self._lock:
            now = time.monotonic()
            self._foresee()
            for job in self._ahead:
                if now - job.came >= AHEAD_S and not job.leaving:
                    self._leave(job)
            waiting = [job.came for job in self._ahead if not job.leaving]
            if waiting and self._hub is not None:
                self._hub.call_later(max(0.05, AHEAD_S - (now - waiting[0])), self._look)

    def _leave(self, job: Job) -> None:
        job.leaving = True
        self._say("leave", job)

    # Bookkeeping

    def _begin(self, job: Job) -> None:
        job.begun = True
        self._begun += 1
        job.accept(os.getpid(), time.monotonic())

    def _forget(self, job: Job) -> None:
        if job.begun:
            self._begun -= 1
        elif job in self._ahead:
            self._ahead.remove(job)

    def _refuse(self, job: Job, *, requeue: bool) -> None:
        try:
            raise Reject("given back" if requeue else "the agent of this worker ended", requeue=requeue)
        except Reject:
            job.reject(ExceptionInfo())

    def _say(self, verb: str, job: Job) -> None:
        try:
            self.ours.sendall(f"{verb} {job.try_id}\n".encode())
        except OSError:
            self._agent_gone()


def _argument(body: Any, content_type: str, content_encoding: str) -> Any:
    """The first argument of a message: the try it names."""
    try:
        args = (body if isinstance(body, (tuple, list)) else loads(body, content_type, content_encoding, accept={"application/json"}))[0]
        return args[0] if args else None
    except (ContentDisallowed, DecodeError, ValueError, TypeError, LookupError):
        return None


def hang_up(ours: socket.socket) -> None:
    """Nothing more will come: the agent ends."""
    try:
        ours.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
