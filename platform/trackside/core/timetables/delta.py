"""Timetables that repeat after a span of time: a timedelta, or a relativedelta with months and years.

For `schedule=timedelta(...)` and the two delta timetables. Next door: `cron` for wall clocks.
All arithmetic is in UTC, so a day is 24 hours whatever the clocks do.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dateutil.relativedelta import relativedelta, weekday

from trackside.core.timetables.base import DataInterval, InvalidSchedule, Restriction, RunInfo
from trackside.core.timetables.zones import as_utc

Delta = timedelta | relativedelta
ZERO = timedelta()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PROBES = (datetime(2024, 1, 31, 12, tzinfo=UTC), datetime(2024, 2, 29, 12, tzinfo=UTC))
_RELATIVE = ("years", "months", "days", "leapdays", "hours", "minutes", "seconds", "microseconds")
_ABSOLUTE = ("year", "month", "day", "hour", "minute", "second", "microsecond")


class _DeltaBase:
    """What both delta timetables share."""

    delta: Delta
    timezone = None
    active_runs_limit = None
    can_be_scheduled = True
    periodic = True

    @property
    def summary(self) -> str:
        return str(self.delta)

    @property
    def description(self) -> str:
        # Airflow has no words for spans of time: its API says "".
        return ""

    @property
    def words(self) -> str:
        return f"Every {delta_in_words(self.delta)}"


@dataclass(frozen=True)
class DeltaTrigger(_DeltaBase):
    """A run every `delta`, counted from the start date; its data interval is the `interval` before it."""

    delta: Delta
    interval: Delta = ZERO
    kind = "delta_trigger"

    def __post_init__(self) -> None:
        check_positive(self.delta, "delta")

    def next_run(self, *, last: DataInterval | None, restriction: Restriction, now: datetime) -> RunInfo | None:
        """See `Timetable.next_run`. Without catchup a missed moment is not made up: the next run is due now."""
        earliest = restriction.earliest and as_utc(restriction.earliest)
        if not restriction.catchup:
            moments = [as_utc(now)]
            if last is not None:
                moments.append(as_utc(last.end) + self.delta)
            if earliest is not None:
                moments.append(earliest)
            run_after = max(moments)
        elif last is not None:
            run_after = as_utc(last.end) + self.delta
        else:
            run_after = earliest or as_utc(now)
        if restriction.latest is not None and run_after > restriction.latest:
            return None
        return RunInfo.interval(run_after - self.interval, run_after)

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        return DataInterval(as_utc(run_after) - self.interval, as_utc(run_after))

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **encode_delta("delta", self.delta), **encode_interval(self.interval)}


@dataclass(frozen=True)
class DeltaInterval(_DeltaBase):
    """Back-to-back data intervals of length `delta`; each run starts when its interval has ended."""

    delta: Delta
    kind = "delta_interval"

    def __post_init__(self) -> None:
        check_positive(self.delta, "delta")

    def next_run(self, *, last: DataInterval | None, restriction: Restriction, now: datetime) -> RunInfo | None:
        """See `Timetable.next_run`."""
        earliest = restriction.earliest and as_utc(restriction.earliest)
        if not restriction.catchup:
            earliest = self._skip_to_latest(earliest, as_utc(now))
        if last is None:
            if earliest is None:
                return None
            start = earliest
        else:
            start = as_utc(last.end) if earliest is None else max(as_utc(last.end), earliest)
        if restriction.latest is not None and start > restriction.latest:
            return None
        return RunInfo.interval(start, start + self.delta)

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        return DataInterval(as_utc(run_after) - self.delta, as_utc(run_after))

    def _skip_to_latest(self, earliest: datetime | None, now: datetime) -> datetime:
        """Start of the last complete interval, never before `earliest`.

        Spans of fixed length lie on a grid that starts in 1970, as in Airflow. Months and years have no fixed length:
        their grid starts at the start date (at most a few hundred steps for any real date).
        """
        if earliest is not None and _is_calendar(self.delta):
            start, end = earliest, earliest + self.delta
            while (following := end + self.delta) <= now:
                start, end = end, following
            return start
        length = _length(self.delta)
        start = now - (now - _EPOCH) % length - self.delta
        return start if earliest is None else max(start, earliest)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **encode_delta("delta", self.delta)}


def _is_calendar(delta: Delta) -> bool:
    return isinstance(delta, relativedelta) and bool(delta.years or delta.months)


def _length(delta: Delta) -> timedelta:
    """Length of a span; a month counts 30 days and a year 365, as in Airflow."""
    if isinstance(delta, timedelta):
        return delta
    days = delta.years * 365 + delta.months * 30 + delta.days
    length = timedelta(days=days, hours=delta.hours, minutes=delta.minutes, seconds=delta.seconds)
    return length or timedelta(microseconds=delta.microseconds) or timedelta(days=1)


def check_positive(delta: Delta, name: str) -> None:
    """Raise InvalidSchedule unless `delta` is a span of time that moves forward from any moment."""
    if not isinstance(delta, (timedelta, relativedelta)):
        raise InvalidSchedule(f"{name}: expected a timedelta or relativedelta, not {delta!r}")
    try:
        forward = all(probe + delta > probe for probe in _PROBES)
    except (ValueError, OverflowError) as exc:
        raise InvalidSchedule(f"{name}: {delta!r} is out of range: {exc}") from None
    if not forward:
        raise InvalidSchedule(f"{name}: a schedule must move forward in time, {delta!r} does not")


def encode_delta(name: str, delta: Delta) -> dict[str, Any]:
    """`{name}_s` with seconds for a timedelta, `{name}_rel` with the non-zero parts for a relativedelta."""
    if isinstance(delta, timedelta):
        seconds = delta.total_seconds()
        return {f"{name}_s": int(seconds) if seconds == int(seconds) else seconds}
    parts: dict[str, Any] = {k: v for k in _RELATIVE if (v := getattr(delta, k))}
    parts |= {k: v for k in _ABSOLUTE if (v := getattr(delta, k)) is not None}
    if delta.weekday is not None:
        parts["weekday"] = [delta.weekday.weekday, delta.weekday.n]
    return {f"{name}_rel": parts}


def encode_interval(interval: Delta) -> dict[str, Any]:
    return {} if interval == ZERO else encode_delta("interval", interval)


def decode_delta(data: dict[str, Any], name: str, default: Delta | None = None) -> Delta:
    """Read `{name}_s` or `{name}_rel`. Raises InvalidSchedule when neither is there or the parts are wrong."""
    if (parts := data.get(f"{name}_rel")) is not None:
        try:
            values = dict(parts)
            if "weekday" in values:
                day, n = values["weekday"]
                values["weekday"] = weekday(day, n)
            return relativedelta(**values)
        except (TypeError, ValueError) as exc:
            raise InvalidSchedule(f"{name}_rel: {parts!r} is not a relativedelta: {exc}") from None
    if (seconds := data.get(f"{name}_s")) is not None:
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise InvalidSchedule(f"{name}_s: expected seconds, not {seconds!r}")
        try:
            return timedelta(seconds=seconds)
        except (OverflowError, ValueError) as exc:
            raise InvalidSchedule(f"{name}_s: {seconds!r} is out of range: {exc}") from None
    if default is None:
        raise InvalidSchedule(f"{name}: neither {name}_s nor {name}_rel is given")
    return default


def delta_in_words(delta: Delta) -> str:
    """`hour`, `90 minutes`, `month`, `1 day and 12 hours`: what follows "every"."""
    parts: list[tuple[int, str]] = []
    if isinstance(delta, relativedelta):
        parts += [(delta.years, "year"), (delta.months, "month")]
        rest = timedelta(days=delta.days, hours=delta.hours, minutes=delta.minutes, seconds=delta.seconds)
    else:
        rest = delta
    minutes, seconds = divmod(int(rest.total_seconds()), 60)
    if not seconds and minutes and minutes % 60 and minutes < 24 * 60:
        parts.append((minutes, "minute"))
    else:
        parts += [(minutes // 1440, "day"), (minutes // 60 % 24, "hour"), (minutes % 60, "minute"), (seconds, "second")]
    shown = [(n, unit) for n, unit in parts if n]
    if not shown:
        return str(delta)
    if len(shown) == 1 and shown[0][0] == 1:
        return shown[0][1]
    texts = [f"{n} {unit}{'' if n == 1 else 's'}" for n, unit in shown]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
