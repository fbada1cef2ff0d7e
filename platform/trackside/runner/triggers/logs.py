"""What triggers log and print, with the number of the trigger it belongs to; the rest goes to the triggerer's own log.

For `child`. A context variable tells triggers apart, and follows them into `asyncio.to_thread`.
"""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from trackside.core.masking import Masker
from trackside.sdk.execution import logs

CURRENT: ContextVar[int | None] = ContextVar("trigger", default=None)
"""The trigger whose code runs."""
logger = logging.getLogger("trackside.triggers")
MAX_LINE = 16_384


def set_up(say: Callable[..., None], masker: Masker) -> None:
    """Send logging, stdout and stderr of triggers up as messages {"is": "log"}."""
    original = sys.stderr

    def emit(line: dict[str, Any]) -> None:
        number = CURRENT.get()
        line = masker.hide_in(line)
        if number is None:
            original.write(f"triggers: {line.get('event')}\n")
        else:
            say(**{"is": "log", "id": number, "line": line})

    logs.setup(emit)
    sys.stdout = _Lines("stdout", emit, original)
    sys.stderr = _Lines("stderr", emit, original)


class _Lines(io.TextIOBase):
    """A text stream that cuts what is written into lines, per trigger."""

    def __init__(self, name: str, emit: Callable[[dict[str, Any]], None], original: TextIO) -> None:
        self._name, self._emit, self._original = name, emit, original
        self._partial: dict[int, str] = {}

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._original.fileno()

    def write(self, text: str) -> int:
        number = CURRENT.get()
        if number is None:
            return self._original.write(text)
        *lines, rest = (self._partial.pop(number, "") + text).split("\n")
        if len(rest) > MAX_LINE:
            lines, rest = [*lines, rest], ""
        if rest:
            self._partial[number] = rest
        for line in lines:
            moment = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
            self._emit({"t": moment, "level": "info", "logger": "raw", "event": line[:MAX_LINE], "src": self._name})
        return len(text)

    def flush(self) -> None:
        self._original.flush()
