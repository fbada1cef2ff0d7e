"""Partition mappers, windows and wait policies as DAG files write them (rows 1.221-1.224).

Definitions only, for `PartitionedAssetTimetable`: each knows its stored form.
"""

from __future__ import annotations

from typing import Any, ClassVar

from trackside.sdk.jsonable import jsonable


class _Record:
    """Keeps its arguments by name."""

    _fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if len(args) > len(self._fields):
            raise TypeError(f"{type(self).__name__} takes at most {len(self._fields)} arguments")
        values = dict(zip(self._fields, args, strict=False))
        both = sorted(set(values) & set(kwargs))
        if both:
            raise TypeError(f"{type(self).__name__}: {', '.join(both)} given twice")
        self.values = {**values, **kwargs}

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None

    def to_spec(self) -> dict[str, Any]:
        """Kind and arguments."""
        cls = type(self)
        own = {} if cls.__module__ == __name__ else {"classpath": f"{cls.__module__}.{cls.__qualname__}"}
        return {"kind": cls.__name__, **own, **{k: jsonable(v) for k, v in self.values.items()}}


class PartitionMapper(_Record):
    """From an upstream partition key to a downstream one."""


class IdentityMapper(PartitionMapper):
    """The same key."""


class AllowedKeyMapper(PartitionMapper):
    """The same key, if it is one of the listed."""

    _fields = ("allowed_keys",)


class FixedKeyMapper(PartitionMapper):
    """Always one key."""

    _fields = ("key",)


class ChainMapper(PartitionMapper):
    """One mapper after the other."""

    def __init__(self, *mappers: PartitionMapper) -> None:
        super().__init__(mappers=list(mappers))


class ProductMapper(PartitionMapper):
    """One mapper per segment of the key."""

    def __init__(self, *mappers: PartitionMapper, delimiter: str = "|") -> None:
        super().__init__(mappers=list(mappers), delimiter=delimiter)


class FanOutMapper(PartitionMapper):
    """One key to all keys of a window."""

    _fields = ("upstream_mapper", "window", "downstream_mapper")


class RollupMapper(PartitionMapper):
    """All keys of a window to one key."""

    _fields = ("upstream_mapper", "window", "wait_policy")


class _StartOf(PartitionMapper):
    _fields = ("input_format", "output_format", "timezone")


class StartOfHourMapper(_StartOf):
    """To the hour of the key's moment."""


class StartOfDayMapper(_StartOf):
    """To the day of the key's moment."""


class StartOfWeekMapper(_StartOf):
    """To the week of the key's moment."""


class StartOfMonthMapper(_StartOf):
    """To the month of the key's moment."""


class StartOfQuarterMapper(_StartOf):
    """To the quarter of the key's moment."""


class StartOfYearMapper(_StartOf):
    """To the year of the key's moment."""


class Window(_Record):
    """A set of keys that belong together."""

    _fields = ("direction",)


class HourWindow(Window):
    """The keys of an hour."""


class DayWindow(Window):
    """The keys of a day."""


class WeekWindow(Window):
    """The keys of a week."""


class MonthWindow(Window):
    """The keys of a month."""


class QuarterWindow(Window):
    """The keys of a quarter."""


class YearWindow(Window):
    """The keys of a year."""


class SegmentWindow(Window):
    """Listed values of one segment of the key."""

    _fields = ("segments",)


class WaitForAll(_Record):
    """All keys of the window."""


class MinimumCount(_Record):
    """At least so many keys of the window; negative: so many may be missing."""

    _fields = ("count",)
