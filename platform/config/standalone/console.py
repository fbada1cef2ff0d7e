"""What people see of a stack: one line per step, and every child's output behind its name."""

from __future__ import annotations

import os
import sys
import time

NAME_WIDTH = 13


class Console:
    """Lines to standard output. A reader that went away (`| head`) is no reason to stop: then it is silent."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def step(self, name: str, text: str) -> None:
        """One step of start or stop, with the seconds since the start."""
        self._write(f"{name:<{NAME_WIDTH}} {text}  ({time.monotonic() - self._began:.1f} s)\n")

    def say(self, text: str) -> None:
        self._write(text + "\n")

    def child(self, name: str, lines: bytes) -> None:
        """Output of a child, complete lines."""
        self._write("".join(f"{name:<{NAME_WIDTH}}| {line}\n" for line in lines.decode(errors="replace").splitlines()))

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except (OSError, ValueError):
            # the buffer would be flushed again at exit and fail again: from now on it leads nowhere
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
