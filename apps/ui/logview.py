"""A try's log as pages show it without scripts: the first lines, the last lines, all of it as text.

The live viewer reads windows (`logwindow.py`) and the tail through the socket (`live/logtail.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

from django.utils.safestring import mark_safe
from django.utils.timezone import get_current_timezone
from django.utils.translation import gettext as _

from apps.runs.models import Try
from apps.ui import logindex, loglines

FIRST_BYTES = 200_000
TAIL_BYTES = 32_000
CHUNK = 1_000_000


def _clock(iso: str) -> str:
    """`15:10:51.118` in the reader's zone; empty when the line carries no time."""
    try:
        return f"{datetime.fromisoformat(iso).astimezone(get_current_timezone()):%H:%M:%S.%f}"[:-3]
    except ValueError:
        return ""


class _Rows:
    """Rows for the template. A fold is `<details>`: `opens` marks its head, `closes` says how many end after a row."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._groups: list[int] = []
        """Rows that head the groups which are still open."""

    def add(self, number: int, event: dict[str, Any]) -> None:
        """One record with everything below it."""
        level = loglines.level_of(event)
        pieces = loglines.expand(event)
        for text, kind in pieces:
            if kind == "end":
                if self._groups:
                    group = self.rows[self._groups.pop()]
                    group["open"] = group["bad"]  # a finished group is folded, unless it holds an error
                    self.rows[-1]["closes"] += 1
                continue
            first = kind in ("", "group")
            self.rows.append({
                "n": number if first else None, "time": _clock(str(event.get("t", ""))) if first else "", "level": level, "kind": kind,
                "text": loglines.plain(text), "opens": kind in ("group", "fold"), "open": kind == "group", "closes": 0, "bad": False,
            })  # fmt: skip
            if kind == "group":
                self._groups.append(len(self.rows) - 1)
        if pieces[-1][1] == "tb":
            self.rows[-1]["closes"] += 1
        if level == "error":
            for k in self._groups:
                self.rows[k]["bad"] = True

    def done(self) -> list[dict[str, Any]]:
        """All rows, with the folds that the log left open closed."""
        if self.rows:
            self.rows[-1]["closes"] += len(self._groups)
        for row in self.rows:
            row["ends"] = mark_safe("</details>" * row["closes"])  # noqa: S308  (a constant)
        return self.rows


def _rows(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    made = _Rows()
    for number, event in enumerate(events, 1):
        made.add(number, event)
    return made.done()


def first(row: Try) -> dict[str, Any]:
    """The first lines, and whether there are more."""
    from apps.runs import logs

    try:
        events, after, complete = logs.read(row, 0, FIRST_BYTES)
    except FileNotFoundError:
        return {
            "lines": [],
            "missing": _("The log is not here: it was removed, or kept by another server."),
            "more": False,
            "complete": True,
        }
    return {
        "lines": _rows(events),
        "records": len(events),
        "more": not complete and after >= FIRST_BYTES // 2,
        "complete": complete,
    }


def last(row: Try, count: int) -> dict[str, Any]:
    """The last lines with their numbers; exceptions in short."""
    from apps.ui import logwindow

    try:
        window = logwindow.window(row, line=max(1, logindex.of(row.pk).records - count + 1), count=count)
    except FileNotFoundError:
        return {"lines": [], "missing": _("The log is not here.")}
    made = _Rows()
    for n, event in zip(window["numbers"], window["lines"], strict=True):
        made.add(n, event)
    return {"lines": [line for line in made.rows if line["kind"] not in ("tb", "fold")][-count:]}


def as_text(row: Try) -> Iterator[str]:
    """All lines as `time LEVEL text`, chunk by chunk; tracebacks whole."""
    offset, more = 0, True
    while more:
        text, offset, more = _piece(row, offset)
        yield text


async def stream_text(row: Try) -> AsyncIterator[str]:
    """The same for a server that is asynchronous: a large log is never in memory as a whole."""
    offset, more = 0, True
    while more:
        text, offset, more = await asyncio.to_thread(_piece, row, offset)
        yield text


def _piece(row: Try, offset: int) -> tuple[str, int, bool]:
    from apps.runs import logs

    events, after, complete = logs.read(row, offset, CHUNK)
    return "".join(_text(e) for e in events), after, not complete and after > offset


def _text(event: dict[str, Any]) -> str:
    line = f"{event.get('t', '')} {str(event.get('level', 'info')).upper():<8} {event.get('event', '')}\n"
    detail = event.get("error_detail")
    if isinstance(detail, str):
        return f"{line}{detail.rstrip()}\n"
    return line + "".join(f"{text}\n" for text in loglines.whole(event))
