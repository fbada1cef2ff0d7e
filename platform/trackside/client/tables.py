"""Rows of an answer: a list of dicts that a notebook shows as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


class Table(list[dict[str, Any]]):
    """A list of dicts; `columns` are shown. `total`: how many there are at the server."""

    def __init__(self, rows: Iterable[dict[str, Any]] = (), columns: Sequence[str] = (), total: int | None = None) -> None:
        super().__init__(rows)
        self.columns = tuple(columns)
        self.total = len(self) if total is None else total

    def _repr_html_(self) -> str:
        columns = self.columns or tuple(self[0]) if self else self.columns
        head = "".join(f"<th>{escape(column)}</th>" for column in columns)
        body = "".join("<tr>" + "".join(f"<td>{_cell(row.get(column))}</td>" for column in columns) + "</tr>" for row in self)
        more = f"<p>{len(self)} of {self.total}</p>" if self.total > len(self) else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell(value: Any) -> str:
    return "" if value is None else escape(str(value))
