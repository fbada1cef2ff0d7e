"""Anything a DAG file may hold as JSON for people: stable text for what JSON does not know.

For `serialization.py` and expand inputs. This is one way only; values that must come back use `serde`.
"""

from __future__ import annotations

import datetime as dt
import enum
import importlib
import inspect
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_PREFIX = re.compile(r"unusual_prefix_[0-9a-f]{40}_")
"""What makes module names of DAG files unique (`parsing.module_name`): it depends on where the folder is mounted."""
_LONGEST = 32_000
"""Characters of one text kept; longer ones are for the source page, not for the details page."""


def utc_text(moment: dt.datetime) -> str:
    """ISO 8601 in UTC with microseconds and Z."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    moment = moment.astimezone(dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z" if moment.year >= 1000 else moment.isoformat()


def jsonable(value: Any, depth: int = 0) -> Any:
    """JSON for `value`: spans as seconds, moments as UTC text, callables by name, results as their reference."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return jsonable(value.value, depth)
    if isinstance(value, str):
        return str(value) if len(value) <= _LONGEST else value[:_LONGEST] + "…"
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if value == value and abs(value) != float("inf") else repr(value)
    if isinstance(value, dt.datetime):
        return utc_text(value)
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    return _compound(value, depth)


def _compound(value: Any, depth: int) -> Any:
    if depth > 20:
        return text_of(value)
    if isinstance(value, Mapping):
        return {str(jsonable(key, depth + 1)): jsonable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item, depth + 1) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((jsonable(item, depth + 1) for item in value), key=repr)
    if type(value).__module__.startswith("kubernetes.") and hasattr(value, "to_dict"):
        # a V1Pod in executor_config: the form the API server reads, which is the client's own business
        client = importlib.import_module("kubernetes.client.api_client")
        return jsonable(client.ApiClient().sanitize_for_serialization(value), depth + 1)
    if isinstance(value, type) or not hasattr(value, "to_spec"):
        return text_of(value)
    return value.to_spec()


def plain_module(name: str) -> str:
    """A dotted name without what makes modules of DAG files unique."""
    return _PREFIX.sub("", name)


def text_of(value: Any) -> str:
    """A text that is the same at every parse: names instead of addresses in memory."""
    if isinstance(value, type) or inspect.isroutine(value):
        return plain_module(f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', repr(value))}".lstrip("."))
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    text = plain_module(_ADDRESS.sub("", text))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
