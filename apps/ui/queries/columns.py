"""Columns of the grid that cannot have changed, kept in this process: nearly all of a year of runs.

A run that ended changes by what people do (clear, mark, undo, delete a task), and every such change writes an event of the
run in its transaction. So a column is good as long as the newest event of its run is the same. One trap: ids of events are
drawn before their transactions commit, so a lower id can appear later. A column is kept only if it was read after every
transaction had ended that was open when that newest event was looked up (`mark`, against the horizon of the reading).

Next door: `grid` reads columns and makes the answer. Nothing here is ever needed: without it the database is asked.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from django.db import connection

from trackside.core.states import RUN_FINISHED

KEPT = 4096
"""Columns; one of a thousand tasks is 100 to 1,000 bytes."""
LARGEST = 20_000
"""Letters and counts; a larger column is not kept."""
GOOD_FOR = 3600.0
"""Seconds; far less than events are kept, so that a newest event cannot come and be deleted in between."""
_ENDED = {str(s) for s in RUN_FINISHED}


@dataclass(frozen=True, slots=True)
class Column:
    """The cells of one run."""

    letters: str
    """Of the rows that the structure has, packed."""
    others: dict[str, str]
    """Task that the structure has not: letter."""
    mapped: dict[int | str, dict[str, int]]
    """Row (or such a task): number of instances by letter."""


@dataclass(frozen=True, slots=True)
class _Kept:
    column: Column
    newest: int | None
    until: float


_columns: OrderedDict[tuple[Any, int], _Kept] = OrderedDict()
_marks: OrderedDict[int, tuple[int | None, int]] = OrderedDict()
"""Run: its newest event, and a transaction id that was drawn after looking that up. For those that came too early to keep."""


def known(shape: Any, runs: list[tuple[Any, ...]]) -> tuple[dict[int, Column], list[tuple[Any, ...]]]:
    """Columns that are good, by run, and the runs whose columns must be read. A run: pk first, state fourth, newest event last."""
    found, missing, now = {}, [], time.monotonic()
    for run in runs:
        kept = _columns.get((shape, run[0]))
        if kept and run[3] in _ENDED and kept.newest == run[-1] and kept.until > now:
            _columns.move_to_end((shape, run[0]))
            found[run[0]] = kept.column
        else:
            missing.append(run)
    return found, missing


def mark() -> int:
    """A transaction id above all that were drawn until now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text")
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def keep(shape: Any, runs: list[tuple[Any, ...]], columns: dict[int, Column], drawn: int, horizon: int) -> None:
    """Keep what is settled of what was just read: all transactions below `horizon` had ended by then."""
    until = time.monotonic() + GOOD_FOR
    for run in runs:
        pk, newest, column = run[0], run[-1], columns[run[0]]
        if run[3] not in _ENDED or len(column.letters) + 20 * (len(column.others) + len(column.mapped)) > LARGEST:
            continue
        seen, at = _marks.get(pk, (None, 0))
        after = at if at and seen == newest else drawn
        if horizon >= after:
            _columns[shape, pk] = _Kept(column, newest, until)
            _marks.pop(pk, None)
        else:
            _marks[pk] = (newest, after)
    for store in (_columns, _marks):
        while len(store) > KEPT:
            store.popitem(last=False)  # type: ignore[attr-defined]


def forget() -> None:
    """Empty (for tests, whose databases give ids out again)."""
    _columns.clear()
    _marks.clear()
