"""Becomes a child of the stack: `python -I -S launch.py <parent's pid> <program> …`.

It ties its life to its parent's, then execs. A program of its own, because Python code between fork and exec is not
safe in a process with threads. The kernel kills what is left when the supervisor dies, however it dies; everything in
Trackside survives a SIGKILL. Imports nothing of ours: it must start in milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PARENT_IS_GONE = 75


def main(argv: list[str]) -> None:
    parent, program = int(argv[0]), argv[1:]
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(PARENT_IS_GONE)
    os.execv(program[0], program)  # noqa: S606 (becoming the program is the point)


if __name__ == "__main__":
    main(sys.argv[1:])
