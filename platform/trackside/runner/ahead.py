"""The fork server of a single try, forked off before its runner has imported anything of its own.

For `__main__` and `single`: what tasks import is imported in the forked process while the runner claims the try, and the two
share one start of the interpreter. The forked process differs from a fresh one (`ForkServer.start_server`) in nothing a task
could use: it never knew the start token, leads a session of its own, and has of the environment what tasks may see.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Sequence

from trackside.core.environment import scrubbed

HARMLESS = frozenset({"TRACKSIDE_API_URL", "TRACKSIDE_DAG_FILES", "TRACKSIDE_FILES_CACHE", "TRACKSIDE_LOG_FORMAT", "TRACKSIDE_LOG_LEVEL"})
"""The kernel shows the environment that a process was started with for as long as it runs, /proc/self/environ. If more than these
names had to be hidden from tasks, nothing is forked ahead."""


SHARED = (
    "hashlib", "subprocess", "tempfile", "trackside.core.logline", "trackside.core.masking", "trackside.core.messages",
    "trackside.runner.client", "trackside.runner.procs",
)  # fmt: skip
"""What runner and fork server both import, and so before they part."""


class Ahead:
    """The forked process; stands in for `subprocess.Popen`."""

    def __init__(self, pid: int, pair: tuple[socket.socket, socket.socket]) -> None:
        self.pid = pid
        self.pair = pair
        """Our end of its channel, and its end, closed."""
        self._pidfd = os.pidfd_open(pid)
        self._status: int | None = None

    def wait(self, timeout_s: float | None = None) -> int:
        """Its wait status, once it has ended. Raises TimeoutError."""
        if self._status is None:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            if not poll.poll(None if timeout_s is None else timeout_s * 1000):
                raise TimeoutError
            try:
                _, self._status = os.waitpid(self.pid, 0)
            except ChildProcessError:
                self._status = 0
            os.close(self._pidfd)
        return self._status

    def kill(self) -> None:
        """SIGKILL."""
        if self._status is None:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)


def fork(argv: Sequence[str]) -> Ahead | None:
    """The process, or None: the command line is not of a single try, or the environment has what tasks may not see.

    To be called first of all, without threads, event loop or token.
    """
    if not any(word == "--try-id" or word.startswith("--try-id=") for word in argv):
        return None
    visible = scrubbed(os.environ)
    if any(name not in visible and name not in HARMLESS for name in os.environ):
        return None
    for name in SHARED:
        importlib.import_module(name)
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid != 0:
        theirs.close()
        return Ahead(pid, (ours, theirs))
    code = 1
    try:
        ours.close()
        code = _serve(theirs.detach(), visible)
    except BaseException:  # nothing may climb back into the runner
        traceback.print_exc()
    finally:
        os._exit(code)


def _serve(channel: int, environment: dict[str, str]) -> int:
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for fd in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 - by their limit, which may be a billion, some systems close one by one
        if fd > 2 and fd != channel:
            with contextlib.suppress(OSError):  # that of the list itself
                os.close(fd)
    os.environ.clear()
    os.environ.update(environment)
    if not sys.flags.safe_path:
        del sys.path[0]  # the folder that the runner was started in, as with `python -P`
    from trackside.runner import forkserver

    return forkserver.main(["", str(channel)])
