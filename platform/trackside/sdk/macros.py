"""What templates find under `macros`: modules and small helpers for dates.

For DAG authors (`{{ macros.ds_add(ds, -3) }}`). Names and meaning are those of `airflow.sdk.execution_time.macros`.
"""

from __future__ import annotations

import importlib
import json
import random as _random
import time
import uuid
from datetime import date, datetime, timedelta
from typing import Any

import dateutil
import dateutil.parser

__all__ = [
    "datetime",
    "datetime_diff_for_humans",
    "dateutil",
    "ds_add",
    "ds_format",
    "ds_format_locale",
    "json",
    "random",
    "time",
    "timedelta",
    "uuid",
    "yaml",  # noqa: F822 — loaded by __getattr__
]

random = _random.random


def ds_add(ds: str, days: int) -> str:
    """`YYYY-MM-DD` moved by `days` (negative: back)."""
    return (date.fromisoformat(str(ds)) + timedelta(days=days)).isoformat() if days else str(ds)


def ds_format(ds: str, input_format: str, output_format: str) -> str:
    """A date string in another format (strptime codes)."""
    return datetime.strptime(str(ds), input_format).strftime(output_format)  # noqa: DTZ007 — only the text matters


def ds_format_locale(ds: str, input_format: str, output_format: str, locale: Any = None) -> str:
    """A date string in Babel's `output_format`, in words of `locale`. Needs the package babel."""
    try:
        babel = importlib.import_module("babel.dates")
    except ImportError as error:
        raise ImportError("macros.ds_format_locale needs the package babel: pip install babel") from error
    moment = datetime.strptime(str(ds), input_format)  # noqa: DTZ007 — only the text matters
    return str(babel.format_datetime(moment, format=output_format, locale=locale or babel.LC_TIME))


def datetime_diff_for_humans(dt: datetime, since: datetime | None = None) -> str:
    """How long before or after `since` (default now) a moment lies, in words."""
    import pendulum

    return pendulum.instance(dt).diff_for_humans(None if since is None else pendulum.instance(since))


def __getattr__(name: str) -> Any:
    if name == "yaml":  # an optional dependency, loaded when a template asks for it
        import yaml  # type: ignore[import-untyped,unused-ignore]

        return yaml
    raise AttributeError(f"macros has no {name!r}; see the documentation of templates for the list")
