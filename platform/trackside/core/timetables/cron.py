"""Timetables that follow a cron expression in a time zone.

For `schedule="0 6 * * *"` and the three cron timetables. Next door: `cronexpr` finds wall-clock times, `zones` turns
them into moments, `delta` holds the timetables without a wall clock.

Clock changes, as in Airflow: a schedule that runs in every hour follows elapsed time (no hour is skipped or doubled);
any other follows the wall clock: a skipped time happens right after the gap, a repeated one at its second turn.
One deviation: from one day to a later one the wall clock always counts. Airflow counts elapsed time there too, and then
`0 * * * 1-5` starts its first week after a change on Sunday at 23:00 or on Monday at 01:00.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from functools import cached_property
from typing import Any

from trackside.core.timetables import words
from trackside.core.timetables.base import DataInterval, InvalidSchedule, Restriction, RunInfo
from trackside.core.timetables.cronexpr import CronExpression, parse_cron
from trackside.core.timetables.delta import ZERO, Delta, encode_interval
from trackside.core.timetables.zones import as_utc, to_utc, to_wall, zone

RunImmediately = bool | timedelta | None

_HOUR = timedelta(hours=1)
_LEAST_GRACE = timedelta(minutes=5)


class Ticks:
    """The moments of a cron expression in a zone. Every method takes and gives moments in UTC; None is "never"."""

    def __init__(self, cron: str, timezone: str) -> None:
        self.expression: CronExpression = parse_cron(cron)
        self.zone: tzinfo = zone(timezone)

    def after(self, moment: datetime) -> datetime | None:
        """The first tick after `moment`."""
        wall = to_wall(moment, self.zone)
        found = self.expression.next_after(wall)
        if found is None:
            return None
        step = found - wall
        return moment + step if self.expression.every_hour and step <= _HOUR else to_utc(found, self.zone)

    def before(self, moment: datetime) -> datetime | None:
        """The last tick before `moment`. Within an hour of a clock change it may lie just after it: see `zones`."""
        wall = to_wall(moment, self.zone)
        found = self.expression.prev_before(wall)
        if found is None:
            return None
        step = wall - found
        return moment - step if self.expression.every_hour and step <= _HOUR else to_utc(found, self.zone)

    def at_or_after(self, moment: datetime) -> datetime | None:
        """`moment` itself when it is a tick, else the next one."""
        following = self.after(moment)
        back = self.before(following) if following is not None else self.before(moment + timedelta(seconds=1))
        return moment if back == moment else following

    def at_or_before(self, moment: datetime) -> datetime | None:
        """`moment` itself when it is a tick, else the one before."""
        previous = self.before(moment)
        ahead = self.after(previous) if previous is not None else self.after(moment - timedelta(seconds=1))
        return moment if ahead == moment else previous


class _CronBase:
    """What the timetables with one cron expression share."""

    cron: str
    timezone: str
    active_runs_limit = None
    can_be_scheduled = True
    periodic = True

    @cached_property
    def ticks(self) -> Ticks:
        return Ticks(self.cron, self.timezone)

    @property
    def summary(self) -> str:
        return self.ticks.expression.text

    @property
    def description(self) -> str:
        return words.airflow_description(self.ticks.expression)

    @property
    def words(self) -> str:
        return f"{words.cron_in_words(self.ticks.expression)} ({self.timezone})"


@dataclass(frozen=True)
class CronTrigger(_CronBase):
    """A run at each tick; its data interval is the `interval` before it (by default the tick itself).

    `run_immediately` only matters for the first run of a DAG without a start date. True takes the tick before now,
    False waits for the next one, a timedelta takes the one before if it is no longer ago than that, and None if it is
    no longer ago than a tenth of a period or 5 minutes, whichever is more.
    """

    cron: str
    timezone: str = "UTC"
    interval: Delta = ZERO
    run_immediately: RunImmediately = False
    kind = "cron_trigger"

    def __post_init__(self) -> None:
        _ = self.ticks  # read the expression and the zone now, so that mistakes show at once

    def next_run(self, *, last: DataInterval | None, restriction: Restriction, now: datetime) -> RunInfo | None:
        """See `Timetable.next_run`. Without catchup the latest missed tick is made up, the ones before are not."""
        earliest = restriction.earliest and as_utc(restriction.earliest)
        now = as_utc(now)
        if last is not None:
            run_after = self.ticks.after(as_utc(last.end))
        elif earliest is not None:
            run_after = self.ticks.at_or_after(earliest)
        else:
            run_after = self._first_without_start(now)
        if run_after is None:
            return None
        if not restriction.catchup:
            run_after = max(run_after, self.ticks.at_or_before(now) or run_after)
            if earliest is not None:
                run_after = max(run_after, self.ticks.at_or_after(earliest) or run_after)
        if restriction.latest is not None and run_after > restriction.latest:
            return None
        return RunInfo.interval(run_after - self.interval, run_after)

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        return DataInterval(as_utc(run_after) - self.interval, as_utc(run_after))

    def _first_without_start(self, now: datetime) -> datetime | None:
        past, following = self.ticks.at_or_before(now), self.ticks.at_or_after(now)
        if past is None or self.run_immediately is True:
            return past or following
        if following is None:
            return None
        if self.run_immediately is False:
            return following
        grace = max((following - past) / 10, _LEAST_GRACE) if self.run_immediately is None else self.run_immediately
        return past if now - past <= grace else following

    def to_dict(self) -> dict[str, Any]:
        head = {"kind": self.kind, "cron": self.cron, "timezone": self.timezone}
        return {**head, **encode_interval(self.interval), **_encode_run_immediately(self.run_immediately)}


@dataclass(frozen=True)
class MultiCron:
    """A run whenever one of several cron expressions ticks; one run when several tick at once."""

    crons: tuple[str, ...]
    timezone: str = "UTC"
    interval: Delta = ZERO
    run_immediately: RunImmediately = False
    kind = "multi_cron"
    active_runs_limit = None
    can_be_scheduled = True
    periodic = True

    def __post_init__(self) -> None:
        if not self.crons:
            raise InvalidSchedule("crons: at least one cron expression is needed")
        _ = self.parts  # as in CronTrigger

    @cached_property
    def parts(self) -> tuple[CronTrigger, ...]:
        return tuple(CronTrigger(c, self.timezone, self.interval, self.run_immediately) for c in self.crons)

    @property
    def summary(self) -> str:
        return ", ".join(part.summary for part in self.parts)

    @property
    def description(self) -> str:
        return ", ".join(part.description for part in self.parts)

    @property
    def words(self) -> str:
        texts = [words.cron_in_words(part.ticks.expression) for part in self.parts]
        return f"{'; '.join([texts[0], *map(words.uncapitalised, texts[1:])])} ({self.timezone})"

    def next_run(self, *, last: DataInterval | None, restriction: Restriction, now: datetime) -> RunInfo | None:
        """See `Timetable.next_run`. Without catchup the latest past tick of all wins, else the earliest one to come."""
        runs = [part.next_run(last=last, restriction=restriction, now=now) for part in self.parts]
        planned = [run for run in runs if run is not None]
        if not planned:
            return None
        past = [run for run in planned if _date(run) <= now] if not restriction.catchup else []
        return max(past, key=_date) if past else min(planned, key=_date)

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        return self.parts[0].infer_manual_data_interval(run_after)

    def to_dict(self) -> dict[str, Any]:
        head = {"kind": self.kind, "crons": list(self.crons), "timezone": self.timezone}
        return {**head, **encode_interval(self.interval), **_encode_run_immediately(self.run_immediately)}


def _date(run: RunInfo) -> datetime:
    assert run.logical_date is not None
    return run.logical_date


@dataclass(frozen=True)
class CronInterval(_CronBase):
    """Data intervals from tick to tick; each run starts when its interval has ended."""

    cron: str
    timezone: str = "UTC"
    kind = "cron_interval"

    def __post_init__(self) -> None:
        _ = self.ticks  # as in CronTrigger

    def next_run(self, *, last: DataInterval | None, restriction: Restriction, now: datetime) -> RunInfo | None:
        """See `Timetable.next_run`. Without catchup the last complete interval is the first one made up."""
        earliest = restriction.earliest and self.ticks.at_or_after(as_utc(restriction.earliest))
        if restriction.earliest is not None and earliest is None:
            return None
        if not restriction.catchup:
            latest = self._last_complete(as_utc(now))
            earliest = max((m for m in (earliest, latest) if m is not None), default=None)
        resumed = None if last is None else self._resume(last)
        start = max((m for m in (earliest, resumed) if m is not None), default=None)
        if start is None or (restriction.latest is not None and start > restriction.latest):
            return None
        end = self.ticks.after(start)
        return None if end is None else RunInfo.interval(start, end)

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        """The last complete interval before `run_after`; `run_after` itself before the very first tick."""
        run_after = as_utc(run_after)
        end = self.ticks.at_or_before(run_after) or run_after
        return DataInterval(self.ticks.before(end) or end, end)

    def _resume(self, last: DataInterval) -> datetime | None:
        """Where the interval after `last` starts.

        That is its end; or the tick before its end, if the schedule was changed meanwhile and no tick lies there.
        An interval of this very schedule is never repeated, even where clocks that go back half an hour hide the tick.
        """
        end = as_utc(last.end)
        start = self.ticks.at_or_before(end)
        if start is not None and start < end and self.ticks.after(as_utc(last.start)) == end:
            return end
        return start

    def _last_complete(self, now: datetime) -> datetime | None:
        """Start of the last interval that has ended; one that ends right now counts as ended."""
        start = self.ticks.before(now)
        if start is None or self.ticks.after(start) == now:
            return start
        return self.ticks.before(start) or start

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "cron": self.cron, "timezone": self.timezone}


def _encode_run_immediately(value: RunImmediately) -> dict[str, Any]:
    if value is False:
        return {}
    return {"run_immediately": value.total_seconds() if isinstance(value, timedelta) else value}
