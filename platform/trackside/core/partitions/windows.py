"""Windows: the members of a period (or of a fixed set) that belong to one downstream key.

FORWARD yields the period that starts at the key, BACKWARD the one that ends at it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, ClassVar

from trackside.core.partitions.record import Record, stored


class _Direction(str, Enum):  # noqa: UP042 — authors compare it with text, as in Airflow
    BACKWARD = "backward"
    FORWARD = "forward"


class Window(Record, ABC):
    """A set of members; temporal windows take and give moments, others text."""

    Direction = _Direction
    expected_decoded_type: ClassVar[type] = str

    def __init__(self, *, direction: Any = _Direction.FORWARD) -> None:
        self.direction = self.Direction(direction)

    @abstractmethod
    def to_upstream(self, decoded_downstream: Any) -> Iterable[Any]:
        """The members of the window of a (decoded) key."""

    def arguments(self) -> dict[str, Any]:
        return {} if self.direction is _Direction.FORWARD else {"direction": self.direction.value}

    def serialize(self) -> dict[str, Any]:
        return {"direction": self.direction.value}


def _steps(start: datetime, count: int, step: Callable[[datetime, int], datetime], direction: Any) -> Iterable[datetime]:
    base = step(start, 1 - count) if direction is _Direction.BACKWARD else start
    return [step(base, i) for i in range(count)]


def _months(start: datetime, number: int) -> datetime:
    total = start.month - 1 + number
    return start.replace(year=start.year + total // 12, month=total % 12 + 1)


def _day_one(start: datetime, window: Window) -> None:
    if start.day != 1:
        raise ValueError(f"{type(window).__name__} needs a period that starts on day 1 of a month, not {start.isoformat()}.")


@stored
class HourWindow(Window):
    """The 60 minutes of an hour."""

    expected_decoded_type = datetime

    def to_upstream(self, decoded_downstream: datetime) -> Iterable[datetime]:
        return _steps(decoded_downstream, 60, lambda at, i: at + timedelta(minutes=i), self.direction)


@stored
class DayWindow(Window):
    """The 24 hours of a day."""

    expected_decoded_type = datetime

    def to_upstream(self, decoded_downstream: datetime) -> Iterable[datetime]:
        return _steps(decoded_downstream, 24, lambda at, i: at + timedelta(hours=i), self.direction)


@stored
class WeekWindow(Window):
    """Seven days."""

    expected_decoded_type = datetime

    def to_upstream(self, decoded_downstream: datetime) -> Iterable[datetime]:
        return _steps(decoded_downstream, 7, lambda at, i: at + timedelta(days=i), self.direction)


@stored
class MonthWindow(Window):
    """The days of a month; backward: those after the first of the month before, up to the first of this one."""

    expected_decoded_type = datetime

    def to_upstream(self, decoded_downstream: datetime) -> Iterable[datetime]:
        start = decoded_downstream
        _day_one(start, self)
        if self.direction is _Direction.BACKWARD:
            before = _months(start, -1)
            return [before + timedelta(days=i + 1) for i in range((start - before).days)]
        return [start + timedelta(days=i) for i in range((_months(start, 1) - start).days)]


@stored
class QuarterWindow(Window):
    """Three months."""

    expected_decoded_type = datetime

    def to_upstream(self, decoded_downstream: datetime) -> Iterable[datetime]:
        _day_one(decoded_downstream, self)
        return _steps(decoded_downstream, 3, _months, self.direction)


@stored
class YearWindow(Window):
    """Twelve months."""

    expected_decoded_type = datetime

    def to_upstream(self, decoded_downstream: datetime) -> Iterable[datetime]:
        _day_one(decoded_downstream, self)
        return _steps(decoded_downstream, 12, _months, self.direction)


@stored
class SegmentWindow(Window):
    """A fixed set of keys."""

    positional = ("segments",)

    def __init__(self, segments: Iterable[str]) -> None:
        super().__init__()
        listed = list(segments)
        wrong = next((item for item in listed if not isinstance(item, str) or not item), None)
        if wrong is not None or not listed:
            raise ValueError(f"SegmentWindow needs at least one key, all of them text and not empty; got {wrong if listed else 'none'!r}")
        self.segments = frozenset(listed)

    def to_upstream(self, decoded_downstream: Any) -> frozenset[str]:
        return self.segments

    def arguments(self) -> dict[str, Any]:
        return {"segments": sorted(self.segments)}

    def serialize(self) -> dict[str, Any]:
        return {"segments": sorted(self.segments)}
