"""What people see of a stack: one line per step, and every child's output behind its name."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime

NAME_WIDTH = 13


class Console:
    """Lines to standard output. A reader that went away (`| head`) is no reason to stop: then it is silent."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._json = os.environ.get("TRACKSIDE_LOG_FORMAT", "").strip().lower() == "json"

    def step(self, name: str, text: str) -> None:
        """One step of start or stop, with the seconds since the start."""
        if self._json:
            self.say(text, name)
            return
        self._write(f"{name:<{NAME_WIDTH}} {text}  ({time.monotonic() - self._began:.1f} s)\n")

    def say(self, text: str, name: str = "standalone") -> None:
        """A line of our own."""
        if self._json:
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            line = {"at": now, "level": "info", "logger": "trackside.standalone", "process": name, "message": text.strip()}
            text = json.dumps(line, ensure_ascii=False)
        self._write(text + "\n")

    def child(self, name: str, lines: bytes) -> None:
        """Output of a child, complete lines. With TRACKSIDE_LOG_FORMAT=json they are objects that name their process already;
        what is none (a crash of the interpreter, a print in a DAG file) is made one."""
        if self._json:
            for line in lines.decode(errors="replace").splitlines():
                if line.startswith("{") and line.endswith("}"):
                    self._write(line + "\n")
                elif line.strip():
                    self.say(line, name)
            return
        self._write("".join(f"{name:<{NAME_WIDTH}}| {line}\n" for line in lines.decode(errors="replace").splitlines()))

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except (OSError, ValueError):
            # the buffer would be flushed again at exit and fail again: from now on it leads nowhere
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
