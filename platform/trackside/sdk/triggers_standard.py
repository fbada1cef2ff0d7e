"""Triggers that come with Trackside: a moment, a span of time, a file.

For the sensors in `sensors/`. They are known by the names of Airflow's standard provider.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import glob
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from trackside.sdk.triggers import BaseEventTrigger, BaseTrigger, TaskSuccessEvent, TriggerEvent

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


def has_file(pattern: str, recursive: bool) -> bool:
    """Whether a file matches, or a folder that matches holds one."""
    for name in glob.glob(pattern, recursive=recursive):  # noqa: PTH207 — the pattern may be absolute
        path = Path(name)
        if path.is_file() or any(item.is_file() for item in path.rglob("*")):
            return True
    return False
