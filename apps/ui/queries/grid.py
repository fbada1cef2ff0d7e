"""The run grid as columns: a thousand tasks by twenty-five runs in three statements and one byte per cell.

A cell is one letter (`CODES`), so that the answer compresses to almost nothing and the island copies it into a typed
array. Mapped tasks are counted per state in the database; their cell is the worst state, the counts are sent beside it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import connection

from apps.ui import words
from apps.ui.live import cursor as live_cursor
from apps.ui.queries.structure import Row, Structure

CODES = {
    "none": "a", "scheduled": "b", "queued": "c", "running": "d", "success": "e", "failed": "f", "up_for_retry": "g",
    "up_for_reschedule": "h", "deferred": "i", "awaiting_input": "j", "restarting": "k", "skipped": "l",
    "upstream_failed": "m", "removed": "n",
}  # fmt: skip
"""State to letter; "." is a cell without a task instance. `frontend/src/lib/states.ts` holds the same."""
STATES = {letter: state for state, letter in CODES.items()}
EMPTY = "."

_RUNS = """
SELECT r.id, r.run_id, r.run_type, r.state, r.run_after, r.logical_date, r.start_date, r.end_date, v.number, r.reason
FROM runs_run r LEFT JOIN dags_dagversion v ON v.id = r.dag_version_id
WHERE r.dag_id = %s AND (%s::bigint[] IS NULL OR r.id = ANY(%s))
  AND (%s::bigint IS NULL OR (r.run_after, r.id) < (SELECT b.run_after, b.id FROM runs_run b WHERE b.id = %s))
ORDER BY r.run_after DESC, r.id DESC LIMIT %s
"""
_CASE = "CASE state " + " ".join(f"WHEN '{s}' THEN '{c}'" for s, c in CODES.items()) + " END"
# one string per task: pairs of (column as a character, state letter); 0x4e00 keeps clear of letters and surrogates
_CELLS = f"""
SELECT ti.task_id, string_agg(chr(19968 + c.pos::int) || {_CASE}, '')
FROM runs_taskinstance ti JOIN unnest(%s::bigint[]) WITH ORDINALITY AS c(run_id, pos) ON c.run_id = ti.run_id
WHERE ti.map_index = -1 GROUP BY ti.task_id
"""  # noqa: S608
_MAPPED = f"""
SELECT ti.task_id, c.pos::int - 1, {_CASE}, count(*)
FROM runs_taskinstance ti JOIN unnest(%s::bigint[]) WITH ORDINALITY AS c(run_id, pos) ON c.run_id = ti.run_id
WHERE ti.map_index >= 0 GROUP BY 1, 2, 3
"""  # noqa: S608
_FIRST = 19968 + 1


def load(
    dag_id: str, structure: Structure | None, *, limit: int, only: list[int] | None = None, before: int | None = None
) -> dict[str, Any]:
    """Everything the grid draws, oldest run first. `only`: just these runs (after live changes); `before`: older than this run."""
    cursor_text = live_cursor.take()
    runs = _runs(dag_id, limit, only, before)
    pks = [r[0] for r in runs]
    cells, mapped = _cells(pks)
    rows = list(structure.rows) if structure else []
    known = {r.id for r in rows}
    rows += [Row(t, t, 0, -1, False, False, "") for t in sorted(cells.keys() | mapped.keys()) if t not in known]
    lines, counts = _lines(rows, cells, mapped, len(pks))
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
            "gone": len(known),
        },
        "runs": _columns(runs),
        "cells": lines,
        "mapped": counts,
    }


def _runs(dag_id: str, limit: int, only: list[int] | None, before: int | None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(_RUNS, [dag_id, only, only, before, before, limit])
        return list(reversed(cursor.fetchall()))


def _cells(pks: list[int]) -> tuple[dict[str, str], dict[str, dict[int, dict[str, int]]]]:
    if not pks:
        return {}, {}
    mapped: dict[str, dict[int, dict[str, int]]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_CELLS, [pks])
        cells = dict(cursor.fetchall())
        cursor.execute(_MAPPED, [pks])
        for task_id, column, letter, count in cursor.fetchall():
            mapped.setdefault(task_id, {}).setdefault(column, {})[letter] = count
    return cells, mapped


def _lines(
    rows: list[Row], cells: dict[str, str], mapped: dict[str, dict[int, dict[str, int]]], width: int
) -> tuple[list[str], dict[str, dict[str, dict[str, int]]]]:
    lines, counts = [], {}
    for index, row in enumerate(rows):
        line = [EMPTY] * width
        pairs = cells.get(row.id, "")
        for k in range(0, len(pairs), 2):
            line[ord(pairs[k]) - _FIRST] = pairs[k + 1]
        if row.id in mapped:
            counts[str(index)] = {str(c): by for c, by in mapped[row.id].items()}
            for column, by in mapped[row.id].items():
                line[column] = CODES[words.worst({STATES[c] for c in by})]
        lines.append("".join(line))
    return lines, counts


def _columns(runs: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    def ms(value: datetime | None) -> int | None:
        return round(value.timestamp() * 1000) if value else None

    return {
        "pk": [r[0] for r in runs],
        "id": [r[1] for r in runs],
        "type": [r[2] for r in runs],
        "state": [r[3] for r in runs],
        "at": [ms(r[4]) for r in runs],
        "logical": [ms(r[5]) for r in runs],
        "start": [ms(r[6]) for r in runs],
        "end": [ms(r[7]) for r in runs],
        "version": [r[8] for r in runs],
        "reason": [r[9] for r in runs],
    }
