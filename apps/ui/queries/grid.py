"""The run grid as columns: a thousand tasks by a year of runs in four statements, a few bytes per run that went well.

A cell is one letter (`CODES`); a run's column is its letters from the first row to the last, repeats as a number behind the
letter (`packed`). Of mapped tasks the cell is the worst state, the counts are sent beside it. Columns of runs that ended
are kept in memory (`columns`), so that the database is asked for those only that may have changed.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from django.db import connection

from apps.ui import words
from apps.ui.live import cursor as live_cursor
from apps.ui.queries import columns
from apps.ui.queries.columns import Column
from apps.ui.queries.structure import Row, Structure

CODES = {
    "none": "a", "scheduled": "b", "queued": "c", "running": "d", "success": "e", "failed": "f", "up_for_retry": "g",
    "up_for_reschedule": "h", "deferred": "i", "awaiting_input": "j", "restarting": "k", "skipped": "l",
    "upstream_failed": "m", "removed": "n",
}  # fmt: skip
"""State to letter; "." is a cell without a task instance. `frontend/src/lib/states.ts` holds the same."""
STATES = {letter: state for state, letter in CODES.items()}
EMPTY = "."


def _ms(column: str) -> str:
    """As milliseconds: a thousand moments made into objects took a third of the answer."""
    return f"(extract(epoch FROM r.{column}) * 1000)::bigint"


_RUNS = f"""
SELECT r.id, r.run_id, r.run_type, r.state, {_ms("run_after")}, {_ms("logical_date")}, {_ms("start_date")}, {_ms("end_date")},
       v.number, r.reason, (SELECT max(e.id) FROM runs_event e WHERE e.run_pk = r.id)
FROM runs_run r LEFT JOIN dags_dagversion v ON v.id = r.dag_version_id
WHERE r.dag_id = %s AND (%s::bigint[] IS NULL OR r.id = ANY(%s))
  AND (%s::bigint IS NULL OR (r.run_after, r.id) < (SELECT b.run_after, b.id FROM runs_run b WHERE b.id = %s))
ORDER BY r.run_after DESC, r.id DESC LIMIT %s
"""  # noqa: S608
_CASE = "CASE state " + " ".join(f"WHEN '{s}' THEN '{c}'" for s, c in CODES.items()) + " END"
# one string per task: pairs of (column as a character, state letter); 0x4e00 keeps clear of letters and surrogates
_CELLS = f"""
SELECT ti.task_id, ti.map_index >= 0, string_agg(chr(19967 + c.pos::int) || {_CASE}, ''), pg_snapshot_xmin(pg_current_snapshot())::text
FROM runs_taskinstance ti JOIN unnest(%s::bigint[]) WITH ORDINALITY AS c(run_id, pos) ON c.run_id = ti.run_id
GROUP BY 1, 2
"""  # noqa: S608
_FIRST = 19967 + 1
_REPEATS = re.compile(r"(.)\1{2,}")


def packed(letters: str) -> str:
    """Three or more of the same as letter and number: `eeeeaf` is `e4af`."""
    return _REPEATS.sub(lambda m: f"{m[1]}{m.end() - m.start()}", letters)


def unpacked(text: str) -> str:
    """What `packed` was given."""
    return re.sub(r"(.)(\d+)", lambda m: m[1] * int(m[2]), text)


def load(
    dag_id: str, structure: Structure | None, *, limit: int, only: list[int] | None = None, before: int | None = None
) -> dict[str, Any]:
    """Everything the grid draws, oldest run first. `only`: just these runs (after live changes); `before`: older than this run."""
    cursor_text = live_cursor.take()
    runs = _runs(dag_id, limit, only, before)
    rows = list(structure.rows) if structure else []
    shape = (structure.version_id, tuple(r.id for r in rows)) if structure else None
    found, missing = columns.known(shape, runs)
    if missing:
        mark = columns.mark()
        cells, horizon = _cells([r[0] for r in missing], rows)
        found |= cells
        columns.keep(shape, missing, cells, mark, horizon)
    known = len(rows)
    extra = sorted({t for column in found.values() for t in column.others})
    rows += [Row(t, t, 0, -1, False, False, "") for t in extra]
    at = {t: known + k for k, t in enumerate(extra)}
    mapped: dict[str, dict[str, dict[str, int]]] = {}
    lines = []
    for k, run in enumerate(runs):
        column = found[run[0]]
        lines.append(column.letters + packed("".join(column.others.get(t, EMPTY) for t in extra)))
        for t, by in column.mapped.items():
            mapped.setdefault(str(t if isinstance(t, int) else at[t]), {})[str(k)] = by
    return {
        "cursor": cursor_text,
        "dag": dag_id,
        "version": structure.number if structure else None,
        "rows": {
            "id": [r.id for r in rows],
            "label": [r.label for r in rows],
            "depth": [r.depth for r in rows],
            "parent": [r.parent for r in rows],
            "group": [int(r.is_group) for r in rows],
            "mapped": [int(r.mapped) for r in rows],
            "gone": known,
        },
        "runs": _columns(runs),
        "cells": lines,
        "mapped": mapped,
    }


def _runs(dag_id: str, limit: int, only: list[int] | None, before: int | None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(_RUNS, [dag_id, only, only, before, before, limit])
        return list(reversed(cursor.fetchall()))


def _cells(pks: list[int], rows: list[Row]) -> tuple[dict[int, Column], int]:
    """A column per run, and the oldest transaction that was open when they were read. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(_CELLS, [pks])
        told = cursor.fetchall()
    order = {r.id: k for k, r in enumerate(rows)}
    lines = [EMPTY * len(pks)] * len(rows)
    others: list[dict[str, str]] = [{} for _ in pks]
    counts: list[dict[int | str, dict[str, int]]] = [{} for _ in pks]
    # instances without an index first: a task that has both is shown as mapped
    for task_id, is_mapped, pairs, _ in sorted(told, key=lambda row: row[1]):
        row = order.get(task_id)
        letters = dict(zip(pairs[::2], pairs[1::2], strict=True))
        cells = _counted(pairs, task_id if row is None else row, counts) if is_mapped else letters
        if row is None:
            for place, letter in cells.items():
                others[ord(place) - _FIRST][task_id] = letter
        else:
            lines[row] = _line(cells, lines[row])
    horizon = int(told[0][3]) if told else 0
    turned = ["".join(column) for column in zip(*lines, strict=True)] if lines else [""] * len(pks)
    return {pk: Column(packed(turned[k]), others[k], counts[k]) for k, pk in enumerate(pks)}, horizon


def _counted(pairs: str, key: int | str, counts: list[dict[int | str, dict[str, int]]]) -> dict[str, str]:
    """Counts the instances of a mapped task per run, into `counts`; the letter of each run."""
    for (place, letter), n in Counter(zip(pairs[::2], pairs[1::2], strict=True)).items():
        counts[ord(place) - _FIRST].setdefault(key, {})[letter] = n
    return {place: CODES[words.worst({STATES[c] for c in counts[ord(place) - _FIRST][key]})] for place in set(pairs[::2])}


def _line(cells: dict[str, str], line: str) -> str:
    """The row with these cells set."""
    letters = list(line)
    if len(cells) == len(letters):  # nearly always: sorted by place, this is the line
        return "".join([letter for _, letter in sorted(cells.items())])
    for place, letter in cells.items():
        letters[ord(place) - _FIRST] = letter
    return "".join(letters)


def _columns(runs: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {
        "pk": [r[0] for r in runs],
        "id": [r[1] for r in runs],
        "type": [r[2] for r in runs],
        "state": [r[3] for r in runs],
        "at": [r[4] for r in runs],
        "logical": [r[5] for r in runs],
        "start": [r[6] for r in runs],
        "end": [r[7] for r in runs],
        "version": [r[8] for r in runs],
        "reason": [r[9] for r in runs],
    }
