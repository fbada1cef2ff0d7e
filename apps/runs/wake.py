"""Wake-ups between processes over PostgreSQL's NOTIFY: hints, never data.

NOTIFY takes one global lock at commit, so it never runs inside a working transaction: `send` hands the channel to a
background thread with a connection of its own, which notifies at once and then at most every few milliseconds.
`Listener` is the other end: one thread with one LISTEN connection per process, which calls the callbacks of a channel
on every wake-up, after every reconnect and every few seconds anyway, because a half-open connection is silent.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable

import psycopg
from django.db import connection, transaction

logger = logging.getLogger(__name__)

SCHEDULER = "trackside_scheduler"
"""A run is due for planning, or was created."""
WORK = "trackside_work"
"""Tries are queued, or a try must be killed: parked exchanges look again."""
LIVE = "trackside_live"
"""Event rows were written."""
PARSE = "trackside_parse"
"""A file should be parsed now."""
TRIGGER = "trackside_trigger"
"""A task was deferred, or one that waits was cleared or marked."""
ERRAND = "trackside_errand"
"""User code is to be run outside of tries."""
CHANNELS = (SCHEDULER, WORK, LIVE, PARSE, TRIGGER, ERRAND)

STOP_WITHIN = 1.0
"""Seconds in which a listener notices that it is to stop."""
MIN_GAP = 0.004
"""Seconds between two NOTIFYs of one process."""
SAFETY_POLL = 5.0
"""Seconds after which listeners look even if nothing was heard."""


def connection_parameters() -> dict[str, object]:
    """What psycopg needs to open a connection of its own to Django's database (tests change the name at run time)."""
    s = connection.settings_dict
    params: dict[str, object] = {"dbname": s["NAME"], "autocommit": True, "connect_timeout": 5, "keepalives_idle": 10}
    for key, name in (("USER", "user"), ("PASSWORD", "password"), ("HOST", "host"), ("PORT", "port")):
        if s.get(key):
            params[name] = s[key]
    return params


class _Sender:
    """One thread per process; collects channels and notifies them."""

    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._connection: psycopg.Connection | None = None
        self._parameters: dict[str, object] | None = None
        self._busy = False

    def flush(self, seconds: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: not self._wanted and not self._busy, timeout=seconds)

    def send(self, channels: tuple[str, ...]) -> None:
        with self._condition:
            self._wanted.update(channels)
            if self._thread is None or not self._thread.is_alive():
                self._parameters = connection_parameters()
                self._thread = threading.Thread(target=self._run, name="wake-sender", daemon=True)
                self._thread.start()
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                if not self._wanted and not self._condition.wait_for(lambda: bool(self._wanted), timeout=60):
                    self._close()
                    self._thread = None
                    return
                wanted, self._wanted, self._busy = self._wanted, set(), True
            try:
                self._notify(wanted)
            except psycopg.Error as e:
                # listeners look by themselves every few seconds: a lost wake-up costs latency, not work
                logger.warning("wake-up not sent: %s", e)
                self._close()
                time.sleep(0.2)
            with self._condition:
                self._busy = False
                self._condition.notify_all()
            time.sleep(MIN_GAP)

    def _notify(self, channels: set[str]) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(**(self._parameters or {}), application_name="trackside-wake")  # type: ignore[arg-type]
        self._connection.execute(";".join(f"NOTIFY {c}" for c in sorted(channels)))

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_sender = _Sender()
_local: dict[str, list[Callable[[], None]]] = {c: [] for c in CHANNELS}


def send(*channels: str) -> None:
    """Wake the listeners of `channels` in all processes, soon; callable from any thread, outside transactions."""
    _sender.send(channels)


def flush(seconds: float = 2.0) -> None:
    """For a process that is about to end: until what was sent is out, but not longer than this."""
    _sender.flush(seconds)


def send_on_commit(*channels: str) -> None:
    """`send` once the current transaction has committed (at once if there is none)."""
    transaction.on_commit(lambda: send(*channels))


class Listener(threading.Thread):
    """One LISTEN connection; `callbacks[channel]` are called from this thread and must return quickly."""

    def __init__(self, callbacks: dict[str, list[Callable[[], None]]], *, name: str = "wake-listener"):
        super().__init__(name=name, daemon=True)
        self.callbacks = callbacks
        self.parameters = connection_parameters()
        self.connected = threading.Event()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End the thread within about a second."""
        self._stopping.set()

    def run(self) -> None:
        pause = 0.1
        while not self._stopping.is_set():
            try:
                self._listen()
                pause = 0.1
            except psycopg.Error as e:
                self.connected.clear()
                if not self._stopping.is_set():
                    logger.warning("listening again in %.1f s: %s", pause, e)
                    self._stopping.wait(pause)
                    pause = min(pause * 2, 5.0)

    def _listen(self) -> None:
        with psycopg.connect(**self.parameters, application_name="trackside-listen") as conn:  # type: ignore[arg-type]
            for channel in self.callbacks:
                conn.execute(f"LISTEN {channel}")  # type: ignore[arg-type]
            self.connected.set()
            self._call(set(self.callbacks))  # whatever happened while nobody listened
            looked = time.monotonic()
            # psycopg's own waiting wakes up ten times a second; ours lets an idle process sleep
            poll = select.poll()
            poll.register(conn.fileno(), select.POLLIN)
            while not self._stopping.is_set():
                heard = {n.channel for n in conn.notifies(timeout=0)} if poll.poll(STOP_WITHIN * 1000) else set()
                if time.monotonic() - looked > SAFETY_POLL:
                    conn.execute("SELECT 1")  # finds a half-open connection
                    heard = set(self.callbacks)
                if heard:
                    looked = time.monotonic() if heard == set(self.callbacks) else looked
                    self._call(heard)

    def _call(self, channels: set[str]) -> None:
        for channel in channels:
            for callback in self.callbacks.get(channel, ()):
                try:
                    callback()
                except Exception:
                    logger.exception("wake-up callback of %s failed", channel)
