"""Cron expressions: read the text, find the next or previous matching wall-clock time.

For the cron timetables, which add the zone. Pure wall-clock arithmetic: no zone, no clock, naive datetimes only.
Accepts what Airflow accepts (croniter's dialect), checked case by case in the tests:

- five fields, a sixth for seconds, a seventh for the year; names, lists, steps, ranges that wrap (`fri-mon`, `22-2`);
- `L` (last day of the month), `L5` (last Friday), `5#2` and `mon-wed#1` (n-th weekday), `?` for `*`, 7 for Sunday;
- day of month and day of week both restricted: either matches. An n-th weekday replaces the day of month altogether;
- `5-5` means the whole cycle, a step larger than its range keeps the first value (`*/90` → minute 0).

An expression that can never match (`0 0 31 2 *`) is refused when it is read.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import lru_cache

from trackside.core.timetables.base import InvalidSchedule

PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
FIELD_NAMES = ("minute", "hour", "day of month", "month", "day of week", "second", "year")
LAST = -1
"""Stands for "the last one of the month" in `month_days` and `nth_weekdays`."""
SEARCH_YEARS = 50
"""How far a search looks before it says "never". 28 years bring every weekday to every date."""

_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6), (0, 59), (1970, 2099))
_MONTHS = {
    "jan": 1,
    "feb": 2,
    "mar": 3,
    "apr": 4,
    "may": 5,
    "jun": 6,
    "jul": 7,
    "aug": 8,
    "sep": 9,
    "oct": 10,
    "nov": 11,
    "dec": 12,
}
_WEEKDAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_NAMES: tuple[dict[str, int], ...] = ({}, {}, {}, _MONTHS, _WEEKDAYS, {}, {})
_RANGE = re.compile(r"^([^-]+)-([^-/]+)(?:/(\d+))?$")
_NTH = re.compile(r"^(\w+(?:-\w+)?)#(\d+)$")
_LAST_WEEKDAY = re.compile(r"^l(\d)$")
_HASH = re.compile(r"^[hr](\(\d+-\d+\))?(/\d+)?$")

_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY = range(5)


def parse_cron(text: str) -> CronExpression:
    """Read a cron expression or preset. Raises InvalidSchedule naming the field and what is wrong."""
    if not isinstance(text, str):
        raise InvalidSchedule(f"cron: expected a cron expression, not {text!r}")
    return _parse(text)


@dataclass(frozen=True)
class CronExpression:
    """A cron expression that was read; finds matching wall-clock times without stepping through the misses."""

    text: str
    """The five to seven fields, presets already replaced."""
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    month_days: frozenset[int] | None
    """None: any day. LAST for the last day of the month."""
    months: tuple[int, ...]
    weekdays: frozenset[int] | None
    """Sunday is 0. None: any."""
    nth_weekdays: frozenset[tuple[int, int]]
    """(weekday, n) with n from 1 to 5, or LAST. When given, nothing else picks the day."""
    seconds: tuple[int, ...] = (0,)
    years: frozenset[int] | None = None
    _days: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def every_hour(self) -> bool:
        """Runs in every hour of its days: such schedules follow elapsed time when clocks change."""
        return len(self.hours) == 24

    def next_after(self, wall: datetime) -> datetime | None:
        """The first matching time after `wall`; None when none comes within SEARCH_YEARS."""
        start = wall.replace(microsecond=0) + timedelta(seconds=1)
        for day in self._days_from(start.date()):
            found = self._first_time(start.time() if day == start.date() else time())
            if found is not None:
                return datetime.combine(day, found)
        return None

    def prev_before(self, wall: datetime) -> datetime | None:
        """The last matching time before `wall`; None when there is none within SEARCH_YEARS."""
        end = wall - timedelta(microseconds=1)
        for day in self._days_back_from(end.date()):
            found = self._last_time(end.time() if day == end.date() else time(23, 59, 59))
            if found is not None:
                return datetime.combine(day, found)
        return None

    def _days_from(self, first: date) -> Iterator[date]:
        year, month = first.year, first.month
        for _ in range(SEARCH_YEARS * 12 + 1):
            for day in self.days_of(year, month):
                if (year, month) != (first.year, first.month) or day >= first.day:
                    yield date(year, month, day)
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
            if year > 9999:
                return

    def _days_back_from(self, last: date) -> Iterator[date]:
        year, month = last.year, last.month
        for _ in range(SEARCH_YEARS * 12 + 1):
            for day in reversed(self.days_of(year, month)):
                if (year, month) != (last.year, last.month) or day <= last.day:
                    yield date(year, month, day)
            year, month = (year, month - 1) if month > 1 else (year - 1, 12)
            if year < 1:
                return

    def _first_time(self, not_before: time) -> time | None:
        h, m, s = not_before.hour, not_before.minute, not_before.second
        for hour in self.hours[bisect_left(self.hours, h) :]:
            for minute in self.minutes[bisect_left(self.minutes, m) if hour == h else 0 :]:
                at = bisect_left(self.seconds, s) if (hour, minute) == (h, m) else 0
                if at < len(self.seconds):
                    return time(hour, minute, self.seconds[at])
        return None

    def _last_time(self, not_after: time) -> time | None:
        h, m, s = not_after.hour, not_after.minute, not_after.second
        for hour in reversed(self.hours[: bisect_right(self.hours, h)]):
            stop = bisect_right(self.minutes, m) if hour == h else len(self.minutes)
            for minute in reversed(self.minutes[:stop]):
                at = bisect_right(self.seconds, s) if (hour, minute) == (h, m) else len(self.seconds)
                if at:
                    return time(hour, minute, self.seconds[at - 1])
        return None

    def days_of(self, year: int, month: int) -> tuple[int, ...]:
        """The days of that month this expression matches, ascending."""
        if month not in self.months or (self.years is not None and year not in self.years):
            return ()
        # A month is fully described by its first weekday and its length, so at most 28 entries are kept.
        shape = first_weekday, length = monthrange(year, month)
        days = self._days.get(shape)
        if days is None:
            days = tuple(d for d in range(1, length + 1) if self._day_matches(d, (first_weekday + d) % 7, length))
            self._days[shape] = days
        return days

    def _day_matches(self, day: int, weekday: int, length: int) -> bool:
        if self.nth_weekdays:
            is_last = day + 7 > length
            return (weekday, (day + 6) // 7) in self.nth_weekdays or (is_last and (weekday, LAST) in self.nth_weekdays)
        by_date = self.month_days is None or day in self.month_days or (day == length and LAST in self.month_days)
        by_weekday = self.weekdays is None or weekday in self.weekdays
        if self.month_days is not None and self.weekdays is not None:
            return by_date or by_weekday
        return by_date and by_weekday


@lru_cache(maxsize=4096)
def _parse(text: str) -> CronExpression:
    expression = PRESETS.get(text.strip().lower(), text).strip()
    if expression.startswith("@"):
        raise InvalidSchedule(
            f"cron: {text!r} is not a known preset; known are {', '.join(PRESETS)}, @once, @continuous"
        )
    parts = expression.lower().split()
    if not 5 <= len(parts) <= 7:
        raise InvalidSchedule(
            f"cron: {text!r} has {len(parts)} fields; five are needed (minute, hour, day of month, month, "
            "day of week), and may be followed by second and year"
        )
    fields = [_Field(index, part, expression) for index, part in enumerate(parts)]
    values = [f.read() for f in fields]
    month_days, weekdays = _day_fields(fields[_DAY], fields[_WEEKDAY])
    result = CronExpression(
        text=" ".join(expression.split()),
        minutes=tuple(sorted(values[_MINUTE])),
        hours=tuple(sorted(values[_HOUR])),
        month_days=month_days,
        months=tuple(sorted(values[_MONTH])),
        weekdays=weekdays,
        nth_weekdays=frozenset(fields[_WEEKDAY].nth),
        seconds=tuple(sorted(values[5])) if len(parts) > 5 else (0,),
        years=frozenset(values[6]) if len(parts) > 6 and not fields[6].star else None,
    )
    first_year = min(result.years) if result.years else 2000
    eve = datetime(first_year - 1, 12, 31, 23, 59, 59)  # noqa: DTZ001  # wall-clock time
    if result.next_after(eve) is None:
        raise InvalidSchedule(f"cron: {text!r} never matches: no such day exists in the months it allows")
    return result


def _day_fields(days: _Field, weekdays: _Field) -> tuple[frozenset[int] | None, frozenset[int] | None]:
    """Which of the two day fields restrict.

    A field that lists every value counts as `*` only if the other one has a star in it: `1-31` next to `mon` keeps
    meaning "either", as croniter has it.
    """
    any_day = days.star or (len(days.values) == 31 and "*" in weekdays.text)
    any_weekday = weekdays.star or (len(weekdays.values) == 7 and "*" in days.text)
    return (None if any_day else frozenset(days.values)), (None if any_weekday else frozenset(weekdays.values))


class _Field:
    """One field while it is read: its values, and what else it says."""

    def __init__(self, index: int, text: str, expression: str) -> None:
        self.index, self.text, self.expression = index, text, expression
        self.low, self.high = _RANGES[index]
        self.star = False
        self.values: set[int] = set()
        self.nth: set[tuple[int, int]] = set()

    def read(self) -> set[int]:
        """All values of the field; LAST stands for `L` in the day of month."""
        if _HASH.match(self.text):
            raise self._bad("H and R (hashed and random times) are not supported, write the time")
        if "?" in self.text:
            if self.text != "?" or self.index not in (_DAY, _WEEKDAY):
                raise self._bad("? may only stand alone, for the day of month or the day of week")
            self.text = "*"
        plain: set[int] = set()
        for item in self.text.split(","):
            plain |= self._item(item)
        if self.nth and plain - {weekday for weekday, _ in self.nth} and len(plain) != 7:
            raise self._bad("plain weekdays and n-th weekdays (#, L) cannot be mixed")
        self.values = plain
        return plain

    def _item(self, item: str) -> set[int]:
        if item == "*":
            self.star = True
            return set(range(self.low, self.high + 1))
        if item == "l" and self.index == _DAY:
            return {LAST}
        if self.index == _WEEKDAY:
            if match := _LAST_WEEKDAY.match(item):
                self.nth.add((self._number(match[1]), LAST))
                return set()
            if match := _NTH.match(item):
                n = int(match[2])
                if not 1 <= n <= 5:
                    raise self._bad(f"#{n} is not between #1 and #5")
                self.nth |= {(weekday, n) for weekday in self._span(match[1])}
                return set()
        return self._span(item)

    def _span(self, item: str) -> set[int]:
        """A number, a range, or either with a step."""
        spread = f"{self.low}-{self.high}{item[1:]}" if item.startswith("*/") else item
        match = _RANGE.match(spread)
        if match is None and "/" in item:
            start, _, size = item.rpartition("/")
            match = _RANGE.match(f"{start}-{self.high}/{size}")
            if match is None:
                raise self._bad(f"{item!r} is not a step such as */5 or 10-30/5")
        if match is None:
            return {self._number(item)}
        low, step = self._number(match[1]), int(match[3] or 1)
        high = self.high if match[2] == "l" and self.index == _DAY else self._number(match[2])
        if step == 0:
            raise self._bad(f"the step of {item!r} is 0")
        if low == high:
            # `59/15` starts at the last minute and gets no further; `5-5`, written out, means the whole cycle.
            return {low} if match.string != spread else set(range(self.low, self.high + 1, step))
        if low < high:
            return set(range(low, high + 1, step))
        return self._wrapped(low, high, step)

    def _wrapped(self, low: int, high: int, step: int) -> set[int]:
        """A range over the end of the cycle, `nov-feb` or `fri-mon`; steps go on across the seam as in croniter."""
        head = list(range(low, self.high + 1, step))
        left = self.high - head[-1]
        size = self.high - self.low + 1
        skip = step - left if head[-1] - self.low + step > size and left < step else 0
        return set(head) | set(range(self.low + skip, high + 1, step))

    def _number(self, text: str) -> int:
        if text in _NAMES[self.index]:
            return _NAMES[self.index][text]
        if not text.isascii() or not text.isdigit():
            raise self._bad(f"{text!r} is not a {'name or number' if _NAMES[self.index] else 'number'}")
        value = int(text)
        if self.index == _WEEKDAY and value == 7:
            return 0
        if not self.low <= value <= self.high:
            raise self._bad(f"{value} is not between {self.low} and {self.high}")
        return value

    def _bad(self, why: str) -> InvalidSchedule:
        return InvalidSchedule(f"cron: {FIELD_NAMES[self.index]} of {self.expression!r}: {why}")
