"""What comes over the wire is checked once, at the door: the right types, numbers that fit their columns, no U+0000.

For `asgi`, `doors`, `exchange` and `reports`. The shapes are the dataclasses of `trackside.core.messages`; a check per
field is derived from its annotation, so a new field needs nothing here.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from apps.runs.execution.refusal import Refused

Check = Callable[[Any], bool]
M = TypeVar("M")
INT32 = 2**31 - 1
INT64 = 2**63 - 1
_WIDE = frozenset({"log_size", "offset"})
"""Fields in 64-bit columns."""
_FREE_TEXT = frozenset({"error", "text", "rendered_map_index"})
"""Fields in which users' text may contain anything; what the database cannot hold is removed where it is stored."""


def message(cls: type[M], data: Any) -> M:
    """A message of `trackside.core.messages` from its JSON; Refused 422 names the field that is wrong."""
    if not isinstance(data, Mapping):
        raise Refused(422, f"{cls.__name__} must be a JSON object.")
    known, required = _checks(cls)  # type: ignore[arg-type]  # classes are hashable
    for name, (check, wanted) in known.items():
        if name in data and not check(data[name]):
            raise Refused(422, f"{name}: expected {wanted}, got {data[name]!r:.100}.")
    if missing := required - data.keys():
        raise Refused(422, f"{sorted(missing)[0]} is missing.")
    return cls.from_dict(data)  # type: ignore[attr-defined,no-any-return]


@cache
def _checks(cls: type) -> tuple[dict[str, tuple[Check, str]], frozenset[str]]:
    hints = get_type_hints(cls)
    known = {f.name: (_check_of(f.name, hints[f.name]), _words(hints[f.name])) for f in fields(cls)}
    return known, frozenset(f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING)


def _check_of(name: str, hint: Any) -> Check:
    if get_origin(hint) in (Union, types.UnionType):
        options = [_check_of(name, h) for h in get_args(hint)]
        return lambda v: any(option(v) for option in options)
    if get_origin(hint) is list:
        of = _check_of(name, get_args(hint)[0])
        # reports, chunks and updates are judged one by one: a bad one must not hold up the others
        return lambda v: isinstance(v, list) and all(of(x) for x in v) if get_args(hint)[0] is str else isinstance(v, list)
    limit = INT64 if name in _WIDE else INT32
    plain: dict[Any, Check] = {
        Any: lambda v: True,
        type(None): lambda v: v is None,
        bool: lambda v: isinstance(v, bool),
        int: lambda v: isinstance(v, int) and not isinstance(v, bool) and abs(v) <= limit,
        float: lambda v: isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e15,
        str: lambda v: isinstance(v, str) and (name in _FREE_TEXT or "\x00" not in v),
    }
    return plain.get(hint, lambda v: isinstance(v, dict))


def _words(hint: Any) -> str:
    return str(getattr(hint, "__name__", hint)).replace("typing.", "")


def moment(text: Any, name: str) -> datetime:
    """An ISO 8601 moment, UTC if it names no zone; Refused 422."""
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError) as e:
        raise Refused(422, f"{name}: {text!r:.100} is not an ISO 8601 moment.") from e
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def whole(text: str | None, name: str) -> int | None:
    """A whole number of a query parameter; None if it is not there. Refused 422."""
    if text in (None, ""):
        return None
    try:
        number = int(text)  # type: ignore[arg-type]
    except ValueError as e:
        raise Refused(422, f"{name}: {text!r:.100} is not a whole number.") from e
    if abs(number) > INT32:
        raise Refused(422, f"{name}: {number} is too large.")
    return number


def field(body: Mapping[str, Any], name: str, kind: type[M], *, default: M | None = None) -> M | None:
    """A field of a small body, or its default if it is missing or null; Refused 422 if it is of another type."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or abs(value) > INT64)):  # type: ignore[arg-type]
        raise Refused(422, f"{name}: expected {kind.__name__}, got {value!r:.100}.")
    return value
