"""A JSON value as a tree that folds, or as a table where it is a list of records. For the tab XCom of a task.

Pages stay small whatever the value is: nodes, text, rows and columns are counted, and what is left out is said.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from apps.ui import words

NODES, DEPTH, TEXT = 1500, 24, 2000
ROWS, COLUMNS, CELL = 200, 24, 160
PARSED = 2_000_000
"""Characters of a stored value above which it is shown as text, unread."""
_IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]+")
_IMAGE_SIZE = 1_500_000


@dataclass(slots=True)
class Node:
    """One value: `kind` is map, list, table, image, text, number, word (true, false, null) or more (what was left out)."""

    kind: str
    name: str = ""
    text: str = ""
    count: int = 0
    open: bool = False
    children: list[Node] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    more: str = ""


class _Builder:
    def __init__(self) -> None:
        self.left = NODES

    def build(self, value: Any, name: str = "", depth: int = 0) -> Node:
        self.left -= 1
        if isinstance(value, dict | list) and value and depth >= DEPTH:
            return Node("text", name, _cut(json.dumps(value, ensure_ascii=False), CELL))
        if isinstance(value, dict):
            return self._children(Node("map", name, count=len(value), open=depth < 2), [(str(k), v) for k, v in value.items()], depth)
        if isinstance(value, list):
            if is_records(value):
                return self._table(name, value, depth)
            return self._children(Node("list", name, count=len(value), open=depth < 1), [(str(k), v) for k, v in enumerate(value)], depth)
        return _leaf(value, name)

    def _children(self, node: Node, items: list[tuple[str, Any]], depth: int) -> Node:
        for k, (name, inner) in enumerate(items):
            if self.left <= 0:
                node.more = f"{words.number(len(items) - k)} more"
                break
            node.children.append(self.build(inner, name, depth + 1))
        return node

    def _table(self, name: str, records: list[dict[str, Any]], depth: int) -> Node:
        columns = list(dict.fromkeys(k for r in records[:ROWS] for k in r))
        room = max(1, min(ROWS, self.left // max(1, min(len(columns), COLUMNS))))
        shown = records[:room]
        rows = [[_cell(r[c]) if c in r else "" for c in columns[:COLUMNS]] for r in shown]
        self.left -= len(rows) * min(len(columns), COLUMNS)
        left_out = []
        if len(records) > len(shown):
            left_out.append(_("%(shown)s more rows") % {"shown": words.number(len(records) - len(shown))})
        if len(columns) > COLUMNS:
            left_out.append(_("%(columns)s more columns") % {"columns": words.number(len(columns) - COLUMNS)})
        return Node("table", name, count=len(records), open=depth < 2, columns=columns[:COLUMNS], rows=rows, more=", ".join(left_out))


def is_records(value: list[Any]) -> bool:
    """Whether rows and columns say it better: objects that share fields."""
    if len(value) < 2 or not all(isinstance(r, dict) and r for r in value[:ROWS]):
        return False
    if not all(isinstance(r, dict) for r in value):
        return False
    first = set(value[0])
    return all(len(first & set(r)) * 2 >= len(first) for r in value[1:ROWS])


def tree(value: Any) -> Node:
    """The value as nodes for the template `ui/_value.html`."""
    return _Builder().build(value)


def _leaf(value: Any, name: str) -> Node:
    if value is None or isinstance(value, bool):
        return Node("word", name, json.dumps(value))
    if isinstance(value, int | float):
        return Node("number", name, json.dumps(value))
    text = str(value)
    if len(text) <= _IMAGE_SIZE and text.startswith("data:image/") and _IMAGE.fullmatch(text):
        return Node("image", name, text, count=len(text))
    return Node("text", name, _cut(text, TEXT), count=len(text))


def _cell(value: Any) -> str:
    return _cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), CELL)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({words.number(len(text))} characters)"
