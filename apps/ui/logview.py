"""A try's log as pages show it without scripts: the first lines, the last lines, all of it as text.

The live viewer reads the same store through the socket (`live/logtail.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.utils.timezone import get_current_timezone

from apps.runs.models import Try

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
"""Terminal sequences; the live viewer turns colours into classes, plain pages leave them out."""
FIRST_BYTES = 200_000
TAIL_BYTES = 32_000
CHUNK = 1_000_000


def _clock(iso: str) -> str:
    """`15:10:51.118` in the reader's zone; empty when the line carries no time."""
    try:
        return f"{datetime.fromisoformat(iso).astimezone(get_current_timezone()):%H:%M:%S.%f}"[:-3]
    except ValueError:
        return ""


def _line(number: int, event: dict[str, Any]) -> dict[str, Any]:
    text = _ESCAPES.sub("", str(event.get("event", "")))
    detail = event.get("error_detail")
    if isinstance(detail, str):
        text = f"{text}\n{detail}"
    return {"n": number, "time": _clock(str(event.get("t", ""))), "level": str(event.get("level", "info")).lower(), "text": text}


def first(row: Try) -> dict[str, Any]:
    """The first lines, and whether there are more."""
    from apps.runs import logs

    try:
        events, after, complete = logs.read(row, 0, FIRST_BYTES)
    except FileNotFoundError:
        return {"lines": [], "missing": "The log is not here: it was removed, or kept by another server.", "more": False, "complete": True}
    return {
        "lines": [_line(k, e) for k, e in enumerate(events, 1)],
        "more": not complete and after >= FIRST_BYTES // 2,
        "complete": complete,
    }


def last(row: Try, count: int) -> dict[str, Any]:
    """The last lines with their numbers, reading no more than the log's end when it is long."""
    from apps.runs import logs

    number, kept, offset = 0, list[dict[str, Any]](), 0
    try:
        while True:
            events, after, complete = logs.read(row, offset, CHUNK)
            for event in events:
                number += 1
                kept.append(_line(number, event))
            kept = kept[-count:]
            if complete or after == offset:
                break
            offset = after
    except FileNotFoundError:
        return {"lines": [], "missing": "The log is not here."}
    return {"lines": kept}


def as_text(row: Try) -> Iterator[str]:
    """All lines as `time LEVEL text`, chunk by chunk."""
    from apps.runs import logs

    offset = 0
    while True:
        events, after, complete = logs.read(row, offset, CHUNK)
        yield "".join(f"{e.get('t', '')} {str(e.get('level', 'info')).upper():<8} {e.get('event', '')}\n" for e in events)
        if complete or after == offset:
            return
        offset = after
