"""JSON for everything that carries values of users: orjson where it is installed, the standard library elsewhere.

For the runner and for the server's side of it (`apps.runs`, REST). Whole numbers of any size come through as they are:
orjson would refuse to write those beyond 64 bits, and read them as floats without a word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

try:
    import orjson
except ImportError:  # the wheel's base install has no orjson
    orjson = None  # type: ignore[assignment]

_PERHAPS_HUGE = re.compile(rb"[0-9]{19}")
_PERHAPS_HUGE_TEXT = re.compile(r"[0-9]{19}")


def dumps(value: Any) -> bytes:
    """`value` as one line of JSON in UTF-8. What JSON cannot say is written as its `str`."""
    if orjson is not None:
        try:
            return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
        except TypeError:  # integers over 64 bits, lone surrogates
            pass
    return json.dumps(value, default=str, separators=(",", ":")).encode()


def exact_dumps(value: Any, *, default: Callable[[Any], Any] | None = None, option: int | None = None) -> bytes:
    """orjson's bytes (`option`: its own; keys that are no texts are always allowed), and whole numbers of any size.

    Raises TypeError for what JSON cannot say and for what is nested too deeply.
    """
    option = orjson.OPT_NON_STR_KEYS | (option or 0)
    try:
        return orjson.dumps(value, default=default, option=option)
    except TypeError as e:
        if "64-bit" not in str(e):
            raise

    def plain(other: Any) -> Any:
        return orjson.loads(orjson.dumps(other, default=default, option=option))

    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=plain).encode()
    except (RecursionError, ValueError) as e:  # ValueError: it contains itself, or a number too long to write, or half a character
        raise TypeError(str(e)) from e


def loads(data: bytes | bytearray | str) -> Any:
    """The value of a JSON text; ValueError if it is none."""
    if orjson is not None and not _perhaps_huge(data):
        try:
            return orjson.loads(data)
        except ValueError:  # NaN, lone surrogates: the standard library is more forgiving
            pass
    return json.loads(data)


def exact_loads(data: bytes | str) -> Any:
    """As strict as orjson, and whole numbers of any size. Raises ValueError."""
    if not _perhaps_huge(data):
        return orjson.loads(data)
    raw = data.encode() if isinstance(data, str) else data
    if b"\\u" in raw:
        orjson.loads(raw)  # half a character is refused here
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except RecursionError as e:
        raise ValueError("nested too deeply") from e


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _perhaps_huge(data: bytes | bytearray | str) -> bool:
    """Whether a number beyond 64 bits may be in the text; digits inside of strings only cost time."""
    return (_PERHAPS_HUGE_TEXT if isinstance(data, str) else _PERHAPS_HUGE).search(data) is not None  # type: ignore[arg-type]
