"""Wall clocks and moments: look up a zone, go from UTC to local time and back across clock changes.

For the cron timetables. Next door: `cronexpr` works on wall-clock times without any zone.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from trackside.core.timetables.base import InvalidSchedule

_OFFSET = re.compile(r"^([+-])(\d{2}):?(\d{2})$")


@lru_cache(maxsize=256)
def zone(name: str) -> tzinfo:
    """The zone of that name: an IANA name, `UTC`, or a fixed offset such as `+05:30`. Raises InvalidSchedule."""
    if name.upper() in ("UTC", "Z"):
        return UTC
    if match := _OFFSET.match(name):
        sign = -1 if match[1] == "-" else 1
        minutes = int(match[2]) * 60 + int(match[3])
        if minutes >= 24 * 60:
            raise InvalidSchedule(f"timezone: the offset {name!r} is a day or more")
        return timezone(sign * timedelta(minutes=minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidSchedule(f"timezone: no time zone is called {name!r}") from None


def zone_name(value: object) -> str:
    """The name to store for a zone given as name, seconds east of UTC, or tzinfo (zoneinfo, pendulum, datetime)."""
    if isinstance(value, bool) or value is None:
        raise InvalidSchedule(f"timezone: expected the name of a time zone, not {value!r}")
    if isinstance(value, int):
        return _offset_name(timedelta(seconds=value))
    if isinstance(value, tzinfo):
        name = getattr(value, "key", None) or getattr(value, "name", None)
        if not isinstance(name, str) or not name:
            offset = value.utcoffset(None)
            if offset is None:
                raise InvalidSchedule(f"timezone: {value!r} has neither a name nor a fixed offset")
            name = _offset_name(offset)
        value = name
    if not isinstance(value, str):
        raise InvalidSchedule(f"timezone: expected the name of a time zone, not {value!r}")
    zone(value)
    return value


def _offset_name(offset: timedelta) -> str:
    minutes, seconds = divmod(int(offset.total_seconds()), 60)
    if seconds:
        raise InvalidSchedule(f"timezone: the offset {offset} is not a whole number of minutes")
    if not minutes:
        return "UTC"
    sign, minutes = ("-", -minutes) if minutes < 0 else ("+", minutes)
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}"


def to_wall(moment: datetime, tz: tzinfo) -> datetime:
    """What the clock on the wall shows at `moment`, as a naive datetime."""
    return moment.astimezone(tz).replace(tzinfo=None, fold=0)


def to_utc(wall: datetime, tz: tzinfo) -> datetime:
    """The moment a wall clock shows `wall`, in UTC.

    A time that is skipped in spring happens by the gap's length later (02:30 → 03:30); a time that comes twice in
    autumn means the second one. That is Airflow's rule (make_aware), and both are "the smaller of the two offsets".
    """
    if tz is UTC:
        return wall.replace(tzinfo=UTC)
    first = wall.replace(tzinfo=tz, fold=0).utcoffset()
    second = wall.replace(tzinfo=tz, fold=1).utcoffset()
    assert first is not None and second is not None
    return (wall - min(first, second)).replace(tzinfo=UTC)


def as_utc(moment: datetime) -> datetime:
    """`moment` in UTC. A naive datetime is a mistake of the caller: ValueError."""
    if moment.tzinfo is None:
        raise ValueError(f"timetables need aware datetimes, got {moment.isoformat()} without a time zone")
    return moment.astimezone(UTC)
