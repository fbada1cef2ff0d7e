"""Running one command: its lines go to the task's log, its last line is the result, its whole group can be killed.

For `bash.py` and the operators that start another interpreter.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from trackside.sdk.hooks import BaseHook

KILL_AFTER_S = 3.0
"""How long a command may take to end after SIGTERM; shorter than the runner's own patience with the task."""


class SubprocessResult(NamedTuple):
    """Exit code and last line of output."""

    exit_code: int
    output: str


class SubprocessHook(BaseHook):
    """One command at a time."""

    def __init__(self, **kwargs: str | None) -> None:
        super().__init__(**kwargs)
        self.sub_process: subprocess.Popen[bytes] | None = None

    def run_command(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        output_encoding: str = "utf-8",
        cwd: str | None = None,
        *,
        pass_fds: Collection[int] = (),
    ) -> SubprocessResult:
        """Run to the end. Without `cwd` it runs in a fresh temporary folder. `pass_fds` stay open for the command."""
        with contextlib.ExitStack() as stack:
            if cwd is None:
                cwd = stack.enter_context(tempfile.TemporaryDirectory(prefix="airflowtmp"))
            self.log.info("Running command: %s", list(command))
            process = self.sub_process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=None if env is None else dict(env),
                pass_fds=pass_fds,
                process_group=0,  # a group of its own in our session: on_kill reaches all it started
            )
            self.log.info("Output:")
            line = ""
            assert process.stdout is not None
            with process.stdout:
                for raw in process.stdout:
                    line = raw.decode(output_encoding, errors="backslashreplace").rstrip()
                    self.log.info("%s", line)
            code = process.wait()
            self.log.info("Command exited with return code %s", code)
        return SubprocessResult(exit_code=code, output=line)

    def send_sigterm(self) -> None:
        """End the command and everything it started: SIGTERM, then SIGKILL."""
        process = self.sub_process
        if process is None:
            return
        self.log.info("Sending SIGTERM signal to process group")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
