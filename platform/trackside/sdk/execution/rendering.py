"""Rendered template fields as the details page shows them: JSON, without secrets, not too long.

For `run.py`, which sends them before `execute` starts.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from trackside.sdk.log import redact


def rendered_fields(task: Any) -> dict[str, Any]:
    """Template field → JSON value of the (rendered) task."""
    return {name: _shown(getattr(task, name, None), name) for name in sorted(getattr(task, "template_fields", ()))}


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where an object lies in memory: differs with every try and says nothing."""


def _shown(value: Any, name: str) -> Any:
    limit = int(os.environ.get("AIRFLOW__CORE__MAX_TEMPLATED_FIELD_LENGTH", "4096"))
    renderer = redact(jsonable(value), name)
    text = renderer if isinstance(renderer, str) else json.dumps(renderer, default=str)
    if len(text) > limit:
        note = "Truncated. You can change this behaviour in [core]max_templated_field_length. "
        return f"{note}{text[: max(0, limit - len(note) - 4)]!r}... "
    return renderer


def jsonable(value: Any) -> Any:
    """Values as they are, tuples and sets as lists, anything else as text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((jsonable(item) for item in value), key=str)
    if callable(value):
        return f"<callable {getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}>"
    return _ADDRESS.sub("", str(value))
