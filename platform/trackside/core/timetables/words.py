"""Cron expressions in words for people: `Every day at 06:00`, `Every 15 minutes, Monday to Friday`.

For the pages and for `schedule_in_words`. Works on what the expression means, so any expression has words.
Next door: `wire_words` has the phrases Airflow's API uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from trackside.core.timetables import wire_words
from trackside.core.timetables.cronexpr import LAST, CronExpression

_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_NTH = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", LAST: "last"}
_MOST_TIMES = 6
"""More times of day than this are told as minutes and hours instead."""


def airflow_description(cron: CronExpression) -> str:
    """`timetable_description` as Airflow gives it, or our own words for shapes it rarely sees."""
    text = wire_words.describe(cron.text)
    return cron_in_words(cron) if text is None else text


def cron_in_words(cron: CronExpression) -> str:
    """One phrase without a full stop. The zone is the caller's to add."""
    days, months, years = _days(cron), _months(cron), _years(cron)
    if times := _times_of_day(cron):
        text = f"{days or 'every day'} at {join(times)}"
    else:
        text = ", ".join(part for part in (_often(cron), days) if part)
    text += "".join(f", {part}" for part in (months, years) if part)
    return text[0].upper() + text[1:]


def join(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def uncapitalised(text: str) -> str:
    """The phrase as it stands inside a sentence; names of days keep their capital."""
    return text if text.startswith(_DAYS) else text[:1].lower() + text[1:]


def _times_of_day(cron: CronExpression) -> list[str]:
    if len(cron.hours) * len(cron.minutes) * len(cron.seconds) > _MOST_TIMES:
        return []
    if cron.minutes == (0,) and cron.seconds == (0,) and _share(cron.hours, 24, "hour").startswith("every"):
        return []
    tail = [f":{s:02}" for s in cron.seconds] if cron.seconds != (0,) else [""]
    return [f"{h:02}:{m:02}{s}" for h in cron.hours for m in cron.minutes for s in tail]


def _often(cron: CronExpression) -> str:
    seconds = _share(cron.seconds, 60, "second") if cron.seconds != (0,) else ""
    minutes = _share(cron.minutes, 60, "minute")
    hours = _share(cron.hours, 24, "hour")
    if cron.minutes == (0,):
        text = hours if hours.startswith("every") else f"on the hour, {hours}"
    elif len(cron.hours) == 24:
        text = minutes if minutes.startswith("every") else f"every hour at {minutes}"
    else:
        text = f"{minutes if minutes.startswith('every') else 'at ' + minutes}, {hours}"
    return f"{seconds if seconds.startswith('every') else 'at ' + seconds} of {text}" if seconds else text


def _share(values: Sequence[int], size: int, unit: str) -> str:
    """How a set of minutes (hours, seconds) is called: every one, every n-th, a run of them, or a list."""
    if len(values) == size:
        return f"every {unit}"
    step = values[1] - values[0] if len(values) > 2 else 0
    even = step > 1 and all(b - a == step for a, b in pairwise(values))
    if even and values[0] == 0 and values[-1] + step >= size:
        return f"every {step} {unit}s" if size % step == 0 else f"every {step} {unit}s of each {_above(unit)}"
    if step == 1 and values[-1] - values[0] == len(values) - 1 and len(values) > 2:
        span = (values[0], values[-1])
        return f"from {span[0]:02}:00 to {span[1]:02}:59" if unit == "hour" else f"{unit}s {span[0]} to {span[1]}"
    if unit == "hour":
        return f"in the hour{'s' if len(values) > 1 else ''} of {join([f'{v:02}:00' for v in values])}"
    return f"{unit}{'s' if len(values) > 1 else ''} {join([str(v) for v in values])}"


def _above(unit: str) -> str:
    return {"second": "minute", "minute": "hour", "hour": "day"}[unit]


def _days(cron: CronExpression) -> str:
    """Which days; empty when every day matches."""
    if cron.nth_weekdays:
        pairs = sorted(cron.nth_weekdays, key=lambda pair: (pair[1] % 10, pair[0]))
        return f"on the {join([f'{_NTH[n]} {_DAYS[weekday]}' for weekday, n in pairs])} of the month"
    parts = []
    if cron.month_days is not None and len(cron.month_days) < 31:
        parts.append(_month_days(cron.month_days))
    if cron.weekdays is not None and len(cron.weekdays) < 7:
        parts.append(_weekdays(cron.weekdays))
    restricted = (cron.month_days is not None) + (cron.weekdays is not None)
    return " or ".join(parts) if len(parts) == restricted else ""


def _month_days(days: frozenset[int]) -> str:
    numbers = sorted(day for day in days if day != LAST)
    if len(numbers) > 3 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        names = [f"{_ordinal(numbers[0])} to {_ordinal(numbers[-1])}"]
    else:
        names = [_ordinal(day) for day in numbers]
    if LAST in days:
        names.append("last day")
    return f"on the {join(names)} of the month"


def _weekdays(days: frozenset[int]) -> str:
    if days == {1, 2, 3, 4, 5}:
        return "Monday to Friday"
    if days == {0, 6}:
        return "on weekends"
    in_order = sorted(days, key=lambda day: (day - 1) % 7)
    return f"every {join([_DAYS[day] for day in in_order])}"


def _months(cron: CronExpression) -> str:
    if len(cron.months) == 12:
        return ""
    first, last = cron.months[0], cron.months[-1]
    if len(cron.months) > 2 and last - first == len(cron.months) - 1:
        return f"{_MONTHS[first - 1]} to {_MONTHS[last - 1]}"
    return f"in {join([_MONTHS[month - 1] for month in cron.months])}"


def _years(cron: CronExpression) -> str:
    return f"in {join([str(year) for year in sorted(cron.years)])}" if cron.years else ""


def _ordinal(n: int) -> str:
    suffix = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{suffix}"
