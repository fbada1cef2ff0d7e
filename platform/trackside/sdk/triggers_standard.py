"""Triggers that come with Trackside: a moment, a span of time, a file.

For the sensors in `sensors/`. They are known by the names of Airflow's standard provider.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import glob
import logging
from collections.abc import AsyncIterator, Hashable
from pathlib import Path
from typing import Any

from trackside.sdk.triggers import BaseEventTrigger, BaseTrigger, TaskSuccessEvent, TriggerEvent

logger = logging.getLogger(__name__)

LONGEST_SLEEP_S = 60.0
"""A clock may be set while we sleep: look at it at least this often."""


class DateTimeTrigger(BaseTrigger):
    """Fires at `moment` (aware). `end_from_trigger`: the task is then a success without a worker."""

    def __init__(self, moment: dt.datetime, *, end_from_trigger: bool = False) -> None:
        super().__init__()
        if not isinstance(moment, dt.datetime):
            raise TypeError(f"Expected datetime.datetime type for moment. Got {type(moment)}")
        if moment.tzinfo is None:
            raise ValueError("You cannot pass naive datetimes")
        self.moment = moment.astimezone(dt.UTC)
        self.end_from_trigger = end_from_trigger

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See `BaseTrigger.serialize`."""
        arguments = {"moment": self.moment, "end_from_trigger": self.end_from_trigger}
        return "airflow.providers.standard.triggers.temporal.DateTimeTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep until the moment."""
        while (left := (self.moment - dt.datetime.now(dt.UTC)).total_seconds()) > 0:  # noqa: ASYNC110 — time is what it waits for
            await asyncio.sleep(min(left, LONGEST_SLEEP_S))
        yield TaskSuccessEvent() if self.end_from_trigger else TriggerEvent(self.moment.isoformat())


class TimeDeltaTrigger(DateTimeTrigger):
    """Fires `delta` after it was made."""

    def __init__(self, delta: dt.timedelta, *, end_from_trigger: bool = False) -> None:
        super().__init__(dt.datetime.now(dt.UTC) + delta, end_from_trigger=end_from_trigger)


class FileTrigger(BaseEventTrigger):
    """Fires when a file matching `filepath` (a glob pattern) is there."""

    def __init__(self, filepath: str, recursive: bool = False, poke_interval: float = 5.0, **kwargs: Any) -> None:
        super().__init__()
        self.filepath, self.recursive, self.poke_interval = filepath, recursive, poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See `BaseTrigger.serialize`."""
        arguments = {"filepath": self.filepath, "recursive": self.recursive, "poke_interval": self.poke_interval}
        return "airflow.providers.standard.triggers.file.FileTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, sleep, look again."""
        while not await asyncio.to_thread(has_file, self.filepath, self.recursive):  # noqa: ASYNC110
            await asyncio.sleep(self.poke_interval)
        yield TriggerEvent(True)


class FileDeleteTrigger(BaseEventTrigger):
    """Fires when the file is there, and deletes it."""

    def __init__(self, filepath: str, poke_interval: float = 5.0, **kwargs: Any) -> None:
        super().__init__()
        self.filepath, self.poke_interval = filepath, poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See `BaseTrigger.serialize`."""
        arguments = {"filepath": self.filepath, "poke_interval": self.poke_interval}
        return "airflow.providers.standard.triggers.file.FileDeleteTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, sleep, look again."""
        while not await asyncio.to_thread(_take_file, Path(self.filepath)):  # noqa: ASYNC110
            await asyncio.sleep(self.poke_interval)
        self.log.info("File %s has been deleted", self.filepath)
        yield TriggerEvent(True)


class DirectoryFileDeleteTrigger(BaseEventTrigger):
    """Fires when `filename` is in `directory`, and deletes it. Those of the same directory and interval share one scan."""

    def __init__(self, *, directory: str, filename: str, poke_interval: float = 5.0) -> None:
        super().__init__()
        self.directory, self.filename, self.poke_interval = directory, filename, poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See `BaseTrigger.serialize`."""
        arguments = {"directory": self.directory, "filename": self.filename, "poke_interval": self.poke_interval}
        return "airflow.providers.standard.triggers.file.DirectoryFileDeleteTrigger", arguments

    def shared_stream_key(self) -> Hashable | None:
        return "directory-scan", str(Path(self.directory).resolve()), self.poke_interval

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        """The names in the directory, again and again. What cannot heal by itself (no right, no directory) is raised."""
        directory = Path(kwargs["directory"])
        while True:
            try:
                names = await asyncio.to_thread(lambda: {item.name for item in directory.iterdir()})
            except FileNotFoundError:
                names = set()
            except (PermissionError, NotADirectoryError):
                raise
            except OSError as error:
                logger.warning("Failed to list %s: %s; again in %s s", directory, error, kwargs["poke_interval"])
                names = set()
            yield {"directory": str(directory), "names": names}
            await asyncio.sleep(kwargs["poke_interval"])

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Delete the own file when it is there, and fire."""
        async for seen in shared_stream:
            path = Path(seen["directory"]) / self.filename
            if self.filename in seen["names"] and await asyncio.to_thread(_take_file, path):
                self.log.info("File %s has been deleted", path)
                yield TriggerEvent({"filepath": str(path)})
                return

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Alone: the same scan for itself."""
        async for event in self.filter_shared_stream(type(self).open_shared_stream(self.serialize()[1])):
            yield event


def _take_file(path: Path) -> bool:
    """Delete a file; whether it was there (whoever deletes it has it)."""
    try:
        path.unlink()
    except (FileNotFoundError, IsADirectoryError):
        return False
    return True


def has_file(pattern: str, recursive: bool) -> bool:
    """Whether a file matches, or a folder that matches holds one."""
    for name in glob.glob(pattern, recursive=recursive):  # noqa: PTH207 — the pattern may be absolute
        path = Path(name)
        if path.is_file() or any(item.is_file() for item in path.rglob("*")):
            return True
    return False
