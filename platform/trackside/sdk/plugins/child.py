"""A process for user code of the site that a server process asks by lines of JSON: both ends of the pipe.

For `runner.bundles.own` (a bundle's class) and `executors.kubernetes.hooks` (`pod_mutation_hook`): code that must not run in the
process that needs its answer, may hang, print or end its process. What parses DAG files has a protocol of its own
(`runner.parsing.wire`): there are frames, many questions at once and a process that is kept warm.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any


class ChildGone(Exception):
    """The child has ended instead of answering; the text says how."""


class Child:
    """The asking end. The child is a process group of its own, so that what it starts ends with it."""

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, bufsize=0,
        )  # fmt: skip
        self._rest = b""

    def say(self, what: Mapping[str, Any]) -> None:
        """Write one line. Blocks while the child does not read. Raises ChildGone."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(what).encode() + b"\n")
        except BrokenPipeError:
            raise ChildGone(self._how()) from None

    def hear(self, give_up: float) -> dict[str, Any]:
        """Its next line, waiting until `give_up` (of `time.monotonic`). Raises TimeoutError and ChildGone."""
        assert self.process.stdout is not None
        out = self.process.stdout.fileno()
        while b"\n" not in self._rest:
            if not select.select([out], [], [], max(give_up - time.monotonic(), 0.0))[0]:
                raise TimeoutError
            if not (data := os.read(out, 1 << 16)):
                raise ChildGone(self._how())
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return dict(json.loads(line))

    def end(self) -> None:
        """Kill it with all it has started."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self.process.wait()

    def _how(self) -> str:
        try:
            return f"exit code {self.process.wait(1)}"
        except subprocess.TimeoutExpired:
            return "it closed its pipe"


def answers() -> Callable[[Mapping[str, Any]], None]:
    """The answering end: writes a line to the parent. What user code prints goes to the log from now on."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(what: Mapping[str, Any]) -> None:
        lines.write(json.dumps(what) + "\n")
        lines.flush()

    return say


def told(error: BaseException) -> str:
    """An exception in one line, with the line of the installation's own file that raised it."""
    where = [f for f in traceback.extract_tb(error.__traceback__) if "/trackside/" not in f.filename and "importlib" not in f.filename]
    at = f" ({where[-1].filename}, line {where[-1].lineno})" if where else ""
    return f"{type(error).__name__}: {error}{at}"
