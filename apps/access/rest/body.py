"""Reads the JSON body of a request and checks it against a pydantic model, with FastAPI's error shapes.

Refused before anything is built from it: bodies over TRACKSIDE_MAX_BODY_BYTES (413), nesting deeper than 64, NaN and
infinities, numbers no column can hold, repeated keys, NUL characters and lone surrogates (PostgreSQL cannot store them).
"""

from __future__ import annotations

import json
import math
import re
from functools import cache
from typing import Annotated, Any, NoReturn

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from apps.access.rest.errors import Problem, flaw, flaws_of, invalid

MAX_DEPTH = 64
_JSON_TYPE = re.compile(r"^application/(json|[\w.+-]+\+json)$", re.IGNORECASE)
_MAX_DIGITS = 300
"""Of a whole number: XComs and confs may hold any, columns check their own limits."""

SmallInt = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
"""What an integer column holds."""
Moment = AwareDatetime
"""A date with a zone; without one it is refused (422)."""
Note = Annotated[str, Field(max_length=1000)]


class Body(BaseModel):
    """A request body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class _Refused(ValueError):
    """The JSON is well-formed but holds something that cannot be used."""


def _too_large() -> Problem:
    return Problem(413, f"The body is larger than {settings.MAX_BODY_BYTES} bytes.")


def raw_body(request: HttpRequest) -> bytes:
    """The bytes of the body; 413 if they are too many."""
    length = request.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > settings.MAX_BODY_BYTES:
        raise _too_large()
    try:
        data = request.body
    except RequestDataTooBig as e:
        raise _too_large() from e
    if len(data) > settings.MAX_BODY_BYTES:
        raise _too_large()
    return data


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def _check_depth(text: str) -> None:
    """Before parsing: the parser itself recurses."""
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise _Refused(f"JSON is nested deeper than {MAX_DEPTH} levels")


def _number(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise _Refused(f"a whole number has more than {_MAX_DIGITS} digits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Refused(f"{text[:20]} is too large for a number")
    return value


def _constant(text: str) -> NoReturn:
    raise _Refused(f"{text} is not a number that JSON knows")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise _Refused("an object has the same key twice")
    return out


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_MAYBE_UNSTORABLE = re.compile(r"\\u(0000|[dD][89a-fA-F])|\x00")


def _check_texts(value: Any) -> None:
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            raise _Refused("a text contains a NUL character or half a surrogate pair, which cannot be stored")
    elif isinstance(value, list):
        for item in value:
            _check_texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_texts(key)
            _check_texts(item)


def parse_json(data: bytes) -> Any:
    """The value in `data`. Raises Problem 422 with FastAPI's `loc` ("body" and the position, or "body")."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise invalid(flaw(("body", e.start), "JSON decode error: the body is not UTF-8", "json_invalid")) from e
    try:
        if text.count("[") + text.count("{") > MAX_DEPTH:
            _check_depth(text)
        value = json.loads(text, parse_int=_number, parse_float=_float, parse_constant=_constant, object_pairs_hook=_object)
        if _MAYBE_UNSTORABLE.search(text):
            _check_texts(value)
    except json.JSONDecodeError as e:
        raise invalid(flaw(("body", e.pos), f"JSON decode error: {e.msg}", "json_invalid")) from e
    except _Refused as e:
        raise invalid(flaw(("body",), str(e))) from e
    return value


def read_body(request: HttpRequest) -> Any:
    """The JSON of the request. A body with another media type counts as text, as in Airflow: the model then refuses it."""
    data = raw_body(request)
    if not data:
        return None
    media = request.headers.get("Content-Type", "").partition(";")[0].strip()
    return parse_json(data) if _JSON_TYPE.match(media) else data


@cache
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def check(model: Any, value: Any, *, place: tuple[str | int, ...] = ("body",)) -> tuple[Any, list[dict[str, Any]]]:
    """(the validated body, nothing) or (None, what is wrong with it)."""
    if value is None:
        return None, [flaw(place, "Field required", "missing")]
    if isinstance(value, bytes):
        return None, [flaw(place, "Input should be a valid dictionary or object to extract fields from", "model_attributes_type")]
    try:
        return _adapter(model).validate_python(value), []
    except ValidationError as e:
        return None, flaws_of(e, place)
