"""BashOperator: runs a command or script in bash; the last line of its output is the result."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Container, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from trackside.sdk.exceptions import AirflowException, AirflowSkipException
from trackside.sdk.execution.context import context_to_airflow_vars
from trackside.sdk.operator import BaseOperator
from trackside.sdk.operators.subprocess import SubprocessHook, SubprocessResult
from trackside.sdk.types import ArgNotSet

LONGEST_ARGUMENT = 100_000
"""Bytes of command given to `bash -c`; the system's limit for one argument is 128 KiB. Longer ones become a file."""


def _same(line: str) -> Any:
    return line


class BashOperator(BaseOperator):
    """Runs `bash_command` (or the content of a `.sh`/`.bash` template file).

    `env`: the environment instead of the worker's (with `append_env` in addition to it). `cwd`: an existing folder; by
    default a temporary one. Exit code 0 succeeds, those in `skip_on_exit_code` skip, all others fail.
    """

    template_fields: Collection[str] = ("bash_command", "env", "cwd")
    template_fields_renderers: ClassVar[dict[str, str]] = {"bash_command": "bash", "env": "json"}
    template_ext: Sequence[str] = (".sh", ".bash")
    ui_color = "#f0ede4"

    def __init__(
        self,
        *,
        bash_command: str | ArgNotSet,
        env: dict[str, str] | None = None,
        append_env: bool = False,
        output_encoding: str = "utf-8",
        skip_on_exit_code: int | Container[int] | None = 99,
        cwd: str | None = None,
        output_processor: Callable[[str], Any] = _same,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bash_command = bash_command
        self.env, self.append_env = env, append_env
        self.output_encoding = output_encoding
        if isinstance(skip_on_exit_code, Container):
            self.skip_on_exit_code: Container[int] = skip_on_exit_code
        else:
            self.skip_on_exit_code = [] if skip_on_exit_code is None else [skip_on_exit_code]
        self.cwd = cwd
        self.output_processor = output_processor

    @cached_property
    def subprocess_hook(self) -> SubprocessHook:
        """What runs the command."""
        return SubprocessHook()

    def get_env(self, context: Any) -> dict[str, str]:
        """The environment of the command."""
        inherited = dict(os.environ) if self.env is None or self.append_env else {}
        env = {**inherited, **(self.env or {})}
        env.update(context_to_airflow_vars(context, in_env_var_format=True))
        return env

    def execute(self, context: Any) -> Any:
        """Run the command."""
        if self.cwd is not None:
            folder = Path(self.cwd)
            if not folder.exists():
                raise AirflowException(f"Can not find the cwd: {self.cwd}")
            if not folder.is_dir():
                raise AirflowException(f"The cwd {self.cwd} must be a directory")
        result = self._run(str(self.bash_command), self.get_env(context))
        if result.exit_code in self.skip_on_exit_code:
            raise AirflowSkipException(f"Bash command returned exit code {result.exit_code}. Skipping.")
        if result.exit_code != 0:
            raise AirflowException(
                f"Bash command failed. The command returned a non-zero exit code {result.exit_code}."
            )
        return self.output_processor(result.output)

    def _run(self, command: str, env: dict[str, str]) -> SubprocessResult:
        bash = shutil.which("bash") or "bash"
        if len(command.encode()) <= LONGEST_ARGUMENT:
            return self.subprocess_hook.run_command([bash, "-c", command], env, self.output_encoding, self.cwd)
        with tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
            script.write(command)
            script.flush()
            return self.subprocess_hook.run_command([bash, script.name], env, self.output_encoding, self.cwd)

    def on_kill(self) -> None:
        """End the command."""
        self.subprocess_hook.send_sigterm()
