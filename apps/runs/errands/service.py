"""The runner of errands: a thread of the DAG processor's process that has children do them, several at a time.

The children belong to a parse server of its own (`trackside.runner.parsing`), started when there is something to do and ended
after a while without. The thread only claims, hands over, answers and notes the end: user code never runs in this process.
Killed at any moment: its errands belong to the next runner when the lease of the process has run out.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from apps.runs import sql, wake
from apps.runs.errands import desk, pinned, plugin_report
from trackside.runner.bundles import Lease
from trackside.runner.parsing import ParseReply, ParseServer, ParseServerFailed, ParseSettings
from trackside.runner.parsing.results import signal_name

logger = logging.getLogger(__name__)

SAFETY_S = 5.0
IDLE_S = 30.0
LOOK_AT_PLUGINS_S = 3.0
PLUGINS = -1
"""Stands for the errand that describes the plugins; it has no row."""


class ErrandRunner(threading.Thread):
    """See the module. `process`: id of the process row whose lease covers the errands, None until there is one."""

    def __init__(self, process: Callable[[], UUID | None]) -> None:
        super().__init__(name="errands", daemon=True)
        self.process = process
        self.server = ParseServer(self._settings())
        self._flights: dict[int, int] = {}
        """Request id → errand pk."""
        self._fetching: dict[int, tuple[desk.Taken, Future[tuple[Path, str, Lease]]]] = {}
        """Errand pk → the errand, whose version of the DAG file is being got by a thread."""
        self._leases: dict[int, Lease] = {}
        self._fetchers = ThreadPoolExecutor(2, thread_name_prefix="errand-files")
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        os.set_blocking(self._read, False)
        self._stopping = threading.Event()
        self._busy_at = time.monotonic()
        self._plugins_at = 0.0
        self._mark: str | None = None

    @staticmethod
    def _settings() -> ParseSettings:
        return ParseSettings(
            dags_folder=str(settings.DAGS_FOLDER), plugins_folder=str(settings.PLUGINS_FOLDER), timeout=settings.CALLBACK_TIMEOUT,
            memory_mb=settings.PARSE_MEMORY_MB,
        )  # fmt: skip

    def wake(self) -> None:
        """Look now. Callable from any thread."""
        try:
            os.write(self._write, b"!")
        except OSError:
            pass

    def stop(self) -> None:
        """End soon; what runs is killed with its children and belongs to the next runner."""
        self._stopping.set()
        self.wake()
        if self.is_alive():
            self.join(5.0)

    def run(self) -> None:
        """Until `stop`."""
        listener = wake.Listener({wake.ERRAND: [self.wake]}, name="errand-listener")
        listener.start()
        pause = 0.2
        try:
            while not self._stopping.is_set():
                try:
                    self.step()
                    pause = 0.2
                except (OperationalError, InterfaceError, ParseServerFailed) as e:
                    logger.warning("errands: again in %.1f s: %s", pause, str(e).strip() or type(e).__name__)
                    connection.close()
                    self._stopping.wait(pause)
                    pause = min(pause * 2, 5.0)
                except Exception:
                    logger.exception("errands: a step failed, again in %.1f s", pause)
                    self._stopping.wait(pause)
                    pause = min(pause * 2, 15.0)
        finally:
            listener.stop()
            self.server.close()
            self._fetchers.shutdown(wait=False, cancel_futures=True)
            connection.close()

    def step(self, timeout: float | None = None) -> None:
        """One round: look at the plugins, take, wait for something to happen, note ends."""
        self._look_at_plugins()
        self._take()
        desk.LOGS.flush()
        self._wait(self._pause() if timeout is None else timeout)
        for request_id, reply in self.server.receive(0):
            self._done(request_id, reply)
        if self._flights:
            self._busy_at = time.monotonic()
        elif self.server.pid is not None and time.monotonic() - self._busy_at > IDLE_S:
            self.server.close()

    @property
    def idle(self) -> bool:
        """Nothing is being done."""
        return not self._flights and not self._fetching

    def _take(self) -> None:
        process = self.process()
        if process is None:
            return
        self._start_fetched()
        for taken in desk.take(process, settings.CALLBACK_PROCESSES - len(self._flights) - len(self._fetching)):
            if "wrong" in taken.job:
                desk.finish(taken.errand.pk, ok=False, error=taken.job["wrong"])
            elif taken.pin is not None:
                getting = self._fetchers.submit(pinned.fetch, taken.pin)
                self._fetching[taken.errand.pk] = taken, getting
                getting.add_done_callback(lambda _: self.wake())
            else:
                self._start(taken)

    def _start(self, taken: desk.Taken) -> None:
        answer = partial(desk.answer, taken.errand)
        self._flights[self.server.submit_job(taken.job, timeout=settings.CALLBACK_TIMEOUT, answer=answer)] = taken.errand.pk

    def _start_fetched(self) -> None:
        for pk, (taken, getting) in list(self._fetching.items()):
            if not getting.done():
                continue
            del self._fetching[pk]
            try:
                file, relative, self._leases[pk] = getting.result()
                taken.use(str(file), relative)
            except Exception as e:  # better told by today's code than not at all
                logger.warning("errand %s: %s", pk, e)
                desk.remark(taken.errand, f"{taken.errand.title} uses the newest version of the DAG's file: {e}")
            self._start(taken)

    def _done(self, request_id: int, reply: ParseReply) -> None:
        pk = self._flights.pop(request_id, None)
        if pk is None:
            return
        if (lease := self._leases.pop(pk, None)) is not None:
            lease.release()
        said = _unpack(reply)
        if pk == PLUGINS:
            self._describe(said)
            return
        if not said["ok"]:
            logger.warning("errand %s failed: %s", pk, said["error"])
        desk.finish(pk, ok=said["ok"], result=said["value"], error=said["error"], output=reply.header.get("output", ""))

    # --- plugins ----------------------------------------------------------------------------------------------------
    def _look_at_plugins(self) -> None:
        now = time.monotonic()
        if now - self._plugins_at < LOOK_AT_PLUGINS_S or PLUGINS in self._flights.values():
            return
        self._plugins_at = now
        mark = plugin_report.fingerprint()
        if mark == self._mark:
            return
        self._mark = mark
        if plugin_report.is_empty():
            plugin_report.write(mark, plugin_report.EMPTY, sql.now())
        else:
            self._flights[self.server.submit_job({"kind": "plugins"}, timeout=settings.PARSE_TIMEOUT)] = PLUGINS

    def _describe(self, said: dict[str, Any]) -> None:
        data = said["value"] if said["ok"] else {**plugin_report.EMPTY, "errors": {str(settings.PLUGINS_FOLDER): said["error"]}}
        for name, trace in data["errors"].items():
            logger.warning("plugin %s cannot be used: %s", name, trace.strip().splitlines()[-1])
        plugin_report.write(self._mark or "", data, sql.now())

    # --- waiting ----------------------------------------------------------------------------------------------------
    def _pause(self) -> float:
        return 0.5 if desk.LOGS.is_waiting else LOOK_AT_PLUGINS_S if not self._flights else SAFETY_S

    def _wait(self, timeout: float) -> None:
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        if self.server.pid is not None:
            poll.register(self.server.fileno(), select.POLLIN)
        for fd, _event in poll.poll(timeout * 1000):
            if fd == self._read:
                os.read(self._read, 4096)


def _unpack(reply: ParseReply) -> dict[str, Any]:
    """What the child said, or why it could not say anything."""
    import json

    verdict = reply.header.get("verdict")
    if verdict == "ok":
        try:
            return json.loads(reply.body)  # type: ignore[no-any-return]
        except ValueError as e:
            return {"ok": False, "value": None, "error": f"Its process sent something that cannot be read ({e})."}
    code = int(reply.header.get("code") or 0)
    why = {
        "timeout": f"It took longer than {reply.settings.timeout:g} s and was stopped. Raise TRACKSIDE_CALLBACK_TIMEOUT.",
        "memory": f"It needed more than {reply.settings.memory_mb} MB of memory and was stopped. Raise TRACKSIDE_PARSE_MEMORY_MB.",
        "processes": "It started too many processes and was stopped.",
        "exit": f"It ended its process with exit code {code} (os._exit or similar).",
        "signal": f"Its process died ({signal_name(code)}).",
    }.get(str(verdict), "Its process was lost.")
    return {"ok": False, "value": None, "error": why}
