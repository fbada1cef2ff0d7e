"""Mappers of keys that are moments: to the start of the period that holds them.

A key without a zone is read in `timezone`; one with a zone is converted to it. A downstream key is written with
`output_format`, which must be readable again where a window builds on it.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from datetime import datetime, timedelta
from typing import Any, ClassVar

from trackside.core.partitions.mappers import PartitionMapper
from trackside.core.partitions.record import stored
from trackside.core.timetables.zones import zone, zone_name

DEFAULT_INPUT = "%Y-%m-%dT%H:%M:%S"
_DIGITS = {"Y": r"\d{4}", **dict.fromkeys("mdHMSVUW", r"\d{2}")}
_TOKEN = re.compile(r"%([YmdHMSVUW])|\{([^{}]*)\}")


def pattern_of(output_format: str, narrowed: dict[str, str] | None = None) -> re.Pattern[str]:
    """The pattern by which a key written with `output_format` is read: a group per directive and per {placeholder}.

    Raises ValueError for a format that cannot be read back.
    """
    parts, seen, end, was_wide = ["^"], set(), 0, False
    for found in _TOKEN.finditer(output_format):
        literal, name = output_format[end : found.start()], found[1] or found[2]
        if not name.isidentifier():
            raise ValueError(f"output_format {output_format!r} has invalid placeholder {{{name}}}; use a Python name.")
        if name in seen:
            raise ValueError(f"output_format {output_format!r} reuses {found[0]!r}; each may appear once.")
        is_wide = found[1] is None and name not in (narrowed or {})
        if is_wide and was_wide and not literal:
            raise ValueError(f"output_format {output_format!r} has two placeholders without anything between them at {found[0]!r}.")
        seen.add(name)
        digits = _DIGITS[name] if found[1] else (narrowed or {}).get(name, r"\w+")
        parts.append(f"{re.escape(literal)}(?P<{name}>{digits})")
        end, was_wide = found.end(), is_wide
    return re.compile("".join([*parts, re.escape(output_format[end:]), "$"]))


class TemporalMapper(PartitionMapper):
    """To the start of a period."""

    expected_decoded_type = datetime
    default_output_format: ClassVar[str] = ""

    def __init__(
        self, *, timezone: Any = "UTC", input_format: str = DEFAULT_INPUT, output_format: str | None = None,
        max_downstream_keys: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(max_downstream_keys=max_downstream_keys)
        self.timezone = zone_name(timezone)
        self.zone = zone(self.timezone)
        self.input_format, self.output_format = input_format, output_format or self.default_output_format

    @abstractmethod
    def normalize(self, dt: datetime) -> datetime:
        """The start of the period that holds `dt`."""

    def format(self, dt: datetime) -> str:
        """The downstream key of a period."""
        return dt.strftime(self.output_format)

    def to_downstream(self, key: str) -> str:
        found = datetime.strptime(key, self.input_format)  # noqa: DTZ007 — the zone is the mapper's
        return self.format(self.normalize(found.replace(tzinfo=self.zone) if found.tzinfo is None else found.astimezone(self.zone)))

    def decode_downstream(self, downstream_key: str) -> datetime:
        return datetime.strptime(downstream_key, self.output_format)  # noqa: DTZ007 — wall time of the mapper's zone

    def encode_upstream(self, decoded: datetime) -> str:
        wall = decoded.replace(tzinfo=self.zone) if decoded.tzinfo is None else decoded.astimezone(self.zone)
        return wall.strftime(self.input_format)

    def to_partition_date(self, downstream_key: str) -> datetime:
        start = self.normalize(self.decode_downstream(downstream_key))
        return start.replace(tzinfo=self.zone) if start.tzinfo is None else start

    def arguments(self) -> dict[str, Any]:
        said: dict[str, Any] = {} if self.timezone == "UTC" else {"timezone": self.timezone}
        said |= {} if self.input_format == DEFAULT_INPUT else {"input_format": self.input_format}
        said |= {} if self.output_format == self.default_output_format else {"output_format": self.output_format}
        return {**said, **super().arguments()}

    def serialize(self) -> dict[str, Any]:
        named = {"timezone": self.timezone, "input_format": self.input_format, "output_format": self.output_format}
        return {**named, **PartitionMapper.arguments(self)}


def _midnight(dt: datetime, **fields: int) -> datetime:
    return dt.replace(hour=0, minute=0, second=0, microsecond=0, **fields)  # type: ignore[arg-type]  # month and day


@stored
class StartOfHourMapper(TemporalMapper):
    """To the hour: 2024-03-13T10."""

    default_output_format = "%Y-%m-%dT%H"

    def normalize(self, dt: datetime) -> datetime:
        return dt.replace(minute=0, second=0, microsecond=0)


@stored
class StartOfDayMapper(TemporalMapper):
    """To the day: 2024-03-13."""

    default_output_format = "%Y-%m-%d"

    def normalize(self, dt: datetime) -> datetime:
        return _midnight(dt)


@stored
class StartOfWeekMapper(TemporalMapper):
    """To the Monday of the ISO week: 2024-03-11 (W11). `output_format` must have %Y, %m and %d to be read back."""

    default_output_format = "%Y-%m-%d (W%V)"

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._pattern = pattern_of(self.output_format)

    def normalize(self, dt: datetime) -> datetime:
        return _midnight(dt - timedelta(days=dt.weekday()))

    def decode_downstream(self, downstream_key: str) -> datetime:
        found = self._pattern.search(downstream_key)
        if found is None or not {"Y", "m", "d"} <= set(found.groupdict()):
            raise ValueError(f"{downstream_key!r} is no week of the format {self.output_format!r}, which must have %Y, %m and %d")
        return datetime(int(found["Y"]), int(found["m"]), int(found["d"]))  # noqa: DTZ001 — wall time of the mapper's zone

    def encode_upstream(self, decoded: datetime) -> str:
        return super().encode_upstream(decoded)


@stored
class StartOfMonthMapper(TemporalMapper):
    """To the month: 2024-03."""

    default_output_format = "%Y-%m"

    def normalize(self, dt: datetime) -> datetime:
        return _midnight(dt, day=1)


@stored
class StartOfQuarterMapper(TemporalMapper):
    """To the quarter: 2024-Q1. `output_format` must have %Y and {quarter} to be read back."""

    default_output_format = "%Y-Q{quarter}"

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._pattern = pattern_of(self.output_format, {"quarter": "[1-4]"})

    def normalize(self, dt: datetime) -> datetime:
        return _midnight(dt, month=(dt.month - 1) // 3 * 3 + 1, day=1)

    def format(self, dt: datetime) -> str:
        return dt.strftime(self.output_format).format(quarter=(dt.month - 1) // 3 + 1)

    def decode_downstream(self, downstream_key: str) -> datetime:
        found = self._pattern.search(downstream_key)
        if found is None or not {"Y", "quarter"} <= set(found.groupdict()):
            raise ValueError(f"{downstream_key!r} is no quarter of the format {self.output_format!r}, which must have %Y and {{quarter}}")
        return datetime(int(found["Y"]), int(found["quarter"]) * 3 - 2, 1)  # noqa: DTZ001 — wall time of the mapper's zone

    def encode_upstream(self, decoded: datetime) -> str:
        return super().encode_upstream(decoded)


@stored
class StartOfYearMapper(TemporalMapper):
    """To the year: 2024."""

    default_output_format = "%Y"

    def normalize(self, dt: datetime) -> datetime:
        return _midnight(dt, month=1, day=1)
