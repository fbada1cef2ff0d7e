"""Lines that triggers log, on their way into the log of the try that waits.

For `service`. The worker's part of that log may still be on its way when the trigger begins to talk; two writers of one
file would cut each other's lines, so lines wait until the worker's part is complete.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from apps.runs import logs, sql

LONGEST_WAIT_S = 10.0
"""After this the worker's part counts as complete: the worker is gone."""
MAX_BYTES = 1 << 20
"""Kept in memory per try; more is dropped, and said."""


class TaskLogs:
    """Lines not yet written, by try."""

    def __init__(self) -> None:
        self._lines: dict[UUID, list[bytes]] = {}
        self._sizes: dict[UUID, int] = {}
        self._since: dict[UUID, float] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether anything is still to be written."""
        return bool(self._lines)

    def add(self, try_id: UUID, line: dict[str, Any]) -> None:
        """One line in the form of `core.messages.LOG_FORMAT`."""
        data = orjson.dumps(line, default=str) + b"\n"
        size = self._sizes.get(try_id, 0)
        if size > MAX_BYTES:
            return
        if size + len(data) > MAX_BYTES:
            data = orjson.dumps(_line("The trigger logs faster than can be stored; lines are missing here.", "warning")) + b"\n"
            size = MAX_BYTES
        self._sizes[try_id] = size + len(data)
        self._lines.setdefault(try_id, []).append(data)
        self._since.setdefault(try_id, time.monotonic())

    def system(self, try_id: UUID, text: str, level: str = "info") -> None:
        """A line in the triggerer's own words."""
        self.add(try_id, _line(text, level))

    def flush(self, force: Collection[UUID] = ()) -> None:
        """Write what can be written; `force`: these in any case, because their tries go on now."""
        if not self._lines:
            return
        wanted = [t for t in self._lines if t in force] if force else list(self._lines)
        ready = self._complete(wanted) | set(force)
        patience = time.monotonic() - LONGEST_WAIT_S
        for try_id in wanted:
            if try_id in ready or self._since[try_id] < patience:
                logs.append(try_id, logs.size_of(try_id), b"".join(self._lines.pop(try_id)))
                del self._sizes[try_id], self._since[try_id]

    @staticmethod
    def _complete(try_ids: list[UUID]) -> set[UUID]:
        rows = sql.rows("SELECT id, log_size, log_ended FROM runs_try WHERE id = ANY(%s::uuid[])", [try_ids])
        return {t for t, size, ended in rows if ended or (size and logs.size_of(t) >= size)}


def _line(text: str, level: str) -> dict[str, Any]:
    moment = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"t": moment, "level": level, "logger": "trackside.triggerer", "event": text, "src": "system"}
