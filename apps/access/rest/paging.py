"""Which part of a list to show: limit and offset, order_by, and cursors that stay put while rows come and go.

A cursor holds the ordering values of the row it stands behind, so a page costs the same at any depth and never repeats a
row. Order keys sort as PostgreSQL does: null counts as the largest value; the primary key breaks ties.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db.models import Q, QuerySet

from apps.access.rest.errors import bad_request
from apps.access.rest.params import MAX_BIGINT, Natural, Param

DEFAULT_LIMIT = 50
MAX_LIMIT = 100
"""More is cut silently, as in Airflow."""
CURSOR_COUNT_LIMIT = 50_000
"""Cursor pages count no further than this."""
MAX_ORDERS = 10

PAGE = (
    Param("limit", Natural, DEFAULT_LIMIT, help=f"At most {MAX_LIMIT} are given."),
    Param("offset", Natural, 0),
)
ORDER = Param("order_by", many=True, help="Field to sort by, `-` in front for descending; may be repeated.")
CURSOR = Param("cursor", help="Empty for the first page, then `next_cursor` or `previous_cursor` of the last answer.")


@dataclass(frozen=True)
class Key:
    """One column to sort by."""

    column: str
    descending: bool

    @property
    def text(self) -> str:
        """As `QuerySet.order_by` wants it."""
        return ("-" if self.descending else "") + self.column

    def flipped(self) -> Key:
        """The other way round."""
        return Key(self.column, not self.descending)


def sort_keys(
    given: Sequence[str] | None, orders: Mapping[str, str | tuple[str, ...]], default: Sequence[str], tie: str = "pk"
) -> list[Key]:
    """What `order_by` asks for. Names that are no order of this list are a 400 with a text."""
    keys = []
    for word in given if given else default:
        name = word.lstrip("-")
        if name not in orders:
            raise bad_request(f"Ordering with '{name}' is disallowed or the attribute does not exist. Use one of {', '.join(orders)}.")
        columns = orders[name]
        keys += [Key(c, word.startswith("-")) for c in ((columns,) if isinstance(columns, str) else columns)]
    if len(given or ()) > MAX_ORDERS:
        raise bad_request(f"At most {MAX_ORDERS} order_by keys are allowed.")
    if any(k.column == tie for k in keys):
        return keys
    return [*keys, Key(tie, keys[0].descending if keys else False)]


def page(rows: QuerySet[Any], keys: Sequence[Key], limit: int, offset: int) -> list[Any]:
    """The rows of one page."""
    limit, offset = min(limit, MAX_LIMIT), min(offset, MAX_BIGINT - MAX_LIMIT)
    return list(rows.order_by(*(k.text for k in keys))[offset : offset + limit]) if limit else []


@dataclass(frozen=True)
class CursorPage:
    """One page found by cursor."""

    rows: list[Any]
    next_cursor: str | None
    previous_cursor: str | None


def cursor_page(rows: QuerySet[Any], keys: Sequence[Key], limit: int, cursor: str) -> CursorPage:
    """The page that `cursor` stands for ("" is the first). Raises 400 for a text that is no cursor of this order."""
    limit = max(1, min(limit, MAX_LIMIT))
    backwards, values = _decode(cursor, keys) if cursor else (False, None)
    walk = [k.flipped() for k in keys] if backwards else list(keys)
    if values is not None:
        rows = rows.filter(_behind(walk, values))
    found = list(rows.order_by(*(k.text for k in walk))[: limit + 1])
    more, found = len(found) > limit, found[:limit]
    if backwards:
        found.reverse()
    if not found:
        return CursorPage([], None, None)
    after = _encode(keys, found[-1], backwards=False) if more or backwards else None
    before = _encode(keys, found[0], backwards=True) if (more if backwards else values is not None) else None
    return CursorPage(found, after, before)


def _behind(keys: Sequence[Key], values: Sequence[Any]) -> Q:
    """Rows that come after the one with these values, compared key by key."""
    behind, equal = Q(), Q()
    for key, value in zip(keys, values, strict=True):
        if (further := _further(key, value)) is not None:
            behind |= equal & further
        equal &= Q(**{f"{key.column}__isnull": True}) if value is None else Q(**{key.column: value})
    return behind


def _further(key: Key, value: Any) -> Q | None:
    if value is None:
        return Q(**{f"{key.column}__isnull": False}) if key.descending else None
    if key.descending:
        return Q(**{f"{key.column}__lt": value})
    return Q(**{f"{key.column}__gt": value}) | Q(**{f"{key.column}__isnull": True})


def _value(row: Any, column: str) -> Any:
    for part in column.split("__"):
        row = getattr(row, part) if row is not None else None
    return row


def _encode(keys: Sequence[Key], row: Any, *, backwards: bool) -> str:
    token = {"b": backwards, "k": [k.text for k in keys], "v": [_tagged(_value(row, k.column)) for k in keys]}
    return base64.urlsafe_b64encode(orjson.dumps(token)).decode().rstrip("=")


def _tagged(value: Any) -> Any:
    if isinstance(value, datetime):
        return ["t", value.isoformat()]
    if isinstance(value, uuid.UUID):
        return ["u", str(value)]
    return value


def _untagged(value: Any) -> Any:
    if isinstance(value, list):
        tag, text = value
        return datetime.fromisoformat(text) if tag == "t" else uuid.UUID(text)
    if isinstance(value, dict) or (isinstance(value, str) and "\x00" in value):
        raise ValueError(value)
    return value


def _decode(cursor: str, keys: Sequence[Key]) -> tuple[bool, list[Any]]:
    try:
        token = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if token["k"] != [k.text for k in keys]:
            raise bad_request("The cursor belongs to another order_by.")
        values = [_untagged(v) for v in token["v"]]
        if len(values) != len(keys):
            raise ValueError(cursor)
        return bool(token["b"]), values
    except (ValueError, KeyError, TypeError, binascii.Error) as e:
        raise bad_request("Invalid cursor.") from e
