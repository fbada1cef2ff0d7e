"""FileSensor: waits until a file is there."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from trackside.sdk.exceptions import AirflowException, AirflowNotFoundException
from trackside.sdk.hooks import BaseHook
from trackside.sdk.sensor import BaseSensorOperator
from trackside.sdk.triggers_standard import FileTrigger, has_file


class FileSensor(BaseSensorOperator):
    """`filepath` (a glob pattern) below the `path` in the extra of the connection `fs_conn_id`, or as it is."""

    template_fields: Collection[str] = ("filepath",)
    ui_color = "#91818a"

    def __init__(
        self,
        *,
        filepath: str,
        fs_conn_id: str = "fs_default",
        recursive: bool = False,
        deferrable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filepath, self.fs_conn_id = filepath, fs_conn_id
        self.recursive, self.deferrable = recursive, deferrable

    @property
    def path(self) -> str:
        """The pattern, below the connection's path."""
        try:
            base = BaseHook.get_connection(self.fs_conn_id).extra_dejson.get("path", "")
        except AirflowNotFoundException:
            if self.fs_conn_id != "fs_default":
                raise
            base = ""
        return str(Path(base) / self.filepath)

    def poke(self, context: Any) -> bool:
        """Look once."""
        self.log.info("Poking for file %s", self.path)
        return has_file(self.path, self.recursive)

    def execute(self, context: Any) -> None:
        """Wait here, or in the triggerer."""
        if not self.deferrable:
            super().execute(context)
        elif not self.poke(context):
            self.defer(
                timeout=self.timeout,
                trigger=FileTrigger(self.path, self.recursive, self.poke_interval),
                method_name="execute_complete",
            )

    def execute_complete(self, context: Any, event: bool | None = None) -> None:
        """The trigger found the file."""
        if not event:
            raise AirflowException(f"{self.task_id} task failed as {self.filepath} not found.")
        self.log.info("%s completed successfully as %s found.", self.task_id, self.filepath)
