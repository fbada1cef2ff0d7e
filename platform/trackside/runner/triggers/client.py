"""The triggerer's side of its child: start it, write to it, hear it, end it. For `apps.runs.triggerer.service`."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from trackside.runner import jsonio
from trackside.runner.parsing.settings import clean_environment

logger = logging.getLogger(__name__)

STOP_S = 3.0
"""Seconds for the triggers' `cleanup` before the child is killed."""


class TriggerChild:
    """One child process. `hear(message)` is called from a thread for all it says; {"is": "gone"} is the last."""

    def __init__(self, dags_folder: str, hear: Callable[[TriggerChild, dict[str, Any]], None]) -> None:
        self._hear = hear
        self._process = subprocess.Popen(
            # -P: the folder the triggerer was started in is no place to import from
            [sys.executable, "-P", "-m", "trackside.runner.triggers.child", dags_folder, str(os.getpid())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_environment(), start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin: IO[bytes] = self._process.stdin
        threading.Thread(target=self._read, args=(self._process.stdout,), name="trigger-child", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: dict[str, Any]) -> None:
        """Tell it something. A dead child hears nothing; that it is gone is said by `hear`."""
        try:
            self._stdin.write(json.dumps(message, default=str).encode() + b"\n")
            self._stdin.flush()
        except (BrokenPipeError, ValueError):
            pass

    def stop(self) -> None:
        """Have it clean up and end."""
        try:
            self._stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it and what it started, now."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self._process.wait()

    def _read(self, stdout: IO[bytes]) -> None:
        for line in stdout:
            try:
                message = jsonio.loads(line)
            except ValueError:
                logger.warning("the trigger process wrote something that is no message: %.200r", line)
                continue
            if isinstance(message, dict):
                self._hear(self, message)
        self._process.wait()
        self._hear(self, {"is": "gone", "code": self._process.returncode})
