"""Words of the command line as values: moments, JSON objects, pairs. For every module that reads them; a flaw is a Problem."""

from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path
from typing import Any

from trackside.cli.words import Problem


def moment(text: str | None) -> Any:
    """A date or time from the command line; what was not given is "now". Raises Problem."""
    from dateutil.parser import ParserError, isoparse

    from trackside.sdk.types import NOTSET

    if text is None:
        return NOTSET
    if text.lower() == "none":
        return None
    try:
        found = isoparse(text)
    except (ParserError, ValueError):
        raise Problem(f"{text!r} is no date; write 2026-03-09 or 2026-03-09T14:00:00+00:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def as_object(text: str | None, option: str) -> dict[str, Any] | None:
    """A JSON object from the command line, or @file. Raises Problem."""
    if text is None:
        return None
    try:
        found = json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    except (ValueError, OSError) as error:
        raise Problem(f"{option} must be a JSON object, or @ and the name of a file with one: {error}") from None
    if not isinstance(found, dict):
        raise Problem(f"{option} must be a JSON object, not {type(found).__name__}")
    return found


def pairs(words: list[str], option: str) -> dict[str, str]:
    """`name=value` words. Raises Problem."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise Problem(f"{option} wants name=value, not {word!r}")
        found[name] = value
    return found
