"""Moments with zones: `airflow.sdk.timezone` and `airflow.utils.timezone`."""

from __future__ import annotations

import datetime as dt
from typing import Any, overload

import pendulum
from dateutil.relativedelta import relativedelta
from pendulum.tz.timezone import FixedTimezone, Timezone

utc = pendulum.UTC
TIMEZONE = utc


def is_localized(value: dt.datetime) -> bool:
    """Whether the moment has a zone."""
    return value.utcoffset() is not None


def is_naive(value: dt.datetime) -> bool:
    """Whether the moment has no zone."""
    return value.utcoffset() is None


def utcnow() -> pendulum.DateTime:
    """Now."""
    return pendulum.now("UTC")


def utc_epoch() -> pendulum.DateTime:
    """1970-01-01."""
    return pendulum.datetime(1970, 1, 1)


@overload
def convert_to_utc(value: None) -> None: ...
@overload
def convert_to_utc(value: dt.datetime) -> pendulum.DateTime: ...
def convert_to_utc(value: dt.datetime | None) -> pendulum.DateTime | None:
    """The same moment in UTC; one without zone is taken for UTC."""
    if value is None:
        return None
    return pendulum.instance(value if is_localized(value) else value.replace(tzinfo=dt.UTC)).in_timezone("UTC")


def make_aware(value: dt.datetime | None, timezone: Any = None) -> dt.datetime | None:
    """The wall-clock time as a moment of that zone (UTC). Raises ValueError if it has a zone already."""
    if value is None:
        return None
    if is_localized(value):
        raise ValueError(f"make_aware expects a naive datetime, got {value}")
    return pendulum.instance(value, tz=timezone or utc)


def make_naive(value: dt.datetime, timezone: Any = None) -> dt.datetime:
    """Wall-clock time in that zone (UTC). Raises ValueError if it has no zone."""
    if is_naive(value):
        raise ValueError("make_naive() cannot be applied to a naive datetime")
    return value.astimezone(timezone or utc).replace(tzinfo=None)


def datetime(*args: Any, **kwargs: Any) -> pendulum.DateTime:
    """`datetime.datetime(…)` in UTC unless `tzinfo` says otherwise."""
    if kwargs.get("tzinfo") is None and len(args) < 8:
        kwargs["tzinfo"] = dt.UTC
    return pendulum.instance(dt.datetime(*args, **kwargs))  # noqa: DTZ001 — set above


def parse(string: str, timezone: Any = None, *, strict: bool = False) -> pendulum.DateTime:
    """A moment from text; without zone in the text it is of `timezone` (UTC)."""
    found = pendulum.parse(string, tz=timezone or utc, strict=strict)
    if not isinstance(found, pendulum.DateTime):
        raise ValueError(f"{string!r} is not a date and time")
    return found


def coerce_datetime(value: dt.datetime | None, tz: Any = None) -> pendulum.DateTime | None:
    """As pendulum DateTime with a zone."""
    if value is None:
        return None
    return pendulum.instance(value if is_localized(value) else value.replace(tzinfo=tz or dt.UTC))


def td_format(value: dt.timedelta | float | None) -> str | None:
    """A span in short words: `1h:30M`."""
    if not value:
        return None
    span = value if isinstance(value, dt.timedelta) else dt.timedelta(seconds=value)
    delta = relativedelta(seconds=int(span.total_seconds())).normalized()
    parts = (("years", "y"), ("months", "m"), ("days", "d"), ("hours", "h"), ("minutes", "M"), ("seconds", "s"))
    shown = [f"{getattr(delta, name)}{letter}" for name, letter in parts if getattr(delta, name)]
    return ":".join(shown) if shown else "<1s"


def parse_timezone(name: str | int) -> Timezone | FixedTimezone:
    """The zone of that name or offset in seconds."""
    return pendulum.timezone(name)


def local_timezone() -> Timezone | FixedTimezone:
    """The machine's zone."""
    return pendulum.local_timezone()  # type: ignore[operator]  # a module of that name is in its way


def from_timestamp(timestamp: float, tz: Any = utc) -> pendulum.DateTime:
    """A moment from seconds since 1970."""
    return pendulum.from_timestamp(timestamp, tz=tz)
