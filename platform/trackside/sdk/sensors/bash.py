"""BashSensor: waits until a command succeeds."""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import cached_property
from typing import Any

from trackside.sdk.exceptions import AirflowFailException
from trackside.sdk.operators.subprocess import SubprocessHook
from trackside.sdk.sensor import BaseSensorOperator


class BashSensor(BaseSensorOperator):
    """Runs `bash_command`; exit code 0 ends the wait.

    With `retry_exit_code` only that code means "not yet", any other fails the task.
    """

    template_fields: Collection[str] = ("bash_command", "env")

    def __init__(
        self,
        *,
        bash_command: str,
        env: dict[str, str] | None = None,
        output_encoding: str = "utf-8",
        retry_exit_code: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bash_command, self.env = bash_command, env
        self.output_encoding, self.retry_exit_code = output_encoding, retry_exit_code

    @cached_property
    def subprocess_hook(self) -> SubprocessHook:
        """What runs the command."""
        return SubprocessHook()

    def poke(self, context: Any) -> bool:
        """Run once."""
        env = dict(os.environ) if self.env is None else self.env
        code = self.subprocess_hook.run_command(["bash", "-c", self.bash_command], env, self.output_encoding).exit_code
        if code == 0:
            return True
        if self.retry_exit_code is not None and code != self.retry_exit_code:
            raise AirflowFailException(f"Command exited with return code {code}")
        self.log.info("Non-zero return code and no retry code set. Will retry later")
        return False

    def on_kill(self) -> None:
        """End the command."""
        self.subprocess_hook.send_sigterm()
