"""The parse server: a warm, single-threaded interpreter that forks one process per file and watches over it.

Started by `client` as `python -P -m trackside.runner.parsing.server SETTINGS PARENT`. It imports the SDK once; a fork
costs a twentieth of a fresh interpreter. Frames come in on stdin and go out on the original stdout; end of stdin ends
everything. It never runs user code itself. What it kills it kills with SIGKILL and with all descendants: it is the
subreaper of everything that files start, so even what called setsid and forked twice comes back to it.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trackside.runner import procs
from trackside.runner.parsing import wire
from trackside.runner.parsing.settings import MAX_RESULT, OUTPUT_CAP, ParseSettings
from trackside.sdk.plugins import loading as plugins
from trackside.sdk.plugins import policies

WATCH_S = 0.1
"""Pause between looks at memory and processes of files that take longer than this."""
SWEEP_S = 0.02
"""Pause between looks at killed processes that have not gone yet."""
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Job:
    """One file being parsed."""

    id: int
    pid: int
    pidfd: int
    channel: socket.socket
    output: int
    started: float
    deadline: float
    kept: bytearray = field(default_factory=bytearray)
    printed: int = 0
    reader: wire.Reader = field(default_factory=lambda: wire.Reader(MAX_RESULT))
    result: bytes | None = None
    limit: float | None = None
    """Seconds it may take by the site's policy, if that has one for it."""
    verdict: str | None = None
    """Why it was killed, None while it was not."""


class Server:
    """The loop. One instance per process."""

    def __init__(self, settings: ParseSettings, requests: int, replies: int) -> None:
        self.settings = settings
        self.requests, self.replies = requests, replies
        self.jobs: dict[int, Job] = {}
        """By request id."""
        self._fds: dict[int, tuple[str, Job]] = {}
        self._reader = wire.Reader(1 << 20, header_limit=wire.MAX_JOB)
        self._poll = select.poll()
        self._poll.register(requests, select.POLLIN)
        self._watch_at = 0.0
        self._strangers = False
        """Killed processes that are not gone yet."""

    def serve(self) -> None:
        """Work until the processor goes away."""
        try:
            while True:
                for fd, _event in self._poll.poll(self._timeout_ms()):
                    if fd == self.requests:
                        if not self._obey():
                            return
                    elif fd in self._fds:
                        what, job = self._fds[fd]
                        getattr(self, f"_on_{what}")(job)
                self._look(time.monotonic())
        except BrokenPipeError:
            return
        finally:
            self._end()

    def _timeout_ms(self) -> float | None:
        if self._strangers:
            return SWEEP_S * 1000
        if not self.jobs:
            return None
        until = min(self._watch_at, min(job.deadline for job in self.jobs.values()))
        return max(0.0, (until - time.monotonic()) * 1000) + 1

    def _obey(self) -> bool:
        data = os.read(self.requests, 1 << 16)
        for frame in self._reader.feed(data):
            if frame.kind == wire.PARSE:
                self._start(frame.header)
            elif frame.kind == wire.ANSWER and (job := self.jobs.get(frame.header["id"])) is not None:
                self._answer(job, frame)
        return bool(data)

    def _start(self, request: dict[str, Any]) -> None:
        ours, theirs = socket.socketpair()
        out_read, out_write = os.pipe()
        parent = os.getpid()
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            from trackside.runner.parsing import child

            child.main(request, self.settings, theirs.fileno(), out_write, parent)  # never returns
        theirs.close()
        os.close(out_write)
        os.set_blocking(out_read, False)
        ours.setblocking(False)
        pidfd = os.pidfd_open(pid)
        job = Job(request["id"], pid, pidfd, ours, out_read, started, started + (request.get("timeout") or self.settings.timeout))
        self.jobs[job.id] = job
        for fd, what in ((pidfd, "exit"), (ours.fileno(), "channel"), (out_read, "output")):
            self._fds[fd] = (what, job)
            self._poll.register(fd, select.POLLIN)
        if len(self.jobs) == 1:
            self._watch_at = started + WATCH_S

    def _answer(self, job: Job, frame: wire.Frame) -> None:
        job.channel.setblocking(True)
        job.channel.settimeout(1.0)  # it asked, so it reads
        try:
            job.channel.sendall(wire.pack(frame.kind, frame.header, frame.body))
        except OSError:
            pass
        finally:
            job.channel.setblocking(False)

    def _on_channel(self, job: Job) -> bool:
        """Read once; False when there is nothing more to read."""
        try:
            data = job.channel.recv(1 << 20)
            frames = job.reader.feed(data)
        except BlockingIOError:
            return False
        except (OSError, wire.Broken):
            self._kill(job, "result")
            data, frames = b"", []
        for frame in frames:
            if frame.kind == wire.RESULT:
                job.result = frame.body
            elif frame.kind == wire.LIMIT:
                job.limit = float(frame.header["seconds"])
                job.deadline = job.started + job.limit
            elif frame.kind == wire.ASK:
                wire.send(self.replies, wire.ASK, {**frame.header, "id": job.id})
        if not data:
            self._forget(job.channel.fileno())
        return bool(data)

    def _on_output(self, job: Job) -> bool:
        """Read once, keep the beginning; False when there is nothing more to read."""
        try:
            data = os.read(job.output, 1 << 16)
        except BlockingIOError:
            return False
        job.printed += len(data)
        job.kept += data[: max(0, OUTPUT_CAP - len(job.kept))]
        if not data:
            self._forget(job.output)
        return bool(data)

    def _on_exit(self, job: Job) -> None:
        """The process of the file has ended: collect what is left, clean up, tell."""
        _, status = os.waitpid(job.pid, 0)
        del self.jobs[job.id]
        while self._on_channel(job):
            pass
        # what it left behind may still write into the pipe, faster than we read: a few reads are enough
        for _ in range(16):
            if not self._on_output(job):
                break
        self._send_signal(job)
        self._sweep()
        for fd in (job.pidfd, job.channel.fileno(), job.output):
            self._forget(fd)
        job.channel.close()
        os.close(job.pidfd)
        os.close(job.output)
        self._report(job, status)

    def _report(self, job: Job, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        verdict = job.verdict
        if verdict is None:
            verdict = "signal" if code < 0 else "ok" if code == 0 and job.result is not None else "exit"
        output = bytes(job.kept).decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
        if job.printed > OUTPUT_CAP:
            output += f"\n… truncated: the file printed {job.printed:,} bytes.\n"
        header = {
            "id": job.id,
            "verdict": verdict,
            "code": abs(code),
            "output": output,
            "limit": job.limit,
            "duration": round(time.monotonic() - job.started, 6),
        }
        wire.send(self.replies, wire.DONE, header, (job.result or b"") if verdict == "ok" else b"")

    def _look(self, now: float) -> None:
        """Limits that nobody else enforces: time, processes, memory of the whole tree."""
        if self._strangers:
            self._sweep()
        for job in list(self.jobs.values()):
            if now >= job.deadline and job.verdict is None:
                self._kill(job, "timeout")
        if self.jobs and now >= self._watch_at:
            self._watch_at = now + WATCH_S
            for job in list(self.jobs.values()):
                tree = procs.descendants(job.pid)
                if len(tree) >= self.settings.max_processes:
                    self._kill(job, "processes")
                elif sum(map(_private_bytes, [job.pid, *tree])) > self.settings.memory_mb << 20:
                    self._kill(job, "memory")

    def _kill(self, job: Job, verdict: str) -> None:
        job.verdict = job.verdict or verdict
        tree = procs.descendants(job.pid)
        self._send_signal(job)
        procs.send([job.pid, *tree], signal.SIGKILL)

    @staticmethod
    def _send_signal(job: Job) -> None:
        try:
            os.killpg(job.pid, signal.SIGKILL)  # at once for all of them, also those being forked
        except (ProcessLookupError, PermissionError):
            pass

    def _sweep(self) -> None:
        """Kill and reap what ended files left behind."""
        self._strangers = procs.kill_orphans([job.pid for job in self.jobs.values()]) > 0

    def _forget(self, fd: int) -> None:
        if fd in self._fds:
            del self._fds[fd]
            self._poll.unregister(fd)

    def _end(self) -> None:
        for job in self.jobs.values():
            self._kill(job, "timeout")
        self.jobs.clear()
        give_up = time.monotonic() + 2.0
        while procs.kill_orphans(thorough=True) and time.monotonic() < give_up:
            time.sleep(SWEEP_S)


def _private_bytes(pid: int) -> int:
    """Resident memory that is not shared with the warm parent (roughly)."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        return max(0, int(fields[1]) - int(fields[2])) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _import_all(package: str) -> None:
    """Every module of a package: what one file in a hundred needs is too dear to import in each that does."""
    path = importlib.import_module(package).__path__
    for module in pkgutil.walk_packages(path, f"{package}.", onerror=lambda name: None):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ImportError:
                pass  # something optional is not installed: the file that wants it will say so


def _prime(settings: ParseSettings) -> None:
    """Read our own sample the way files are read. What goes wrong here goes wrong again where it is shown."""
    from trackside.runner.parsing import child

    path = str(Path(__file__).with_name("primer.py"))
    for problem in child.load(path, {}, settings)["errors"]:
        sys.stderr.write(f"parse server, warming up: {problem['message']}\n")


def warm_up(settings: ParseSettings) -> None:
    """Import what files will want, and take it out of the garbage collector's sight, so that forks share the memory."""
    for name in settings.preload:
        importlib.import_module(name)
    if settings.bridge:
        module, _, function = settings.bridge.partition(":")
        getattr(importlib.import_module(module), function)()
    for name in settings.preload_below:
        _import_all(name)
    plugins.entry_points()
    policies.entry_points()
    policies.hold_off()
    if settings.primer:
        _prime(settings)
    gc.collect()
    gc.freeze()


def main(arguments: list[str]) -> None:
    settings, parent = ParseSettings.from_json(arguments[0]), int(arguments[1])
    procs.die_with_parent(parent)
    procs.become_subreaper()
    procs.set_name("trackside-parse")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the processor decides
    requests, replies = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what preloaded modules print goes to the log
    warm_up(settings)
    wire.send(replies, wire.READY, {})
    Server(settings, requests, replies).serve()
    os._exit(0)  # nothing to save: taking the interpreter apart would only keep the processor waiting


if __name__ == "__main__":
    main(sys.argv[1:])
