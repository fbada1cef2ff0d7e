"""A try's log as pages show it without scripts: the first lines, the last lines, all of it as text.

The live viewer reads the same store through the socket (`live/logtail.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apps.runs.models import Try

FIRST_BYTES = 200_000
TAIL_BYTES = 32_000
CHUNK = 1_000_000


def _line(number: int, event: dict[str, Any]) -> dict[str, Any]:
    text = str(event.get("event", ""))
    detail = event.get("error_detail")
    if isinstance(detail, str):
        text = f"{text}\n{detail}"
    return {"n": number, "time": str(event.get("t", ""))[11:23], "level": str(event.get("level", "info")).lower(), "text": text}


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
