"""The processor's side of the parse server: start it, hand it files, collect replies, outlive its death.

For `apps.dags.processor`, single-threaded: `fileno()` is for its poll, `receive()` never waits longer than told.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trackside.runner.parsing import kept, wire
from trackside.runner.parsing.results import ParseReply, ParseResult
from trackside.runner.parsing.settings import MAX_RESULT, ParseSettings, clean_environment

logger = logging.getLogger(__name__)

START_S = 60.0
"""Seconds the server may take to import the SDK."""
STOP_S = 2.0
"""Seconds it gets to kill what it forked, before it is killed itself."""

Answer = Callable[[str, str, dict[str, Any]], tuple[int, Any]]
"""(method, path, params) → (status, JSON): variables and connections for files that ask while they are parsed."""


class ParseServerFailed(RuntimeError):
    """The parse server does not start: its own words are in the processor's log."""


@dataclass(slots=True)
class _Pending:
    path: str
    plan: dict[str, Any] | None
    dags_folder: str | None = None
    tries: int = 1
    job: dict[str, Any] | None = None
    timeout: float | None = None
    answer: Answer | None = None


class ParseServer:
    """One parse server, started when first needed. Not for several threads; close it."""

    def __init__(self, settings: ParseSettings, answer: Answer | None = None) -> None:
        self.settings = settings
        self.answer = answer
        self.pending: dict[int, _Pending] = {}
        self.kept = kept.KeptAnswers()
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = wire.Reader(MAX_RESULT + 1024)
        self._last_id = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server and wait until it is warm; nothing happens if it runs. Raises ParseServerFailed."""
        if self._process is not None:
            return
        self._reader = wire.Reader(MAX_RESULT + 1024)
        self._process = subprocess.Popen(
            # -P: the folder the processor was started in is no place to import from
            [sys.executable, "-P", "-m", "trackside.runner.parsing.server", self.settings.to_json(), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean_environment(),
            start_new_session=True,
            bufsize=0,
        )
        give_up = time.monotonic() + START_S
        while time.monotonic() < give_up:
            if not _readable(self.fileno(), give_up - time.monotonic()):
                break
            data = os.read(self.fileno(), 1 << 16)
            if not data:
                break
            if any(f.kind == wire.READY for f in self._reader.feed(data)):
                return
        try:
            code: int | None = self._process.wait(STOP_S if time.monotonic() < give_up else 0)
        except subprocess.TimeoutExpired:
            code = None
        self.close()
        raise ParseServerFailed(
            f"The parse server did not start (exit code {code}): see its traceback in the log above."
            if code is not None
            else f"The parse server was not ready after {START_S:g} s."
        )

    def fileno(self) -> int:
        """Becomes readable when `receive` has something to do."""
        if self._process is None or self._process.stdout is None:
            raise ParseServerFailed("The parse server does not run.")
        return self._process.stdout.fileno()

    def submit(
        self, path: str, plan: dict[str, Any] | None = None, dags_folder: str | None = None, answer: Answer | None = None
    ) -> int:
        """Have a file parsed; the id comes back with its reply.

        `plan`: dag_id → [start, end] of the last automated run, for timetable classes of the user's. `dags_folder`: of its
        bundle, if not the one of the settings. `answer` serves what this file asks, instead of the one for all.
        """
        self.start()
        self._last_id += 1
        self.pending[self._last_id] = _Pending(path, plan, dags_folder, answer=answer)
        self._send(self._last_id)
        return self._last_id

    def submit_job(self, job: dict[str, Any], *, timeout: float, answer: Answer | None = None) -> int:
        """Have a piece of user code run (`trackside.runner.errands`) in a child of its own; the id comes back with its reply.

        `answer` serves what it asks, instead of the one for files. A job that loses the server is not repeated: it may
        have been done.
        """
        self.start()
        self._last_id += 1
        asked = _Pending("", None, tries=2, job=job, timeout=timeout, answer=answer)
        self.pending[self._last_id] = asked
        self._send(self._last_id)
        return self._last_id

    def receive(self, timeout: float | None = 0.0) -> list[tuple[int, ParseReply]]:
        """Replies that have arrived, waiting at most `timeout` seconds (None: no limit) for the first.

        If the server has died it is started again and gets its files once more; a file that loses it twice has a reply
        that says so. Raises ParseServerFailed if it does not start.
        """
        if self._process is None or not _readable(self.fileno(), timeout):
            return []
        data = os.read(self.fileno(), 1 << 20)
        if not data:
            return self._died()
        done = []
        for frame in self._reader.feed(data):
            if frame.kind == wire.ASK:
                self._reply(frame.header)
            elif frame.kind == wire.DONE and (asked := self.pending.pop(frame.header["id"], None)) is not None:
                done.append((frame.header["id"], ParseReply(asked.path, frame.header, frame.body, self.settings)))
        return done

    def parse(self, path: str, plan: dict[str, Any] | None = None) -> ParseResult:
        """Parse one file and wait for it (commands and tests)."""
        wanted = self.submit(path, plan)
        while True:
            for request_id, reply in self.receive(None):
                if request_id == wanted:
                    return reply.result()

    def close(self) -> None:
        """End the server and everything below it."""
        process, self._process = self._process, None
        self.pending.clear()
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _send(self, request_id: int) -> None:
        asked = self.pending[request_id]
        job = {"job": asked.job, "timeout": asked.timeout} if asked.job is not None else {}
        self._write(wire.PARSE, {"id": request_id, "path": asked.path, "plan": asked.plan, "dags_folder": asked.dags_folder, **job}, b"")

    def _write(self, kind: bytes, header: dict[str, Any], body: bytes) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            wire.send(self._process.stdin.fileno(), kind, header, body)
        except BrokenPipeError:
            pass  # it died: the next receive() sees the end of its output

    def _reply(self, header: dict[str, Any]) -> None:
        status, answer = 503, {"detail": "Variables and connections cannot be read here."}
        asked = self.pending.get(header["id"])
        respond = (asked.answer if asked is not None else None) or self.answer
        if header["path"] == kept.PATH and asked is not None and asked.job is None:
            status, answer = self.kept.answer(asked.path, header.get("params") or {})
        elif respond is not None:
            try:
                status, answer = respond(str(header["method"]), str(header["path"]), header.get("params") or {})
            except Exception as e:
                logger.exception("answering %s failed", header.get("path"))
                status, answer = 500, {"detail": f"{type(e).__name__}: {e}"}
        self._write(wire.ANSWER, {"id": header["id"], "status": status}, json.dumps(answer, default=str).encode())

    def _died(self) -> list[tuple[int, ParseReply]]:
        logger.error("The parse server (pid %s) died; starting another.", self.pid)
        pending = dict(self.pending)
        self.close()
        done = []
        for request_id, asked in pending.items():
            if asked.tries > 1:
                done.append((request_id, ParseReply(asked.path, {"verdict": "lost"}, b"", self.settings)))
            else:
                self.pending[request_id] = asked
        if self.pending:
            self.start()
        for request_id, asked in self.pending.items():
            asked.tries += 1
            self._send(request_id)
        return done


def _readable(fd: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else max(0.0, timeout) * 1000))
