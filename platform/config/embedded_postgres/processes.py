"""Processes: starting one that dies with us, waiting for it, and recognising our server among those that run.

Used by `binaries` and `cluster` (`run_as`) and by `supervisor` (`Child`, `leftovers`). Next door: `launcher`, which
becomes the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from config.embedded_postgres.account import Account

LAUNCHER = Path(__file__).with_name("launcher.py")


def _command(argv: Sequence[str], account: Account, cwd: Path | None, death_signal: int) -> list[str]:
    order = {
        "argv": list(argv),
        # Nothing of our environment: no DATABASE_URL, no PG* variable and no LD_* path may reach the server.
        "env": {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        "cwd": str(cwd) if cwd else None,
        "uid": account.uid if account.switches else None,
        "gid": account.gid if account.switches else None,
        "parent": os.getpid(),
        "signal": int(death_signal),
    }
    return [sys.executable, "-I", "-S", str(LAUNCHER), json.dumps(order)]


def run_as(
    account: Account, argv: Sequence[str], *, cwd: Path | None = None, stdin: IO[str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a short command to its end as the server's user. Both outputs are in `stdout`; no exit code raises."""
    return subprocess.run(
        _command(argv, account, cwd, signal.SIGKILL),
        stdin=stdin if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


class Child:
    """The server process, held by a thread of its own.

    The kernel sends the parent-death signal when the *thread* that forked ends, so the fork must not happen in whatever
    thread called `start`. The thread also reaps the child at once: a dead server never looks alive as a zombie.
    """

    def __init__(self, argv: Sequence[str], account: Account, *, cwd: Path, log: IO[bytes]) -> None:
        self._command = _command(argv, account, cwd, signal.SIGINT)
        self._log = log
        self._exit_code: int | None = None
        self._guard = threading.Lock()
        self._forked = threading.Event()
        self._ended = threading.Event()
        self._problem: BaseException | None = None
        self.pid = 0
        threading.Thread(target=self._hold, name="embedded-postgres", daemon=True).start()
        self._forked.wait()
        if self._problem is not None:
            raise self._problem

    def _hold(self) -> None:
        try:
            # A session of its own: Ctrl-C in the terminal is for the supervisor, which stops the server last.
            process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True
            )
        except BaseException as problem:
            self._problem = problem
            self._forked.set()
            return
        self.pid = process.pid
        self._forked.set()
        if hasattr(os, "waitid"):  # not on macOS
            with contextlib.suppress(ChildProcessError):  # somebody in this process waits for any child and was faster
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._guard:  # from here on the process id may be reused: `signal` must not run in between
            self._exit_code = process.wait()
        self._ended.set()

    def poll(self) -> int | None:
        """The exit code (negative: the signal that ended it), or None while it runs."""
        return self._exit_code

    def wait(self, timeout: float) -> bool:
        """Whether it has ended within `timeout` seconds."""
        return self._ended.wait(timeout)

    def signal(self, signum: int) -> None:
        """Signals it unless it has ended; never hits a process that got the same id later."""
        with self._guard:
            if self._exit_code is None:
                os.kill(self.pid, signum)


def command_line(pid: int) -> list[str]:
    """The arguments of a process; empty when there is none, when it is a zombie or a thread of the kernel."""
    proc = Path("/proc")
    if (proc / "self").exists():
        try:
            raw = (proc / str(pid) / "cmdline").read_bytes()
        except OSError:
            return []
        return [part.decode(errors="replace") for part in raw.rstrip(b"\0").split(b"\0")] if raw else []
    answer = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
    return answer.stdout.split()


def is_server(pid: int, cluster: str) -> bool:
    """Whether `pid` is the main process of the server with this cluster name (see `cluster.cluster_name`).

    The command line decides, because every user may read it; /proc/<pid>/cwd is not (containers drop CAP_SYS_PTRACE).
    """
    arguments = command_line(pid)
    return bool(arguments) and Path(arguments[0]).name == "postgres" and f"cluster_name={cluster}" in arguments


def belongs(pid: int, cluster: str) -> bool:
    """Whether `pid` is the main process or one of the backends (`postgres: <cluster>: …`) of this cluster's server."""
    return " ".join(command_line(pid)).startswith(f"postgres: {cluster}: ") or is_server(pid, cluster)


def leftovers(cluster: str) -> list[int]:
    """All processes of a server of this cluster that run now."""
    if Path("/proc/self").exists():
        pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    else:
        listing = subprocess.run(["ps", "-ax", "-o", "pid="], capture_output=True, text=True)
        pids = [int(pid) for pid in listing.stdout.split()]
    return [pid for pid in pids if belongs(pid, cluster)]


def signal_member(pid: int, cluster: str, signum: int) -> None:
    """Signals a process of this cluster's server; a handle pins it, so a stranger that got the id is not hit."""
    if not hasattr(os, "pidfd_open"):  # not on macOS: the check and the signal are as close as they can be
        if belongs(pid, cluster):
            os.kill(pid, signum)
        return
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            if belongs(pid, cluster):
                signal.pidfd_send_signal(handle, signum)
        finally:
            os.close(handle)
