"""Python log records as the lines of a try's log, see `core.messages.LOG_FORMAT`.

For `child`, which puts a `ControlHandler` on the root logger of the task process.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

MAX_CAUSES = 8


def moment(seconds: float) -> str:
    """Seconds since the epoch in the log's notation."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class ControlHandler(logging.Handler):
    """Hands each record, as a dict, to `send`."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`; a record that cannot be formatted is reported on stderr as usual."""
        try:
            line: dict[str, Any] = {
                "t": moment(record.created),
                "level": record.levelname.lower(),
                "logger": record.name,
                "event": record.getMessage(),
                "src": "log",
                "lineno": record.lineno,
                "filename": record.pathname,
            }
            if record.exc_info and record.exc_info[1] is not None:
                line["error_detail"] = exception_detail(record.exc_info[1])
            if record.stack_info:
                line["stack"] = record.stack_info
            self._send(line)
        except Exception:
            self.handleError(record)


def exception_detail(error: BaseException) -> list[dict[str, Any]]:
    """The exception and what caused it, newest first, with the frames of each."""
    chain: list[dict[str, Any]] = []
    current: BaseException | None = error
    is_cause = False
    while current is not None and len(chain) < MAX_CAUSES:
        frames = traceback.extract_tb(current.__traceback__)
        chain.append(
            {
                "exc_type": type(current).__name__,
                "exc_value": str(current),
                "exc_notes": [str(note) for note in getattr(current, "__notes__", ())],
                "is_cause": is_cause,
                "frames": [
                    {"filename": f.filename, "lineno": f.lineno, "name": f.name, "line": f.line or ""} for f in frames
                ],
            }
        )
        is_cause = current.__cause__ is not None
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return chain
