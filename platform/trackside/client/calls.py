"""What the parts of the client build on: one call, and lists page by page. `operations.Client` implements it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from trackside.client.tables import Table

OWN = "/api/trackside/v1"
"""Where Trackside's own operations live."""
PAGE = 100


def q(name: str) -> str:
    """A name as a segment of a path."""
    return quote(name, safe="~")


class Calls:
    """A server that is called."""

    def call(self, method: str, path: str, *, params: dict[str, Any] | None = None, json: Any = None) -> Any:
        """Any operation: the JSON of its answer. Raises ApiError, Unreachable."""
        raise NotImplementedError

    def pages(self, path: str, key: str, columns: tuple[str, ...], *, limit: int = 1000, base: str = "/api/v2", **params: Any) -> Table:
        """A list, page by page, at most `limit` rows."""
        rows: list[dict[str, Any]] = []
        total = limit
        while len(rows) < min(limit, total):
            page = self.call("GET", f"{base}{path}", params={**params, "limit": min(PAGE, limit - len(rows)), "offset": len(rows)})
            rows += page[key]
            total = page.get("total_entries") or 0
            if not page[key]:
                break
        return Table(rows, columns, total)
