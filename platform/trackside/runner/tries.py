"""One try held by the worker, from its order to its report: pipes, control socket, log, kill, end.

For `agent` and the single runner (`__main__`), which say through `Host` what happens around it. The process at the other
end of the pipes is `child`; who forked it (`zygotes`) tells its pid and its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from typing import Any, Protocol

from trackside.core.messages import FinishReport, StartOrder
from trackside.runner import memory
from trackside.runner.channel import Kind, frame
from trackside.runner.jsonio import dumps, loads
from trackside.runner.logs import TryLog

READ = 256 * 1024
LINGER_S = 0.5
"""After the end of the process, its pipes are read this long at most if somebody else still holds them open."""
OVERTIME_S = 20.0
"""A process that has reported its end is killed if it has not left after this long."""

_EMPTY = FinishReport("").to_dict()


class Host(Protocol):
    """What a held try needs from around it."""

    def log_is_full(self, log: TryLog) -> bool:
        """Whether the task must wait until more of its log is sent."""

    def kill_process(self, held: HeldTry, grace_s: float) -> bool:
        """Have the process tree killed. False if no process was started yet, and then none will be."""

    def updated(self, held: HeldTry) -> None:
        """`held.update` has news."""

    def finished(self, held: HeldTry) -> None:
        """`held.report` is final."""


class HeldTry:
    """See the module. All methods run on the event loop."""

    def __init__(self, order: dict[str, Any], host: Host, log: TryLog) -> None:
        self._raw_order = order
        self.order = StartOrder.from_dict(order)
        self.id = self.order.try_id
        self.host = host
        self.log = log
        self.update: dict[str, Any] = {}
        self.report: dict[str, Any] | None = None
        """The FinishReport once the try has ended."""
        self.pid: int | None = None
        self.killing: str | None = None
        """Reason, from the moment the kill began."""
        self._kill_outcome = "killed"
        self._told: dict[str, Any] | None = None
        """The report the task process sent."""
        self._exit: int | None = None
        self._lost: str | None = None
        self._gone = False
        self._began = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._control_data = bytearray()
        self._outgoing = b""
        self._fds: dict[str, int] = {}
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        log.on_room = self._resume

    def open(self) -> list[int]:
        """Make the pipes and put the order into the control socket: descriptors for the process, to be closed by the caller."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        self._control = ours
        self._fds = {"control": ours.fileno(), "stdout": out_read, "stderr": err_read}
        os.set_blocking(out_read, False)
        os.set_blocking(err_read, False)
        self._watch()
        self._outgoing = frame(dumps(self._raw_order))
        self._push()
        return [theirs.detach(), out_write, err_write]

    @property
    def is_over(self) -> bool:
        """Whether `report` is final."""
        return self._gone

    # What others tell

    def started(self, pid: int) -> None:
        """The process runs."""
        self.pid = pid
        self.update["pid"] = pid
        self.host.updated(self)

    def kill(self, reason: str, grace_s: float, outcome: str = "killed") -> None:
        """Kill the whole tree; the report follows when it has gone."""
        if self._gone or self.killing is not None:
            return
        self.killing, self._kill_outcome = reason, outcome
        self.log.system(f"Killing the task: {reason}", "warning")
        if not self.host.kill_process(self, grace_s):
            self._finish()

    def exited(self, status: int) -> None:
        """The process has ended (wait status) and, if it was killed, everything it started."""
        self._exit = status
        self._read_the_rest()

    def lost(self, why: str) -> None:
        """The process is gone through no fault of its own."""
        self._lost = why
        self._read_the_rest()

    # Reading

    def _watch(self) -> None:
        for name, fd in self._fds.items():
            self._loop.add_reader(fd, self._on_control if name == "control" else self._on_output, *(
                () if name == "control" else (name,)
            ))  # fmt: skip

    def _on_output(self, name: str) -> None:
        fd = self._fds.get(name)
        if fd is None:
            return
        try:
            data = os.read(fd, READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        # Whatever the task asked to hide before it wrote this is in the control socket by now: read that first.
        self._read_control()
        if data:
            self.log.output(name, data)
            self._pause_if_full()
        else:
            self._close(name)
            self._maybe_finish()

    def _on_control(self) -> None:
        if self._read_control():
            self._pause_if_full()
        else:
            self._maybe_finish()

    def _read_control(self) -> bool:
        """Read all there is; False at its end."""
        while "control" in self._fds:
            try:
                data = self._control.recv(READ)
            except BlockingIOError:
                return True
            except OSError:
                data = b""
            if not data:
                self._close("control")
                break
            start = len(self._control_data)
            self._control_data += data
            if self._control_data.find(b"\n", start) >= 0:
                *lines, rest = self._control_data.split(b"\n")
                self._control_data = rest
                for line in lines:
                    self._heard(bytes(line[:1]), bytes(line[1:]))
        return False

    def _heard(self, kind: bytes, body: bytes) -> None:
        if kind == Kind.LOG:
            self.log.record(body)
            return
        try:
            value = loads(body)
        except ValueError:
            return
        if kind == Kind.MASK:
            self.log.masker.add(value)
        elif kind == Kind.UPDATE and isinstance(value, dict):
            self.update.update(value)
            self.host.updated(self)
        elif kind == Kind.FINISH and isinstance(value, dict):
            self._told = value
            self._set_timer(OVERTIME_S, self._overtime)

    def _push(self) -> None:
        """Send what is left of the order; a large one waits until the process reads."""
        try:
            sent = self._control.send(self._outgoing)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(self._outgoing)
        self._outgoing = self._outgoing[sent:]
        fd = self._control.fileno()
        if self._outgoing:
            self._loop.add_writer(fd, self._push)
        elif fd >= 0:
            self._loop.remove_writer(fd)

    def _pause_if_full(self) -> None:
        if not self._paused and self._exit is None and self._lost is None and self.host.log_is_full(self.log):
            self._paused = True
            for fd in self._fds.values():
                self._loop.remove_reader(fd)

    def _resume(self) -> None:
        if self._paused and not self._gone and not self.host.log_is_full(self.log):
            self._paused = False
            self._watch()

    def _close(self, name: str) -> None:
        fd = self._fds.pop(name)
        self._loop.remove_reader(fd)
        if name == "control":
            self._loop.remove_writer(fd)
            self._control.close()
        else:
            os.close(fd)

    # The end

    def _read_the_rest(self) -> None:
        if self._gone:
            return
        if self._paused:
            self._paused = False
            self._watch()
        self._set_timer(LINGER_S, self._finish)
        self._maybe_finish()

    def _maybe_finish(self) -> None:
        if self._gone or self._fds:
            return
        ended = self._exit is not None or self._lost is not None
        # A process that has reported and closed all its pipes is past its last line of user code: no need to wait for
        # the word of its parent.
        if ended or (self._told is not None and self.killing is None):
            self._finish()

    def _overtime(self) -> None:
        if not self._gone:
            self.host.kill_process(self, 0.0)

    def _finish(self) -> None:
        if self._gone:
            return
        self._gone = True
        if self._timer is not None:
            self._timer.cancel()
        for name in list(self._fds):
            self._drain(name)
        self.report = self._final_report()
        self.log.end()
        self.report["log_size"] = self.log.size if self.log.size_known else None
        self.host.finished(self)

    def _drain(self, name: str) -> None:
        """Read what lies in the pipe without waiting, then close it."""
        if name == "control":
            self._read_control()
        else:
            for _ in range(8):
                try:
                    data = os.read(self._fds[name], READ)
                except OSError:
                    break
                if not data:
                    break
                self.log.output(name, data)
        if name in self._fds:
            self._close(name)

    def _final_report(self) -> dict[str, Any]:
        told = self._told
        if self.killing is not None:
            self.log.system(f"The task and everything it started has been stopped: {self.killing}", "warning")
            report = {**_EMPTY, "outcome": self._kill_outcome, "error": self.killing}
        elif told is not None:
            report = {**_EMPTY, **told}
        elif self._lost is not None:
            self.log.system(self._lost, "error")
            report = {**_EMPTY, "outcome": "lost", "error": self._lost}
        else:
            report = {**_EMPTY, "outcome": "failed", "error": describe_exit(self._exit)}
            self.log.system(report["error"], "error")
        report["try_id"], report["token"] = self.id, self.order.token
        report["pid"] = self.pid or report.get("pid")
        if self._exit is not None:
            code = os.waitstatus_to_exitcode(self._exit)
            report["exit_code"], report["signal"] = (code, None) if code >= 0 else (None, -code)
        if report.get("duration_s") is None:
            report["duration_s"] = round(time.monotonic() - self._began, 6)
        for name in ("rendered_fields", "rendered_map_index"):
            if report.get(name) is None:
                report[name] = self.update.get(name)
        if report.get("error"):
            report["error"] = self.log.masker.hide(report["error"])
        return report

    def _set_timer(self, seconds: float, then: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, then)


def describe_exit(status: int | None) -> str:
    """Why a process that never reported has ended, for the person who reads the task page."""
    code = os.waitstatus_to_exitcode(status) if status is not None else 0
    if code >= 0:
        return (
            f"The task process ended by itself with exit code {code} before the task was finished "
            "(os._exit, or a library that ends the process)"
        )
    if -code == signal.SIGKILL and memory.was_killed_for_memory():
        return (
            f"The task was killed because it used more memory than its limit{memory.limit()}. "
            "Raise the memory limit (in pods resources.limits.memory), or let the task need less"
        )
    name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
    hints: dict[int, str] = {
        signal.SIGKILL: ": often out of memory (look at the memory limit of the worker), or killed by hand",
        signal.SIGSEGV: ": a crash in native code (an extension module)",
        signal.SIGBUS: ": a crash in native code, or a full /dev/shm",
        signal.SIGABRT: ": native code gave up (abort)",
        signal.SIGTERM: ": somebody asked it to stop",
    }
    return f"The task process was killed by signal {-code} ({name}){hints.get(-code, '')}"
