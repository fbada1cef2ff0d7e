"""JSON for everything the runner sends: orjson where it is installed, the standard library elsewhere."""

from __future__ import annotations

import json
from typing import Any

try:
    import orjson
except ImportError:  # the wheel's base install has no orjson
    orjson = None  # type: ignore[assignment]


def dumps(value: Any) -> bytes:
    """`value` as one line of JSON in UTF-8. What JSON cannot say is written as its `str`."""
    if orjson is not None:
        try:
            return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
        except TypeError:  # integers over 64 bits, lone surrogates
            pass
    return json.dumps(value, default=str, separators=(",", ":")).encode()


def loads(data: bytes | bytearray | str) -> Any:
    """The value of a JSON text; ValueError if it is none."""
    if orjson is not None:
        try:
            return orjson.loads(data)
        except ValueError:  # NaN, lone surrogates: the standard library is more forgiving
            pass
    return json.loads(data)
