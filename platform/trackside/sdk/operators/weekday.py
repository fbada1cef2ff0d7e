"""Days of the week by name or number, for operators and sensors that wait for one."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any


class WeekDay(enum.IntEnum):
    """ISO numbers: Monday is 1."""

    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6
    SUNDAY = 7

    @classmethod
    def get_weekday_number(cls, week_day_str: str) -> WeekDay:
        """The day of that name, in any case."""
        name = week_day_str.upper()
        if name not in cls.__members__:
            raise AttributeError(f'Invalid Week Day passed: "{week_day_str}"')
        return cls[name]

    @classmethod
    def convert(cls, day: str | WeekDay) -> int:
        """Number of a day."""
        return cls.get_weekday_number(day) if isinstance(day, str) else int(day)

    @classmethod
    def validate_week_day(cls, week_day: Any) -> set[int]:
        """Numbers of one day or several."""
        if isinstance(week_day, str | WeekDay):
            return {cls.convert(week_day)}
        if not isinstance(week_day, Iterable):
            raise TypeError(
                f"Unsupported Type for week_day parameter: {type(week_day)}. "
                "It should be one of str, set or WeekDay enum"
            )
        return {cls.convert(day) for day in week_day}
