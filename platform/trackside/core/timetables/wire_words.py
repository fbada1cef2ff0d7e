"""A cron expression in the words Airflow's API uses (`timetable_description`), so that clients see what they know.

For `cron` only; people read `words` instead. Covers the usual shapes; for the rest the caller uses other words.
Follows the text of the expression, not its meaning, because the original does.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DAY_NUMBER = {name[:3].lower(): i for i, name in enumerate(_DAYS)}
_MONTH_NUMBER = {name[:3].lower(): i for i, name in enumerate(_MONTHS, 1)}
_NTH = ("", "first", "second", "third", "fourth", "fifth")
_NUMBER, _SPAN = re.compile(r"^\d+$"), re.compile(r"^(\d+)-(\d+)$")


class _Unusual(Exception):
    """A shape this module has no words for."""


def describe(text: str) -> str | None:
    """The words for a five-field expression; "" for six or seven fields (as Airflow); None for unusual shapes."""
    fields = text.lower().split()
    if len(fields) != 5:
        return ""
    minute, hour, day, month, weekday = ("*" if part in ("?", "*/1") else part for part in fields)
    try:
        month = _numbered(month, _MONTH_NUMBER)
        weekday = _numbered(weekday, _DAY_NUMBER)
        if fields[2] != "*" and fields[4] != "*":
            by_date, by_weekday = _sentence(minute, hour, day, month, "*"), _sentence(minute, hour, "*", month, weekday)
            return f"{by_date} (or) {by_weekday}"
        return _sentence(minute, hour, day, month, weekday)
    except (_Unusual, IndexError):
        return None


def _sentence(minute: str, hour: str, day: str, month: str, weekday: str) -> str:
    text = _time(minute, hour) + _day(day) + _weekday(weekday) + _month(month)
    return text[0].upper() + text[1:]


def _time(minute: str, hour: str) -> str:
    if _NUMBER.match(minute):
        if _NUMBER.match(hour):
            return f"at {_clock(hour, minute)}"
        if "," in hour:
            times = [_clock(h, minute) for h in _numbers(hour)]
            return f"at {', '.join(times[:-1])} and {times[-1]}"
    elif (span := _SPAN.match(minute)) and _NUMBER.match(hour):
        return f"every minute between {_clock(hour, span[1])} and {_clock(hour, span[2])}"
    minutes = "" if minute == "0" and not _SPAN.match(hour) else _minutes(minute)
    hours = _hours(hour, per_minute=minute == "*" or "/" in minute)
    return ", ".join(part for part in (minutes, hours) if part) or "every hour"


def _minutes(minute: str) -> str:
    if minute == "*":
        return "every minute"
    return _segment(
        minute,
        one="at {} minutes past the hour",
        step="every {} minutes",
        between="minutes {} through {} past the hour",
        name=str,
    )


def _hours(hour: str, *, per_minute: bool) -> str:
    if hour == "*":
        return ""
    if _NUMBER.match(hour) and per_minute:
        hour = f"{hour}-{hour}"
    return _segment(
        hour, one="at {}", step="every {} hours", between="between {} and {}", name=_clock, end=_end_of_hour
    )


def _day(day: str) -> str:
    if day in ("*", "l"):
        return "" if day == "*" else ", on the last day of the month"
    return ", " + _segment(
        day, one="on day {} of the month", step="every {} days", between="between day {} and {} of the month", name=str
    )


def _weekday(weekday: str) -> str:
    if weekday == "*":
        return ""
    if match := re.match(r"^l(\d)$", weekday):
        return f", on the last {_day_name(match[1])} of the month"
    if match := re.match(r"^(\d)#([1-5])$", weekday):
        return f", on the {_NTH[int(match[2])]} {_day_name(match[1])} of the month"
    if "/" in weekday:
        raise _Unusual
    return ", " + _segment(weekday, one="only on {}", step="", between="{} through {}", name=_day_name)


def _month(month: str) -> str:
    if month == "*":
        return ""
    return ", " + _segment(
        month, one="only in {}", step="every {} months", between="{} through {}", name=lambda m: _MONTHS[int(m) - 1]
    )


def _segment(
    text: str, *, one: str, step: str, between: str, name: Callable[[str], str], end: Callable[[str], str] | None = None
) -> str:
    """One field: `n`, `n,m`, `n-m`, `*/s` or `n-m/s`."""
    if span := _SPAN.match(text):
        return between.format(name(span[1]), (end or name)(span[2]))
    if "/" in text:
        base, _, size = text.partition("/")
        if not _NUMBER.match(size) or size == "1" or not (base == "*" or _SPAN.match(base)):
            raise _Unusual
        rest = "" if base == "*" else ", " + _segment(base, one=one, step=step, between=between, name=name, end=end)
        return step.format(size) + rest
    names = [name(n) for n in _numbers(text)]
    if len(names) < 3:
        return one.format(" and ".join(names))
    return one.format(f"{', '.join(names[:-1])}, and {names[-1]}")


def _numbers(text: str) -> list[str]:
    items = text.split(",")
    if not all(_NUMBER.match(item) for item in items):
        raise _Unusual
    return items


def _numbered(text: str, names: dict[str, int]) -> str:
    return re.sub(r"[a-z]{3}", lambda match: str(names.get(match[0], match[0])), text)


def _day_name(number: str) -> str:
    return _DAYS[int(number) % 7]


def _clock(hour: str, minute: str = "0") -> str:
    return f"{int(hour):02}:{int(minute):02}"


def _end_of_hour(hour: str) -> str:
    return _clock(hour, "59")
