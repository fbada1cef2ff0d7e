"""FileSensor: waits until a file is there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from pathlib import Path
from typing import Any

from trackside.sdk.arguments import DEFAULT_DEFERRABLE
from trackside.sdk.exceptions import AirflowException, AirflowNotFoundException
from trackside.sdk.hooks import BaseHook
from trackside.sdk.sensor import BaseSensorOperator
from trackside.sdk.triggers import StartTriggerArgs
from trackside.sdk.triggers_standard import FileTrigger, has_file


class FSHook(BaseHook):
    """The folder in the extra of a connection of type `fs`."""

    conn_name_attr = "fs_conn_id"
    default_conn_name = "fs_default"
    conn_type = "fs"
    hook_name = "File (path)"

    def __init__(self, fs_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        try:
            self.basepath = str(self.get_connection(fs_conn_id).extra_dejson.get("path", ""))
        except AirflowNotFoundException:
            if fs_conn_id != self.default_conn_name:
                raise
            self.basepath = ""  # Airflow makes this connection by itself

    def get_conn(self) -> None:
        """There is nothing to connect to."""

    def get_path(self) -> str:
        """The folder."""
        return self.basepath


class FileSensor(BaseSensorOperator):
    """`filepath` (a glob pattern) below the `path` in the extra of the connection `fs_conn_id`, or as it is."""

    template_fields: Collection[str] = ("filepath", "fs_conn_id")
    ui_color = "#91818a"
    start_from_trigger = False

    def __init__(
        self,
        *,
        filepath: str,
        fs_conn_id: str = "fs_default",
        recursive: bool = False,
        deferrable: bool = DEFAULT_DEFERRABLE,
        start_from_trigger: bool = False,
        trigger_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filepath, self.fs_conn_id = filepath, fs_conn_id
        self.recursive, self.deferrable = recursive, deferrable
        self.start_from_trigger = start_from_trigger
        if deferrable and start_from_trigger:
            self.start_trigger_args = StartTriggerArgs(
                trigger_cls="airflow.providers.standard.triggers.file.FileTrigger",
                trigger_kwargs={"filepath": self.path, "recursive": recursive, "poke_interval": self.poke_interval},
                next_method="execute_complete",
                timeout=dt.timedelta(seconds=self.timeout),
            )

    @property
    def path(self) -> str:
        """The pattern, below the connection's path."""
        return str(Path(FSHook(self.fs_conn_id).get_path()) / self.filepath)

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
