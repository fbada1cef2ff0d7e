"""The fields of a resource: the name on the wire, where the value comes from, and its JSON type for OpenAPI.

    FIELDS = (text("dag_run_id", "run_id"), moment("start_date"), number("duration", duration_of), listed("tags", TAG))

A source is an attribute path ("dag.dag_display_name") or a function of the row. Moments go out as ISO 8601 in UTC with `Z`
(the renderer's doing), UUIDs as text, missing values as null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

Source = str | Callable[[Any], Any] | None


@dataclass(frozen=True)
class Field:
    """One field on the wire."""

    name: str
    get: Callable[[Any], Any]
    schema: dict[str, Any]


def _getter(name: str, source: Source) -> Callable[[Any], Any]:
    return source if callable(source) else attrgetter(source or name)


def _or_null(schema: dict[str, Any], null: bool) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]} if null else schema


def text(name: str, source: Source = None, *, null: bool = False, words: Iterable[str] | None = None) -> Field:
    """Text; `words` are the only values it has."""
    schema: dict[str, Any] = {"type": "string"}
    if words:
        schema["enum"] = [str(w) for w in words]
    return Field(name, _getter(name, source), _or_null(schema, null))


def moment(name: str, source: Source = None, *, null: bool = True) -> Field:
    """A date with time and zone."""
    return Field(name, _getter(name, source), _or_null({"type": "string", "format": "date-time"}, null))


def whole(name: str, source: Source = None, *, null: bool = False) -> Field:
    """A whole number."""
    return Field(name, _getter(name, source), _or_null({"type": "integer"}, null))


def number(name: str, source: Source = None, *, null: bool = False) -> Field:
    """A float: 3 goes out as 3.0; infinities as null (JSON has none)."""
    get = _getter(name, source)

    def value(row: Any) -> float | None:
        raw = get(row)
        return None if raw is None or not math.isfinite(raw) else float(raw)

    return Field(name, value, _or_null({"type": "number"}, null))


def flag(name: str, source: Source = None, *, null: bool = False) -> Field:
    """true or false."""
    return Field(name, _getter(name, source), _or_null({"type": "boolean"}, null))


def anything(name: str, source: Source = None) -> Field:
    """Any JSON."""
    return Field(name, _getter(name, source), {})


def constant(name: str, value: Any = None) -> Field:
    """Always the same value (something Trackside does not have, null for compatibility)."""
    return Field(name, lambda _row: value, {"type": "null"} if value is None else {})


def texts(name: str, source: Source = None, *, null: bool = False) -> Field:
    """A list of texts."""
    return Field(name, _getter(name, source), _or_null({"type": "array", "items": {"type": "string"}}, null))


def nested(name: str, fields: Sequence[Field], source: Source = None, *, null: bool = True) -> Field:
    """An object with fields of its own, or null."""
    get, show = _getter(name, source), shower(fields)

    def value(row: Any) -> dict[str, Any] | None:
        inner = get(row)
        return None if inner is None else show(inner)

    return Field(name, value, _or_null(schema_of(fields), null))


def listed(name: str, fields: Sequence[Field], source: Source = None) -> Field:
    """A list of objects."""
    get, show = _getter(name, source), shower(fields)
    return Field(name, lambda row: [show(x) for x in get(row)], {"type": "array", "items": schema_of(fields)})


def shower(fields: Sequence[Field]) -> Callable[[Any], dict[str, Any]]:
    """A function that turns a row into its wire object."""
    pairs = [(f.name, f.get) for f in fields]
    return lambda row: {name: get(row) for name, get in pairs}


def schema_of(fields: Sequence[Field]) -> dict[str, Any]:
    """JSON schema of the object."""
    return {"type": "object", "properties": {f.name: f.schema for f in fields}, "required": [f.name for f in fields]}
