"""Task logging: every record of the standard library's logging goes to the runner's sink as one dict.

For the runner, which calls `setup(emit)` once in the task process before user code runs. stdout and stderr are captured
by the runner by file descriptor. The dict has the shape of `core.messages.LOG_FORMAT`.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from trackside.sdk.log import redact

Emit = Callable[[dict[str, Any]], None]
_LEVELS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}


class SinkHandler(logging.Handler):
    """Hands records to `emit`; an error in it is reported like any logging error and never reaches the task."""

    def __init__(self, emit: Emit) -> None:
        super().__init__()
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        try:
            self._emit(entry(record))
        except Exception:
            self.handleError(record)


def entry(record: logging.LogRecord) -> dict[str, Any]:
    """A record as one line of the log."""
    line: dict[str, Any] = {
        "t": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "level": _LEVELS.get(record.levelno, record.levelname.lower()),
        "logger": record.name,
        "event": redact(record.getMessage()),
        "src": getattr(record, "src", "log"),
        "lineno": record.lineno,
        "filename": record.filename,
    }
    if record.exc_info and record.exc_info[1] is not None:
        line["error_detail"] = error_detail(record.exc_info[1])
    elif record.stack_info:
        line["event"] += f"\n{record.stack_info}"
    return line


def error_detail(error: BaseException) -> list[dict[str, Any]]:
    """An exception with its causes, outermost first: type, message, notes, frames and the traceback as text."""
    chain: list[dict[str, Any]] = []
    seen: set[int] = set()
    at: BaseException | None = error
    is_cause = False
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        frames = [
            {"filename": frame.filename, "lineno": frame.lineno, "name": frame.name}
            for frame in traceback.extract_tb(at.__traceback__)
        ]
        chain.append(
            {
                "exc_type": type(at).__name__,
                "exc_value": redact(str(at)),
                "exc_notes": [redact(note) for note in getattr(at, "__notes__", ())],
                "is_cause": is_cause,
                "frames": frames,
                "text": redact("".join(traceback.format_exception(type(at), at, at.__traceback__, chain=False))),
            }
        )
        is_cause = at.__cause__ is not None
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return chain


def setup(emit: Emit, level: str | int | None = None) -> SinkHandler:
    """Send all logging of this process to `emit`. Existing handlers of the root logger are removed.

    The level is `level`, else AIRFLOW__LOGGING__LOGGING_LEVEL, else INFO.
    """
    handler = SinkHandler(emit)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level or os.environ.get("AIRFLOW__LOGGING__LOGGING_LEVEL", "INFO").upper())
    for part in os.environ.get("AIRFLOW__LOGGING__NAMESPACE_LEVELS", "").replace(",", " ").split():
        name, _, wanted = part.partition("=")
        if wanted:
            logging.getLogger(name).setLevel(wanted.upper())
    task = logging.getLogger("airflow.task")
    task.handlers.clear()
    task.propagate = True
    logging.captureWarnings(True)
    return handler


def error_line(error: BaseException) -> str:
    """One line a person can act on: class, message, and the innermost line of the user's code."""
    message = " ".join(str(error).split())
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    where = ", ".join([note for note in getattr(error, "__notes__", ()) if "\n" not in note][:1])
    where = where or _user_frame(error) or ""
    return redact(f"{text} ({where})" if where else text)


def _user_frame(error: BaseException) -> str | None:
    ours = str(PurePath(__file__).parents[2])
    best = None
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith((ours, "<frozen")):
            continue
        installed = "site-packages" in frame.filename or "/lib/python" in frame.filename
        if best is None or not installed or best[1]:
            best = (frame, installed)
    if best is None or best[0].filename.startswith("<template"):
        return None
    return f"{PurePath(best[0].filename).name}:{best[0].lineno}"
