"""Becomes the server process: `python -I -S launcher.py <json>` drops root, ties its life to its parent's, and
execs.

A program of its own, because the order is what matters and a forked Python with threads must not run Python code:
1. chdir while we still may (the data directory can lie below /root, see `cluster`),
2. drop to the server's user, 3. only then PR_SET_PDEATHSIG (the kernel clears it when the user id changes),
4. check that the parent did not die in between, 5. exec. Imports nothing of ours: it must start in milliseconds.

The JSON holds: argv, env, cwd (or null), uid and gid (or null: stay), parent (process id), signal (sent when the
parent dies).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

PR_SET_PDEATHSIG = 1
PARENT_IS_GONE = 75


def _parent_death_signal() -> Callable[[int], None]:
    """Loads the C library before root is dropped: our own interpreter may lie where the server's user cannot read."""
    if not sys.platform.startswith("linux"):
        return lambda signum: None
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def arm(signum: int) -> None:
        if prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")

    return arm


def main(order: dict[str, Any]) -> None:
    arm = _parent_death_signal()
    os.umask(0o077)
    if order["cwd"] is not None:
        os.chdir(order["cwd"])
    if order["uid"] is not None:
        os.setgroups([order["gid"]])
        os.setgid(order["gid"])
        os.setuid(order["uid"])
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    arm(order["signal"])
    if os.getppid() != order["parent"]:
        os._exit(PARENT_IS_GONE)
    os.execve(order["argv"][0], order["argv"], order["env"])  # noqa: S606 (becoming the server is the point)


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except OSError as error:
        sys.exit(f"launcher: {error}")
