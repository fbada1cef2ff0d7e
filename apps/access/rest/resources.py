"""A resource: everything the API knows about one kind of object, in one declaration.

    POOLS = Resource(
        "pools",
        rows=lambda call: Pool.objects.all(),
        fields=(text("name"), whole("slots"), …),
        filters=(Pattern("pool_name", "name"),),
        orders={"name": "name"},
    )

`page` answers a list operation, `one` an operation on one object; both cost a constant number of queries, whatever the
number of rows: what rows need from other tables comes by `select_related` in `rows` or by `attach`, once per page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet

from apps.access.rest.fields import Field, schema_of, shower
from apps.access.rest.filters import Filter
from apps.access.rest.paging import CURSOR, CURSOR_COUNT_LIMIT, ORDER, PAGE, cursor_page, page, sort_keys
from apps.access.rest.params import Param

if TYPE_CHECKING:
    from apps.access.rest.operations import Call


@dataclass
class Resource:
    """Fields, filters and orders of one kind of object."""

    name: str
    """Key of the list in a collection answer."""
    fields: Sequence[Field]
    rows: Callable[[Call], QuerySet[Any]] | None = None
    """All objects the caller may see."""
    filters: Sequence[Filter] = ()
    orders: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    """Name in `order_by` → column, or columns."""
    default_order: Sequence[str] = ()
    attach: Callable[[list[Any], Call], None] | None = None
    """Gives the rows of a page what their fields need and no join brings."""
    cursors: bool = False
    """Lists also page by cursor; their answers then carry the cursor fields."""
    tie: str = "pk"

    @cached_property
    def _show(self) -> Callable[[Any], dict[str, Any]]:
        return shower(self.fields)

    @cached_property
    def filter_params(self) -> tuple[Param, ...]:
        """Parameters of the filters alone."""
        return tuple(p for f in self.filters for p in f.params)

    @cached_property
    def query(self) -> tuple[Param, ...]:
        """Every parameter of the list operation."""
        return (*((CURSOR,) if self.cursors else ()), *PAGE, ORDER, *self.filter_params)

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of one object."""
        return schema_of(self.fields)

    @property
    def list_schema(self) -> dict[str, Any]:
        """JSON schema of a collection."""
        properties = {self.name: {"type": "array", "items": self.schema}, "total_entries": {"type": "integer"}}
        if self.cursors:
            null_text = {"anyOf": [{"type": "string"}, {"type": "null"}]}
            properties |= {
                "total_entries_limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "next_cursor": null_text,
                "previous_cursor": null_text,
            }
        return {"type": "object", "properties": properties, "required": list(properties)}

    def show(self, rows: list[Any], call: Call) -> list[dict[str, Any]]:
        """Wire objects of rows."""
        if self.attach is not None and rows:
            self.attach(rows, call)
        return [self._show(row) for row in rows]

    def shown(self, row: Any) -> dict[str, Any]:
        """Wire object of a row that has all its fields need, without `attach`."""
        return self._show(row)

    def one(self, row: Any, call: Call) -> dict[str, Any]:
        """Wire object of one row."""
        return self.show([row], call)[0]

    def narrow(self, rows: QuerySet[Any], values: Mapping[str, Any]) -> QuerySet[Any]:
        """`rows` that fit the filters."""
        for f in self.filters:
            rows = f.narrow(rows, values)
        return rows

    def page(self, call: Call, rows: QuerySet[Any] | None = None, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer of a list operation. `values` replace the query (batch operations take them from the body)."""
        values = call.query if values is None else values
        if rows is None:
            assert self.rows is not None, f"{self.name} has no rows of its own"
            rows = self.rows(call)
        rows = self.narrow(rows, values)
        keys = sort_keys(values.get("order_by"), self.orders, self.default_order, self.tie)
        limit, offset, cursor = values.get("limit", 0), values.get("offset", 0), values.get("cursor")
        if cursor is not None and self.cursors:
            found = cursor_page(rows, keys, limit, cursor)
            return {
                self.name: self.show(found.rows, call),
                "total_entries": rows.order_by()[:CURSOR_COUNT_LIMIT].count(),
                "total_entries_limit": CURSOR_COUNT_LIMIT,
                "next_cursor": found.next_cursor,
                "previous_cursor": found.previous_cursor,
            }
        return self.collection(page(rows, keys, limit, offset), call, rows.order_by().count())

    def collection(self, rows: list[Any], call: Call, total: int | None = None, *, cursors: bool | None = None) -> dict[str, Any]:
        """A collection answer with exactly these rows."""
        out: dict[str, Any] = {self.name: self.show(rows, call), "total_entries": len(rows) if total is None else total}
        if self.cursors if cursors is None else cursors:
            out |= {"total_entries_limit": None, "next_cursor": None, "previous_cursor": None}
        return out
