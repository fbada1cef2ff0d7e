"""The audit trail as a file: CSV for people with a spreadsheet, JSON lines for machines. Streamed, masked, oldest first.

For the admin's list. Cells that a spreadsheet would take for a formula are quoted with an apostrophe.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from apps.access.masking import mask
from apps.access.models import AuditEvent

COLUMNS = (
    "at", "actor", "means", "address", "action", "object_type", "object_id", "dag_id", "run_id", "task_id", "map_index", "try_number",
    "logical_date",
)  # fmt: skip
_BITE = 2000


class _Echo:
    """A file that gives back what is written, for `csv.writer`."""

    def write(self, text: str) -> str:
        return text


def csv_of(events: QuerySet[AuditEvent]) -> StreamingHttpResponse:
    """All columns, details as JSON in the last one."""

    def lines() -> Iterator[str]:
        writer = csv.writer(_Echo())
        yield writer.writerow((*COLUMNS, "details"))
        for event in _rows(events):
            details = json.dumps(mask(event.extra), default=str, ensure_ascii=False)
            yield writer.writerow([*(_cell(getattr(event, name)) for name in COLUMNS), details])

    return _answer(lines(), "text/csv; charset=utf-8", "audit.csv")


def json_lines_of(events: QuerySet[AuditEvent]) -> StreamingHttpResponse:
    """One JSON object per line."""

    def lines() -> Iterator[str]:
        for event in _rows(events):
            record: dict[str, Any] = {name: getattr(event, name) for name in COLUMNS}
            yield json.dumps({**record, "details": mask(event.extra)}, default=str, ensure_ascii=False) + "\n"

    return _answer(lines(), "application/x-ndjson", "audit.jsonl")


def _rows(events: QuerySet[AuditEvent]) -> Iterator[AuditEvent]:
    """By id, in bites: the list may hold millions."""
    after = 0
    while bite := list(events.order_by("pk").filter(pk__gt=after)[:_BITE]):
        yield from bite
        after = bite[-1].pk


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _answer(lines: Iterator[str], media: str, name: str) -> StreamingHttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(lines, content_type=media, headers=headers)
