"""The shapes every timetable shares: what it is asked, what it answers, and what a bad schedule raises.

For the scheduler (which asks), the DAG processor (which stores `to_dict()`), and everybody who shows a schedule.
Next door: `cron`, `delta` and `simple` hold the kinds; `build` makes them from plain values and stored dicts.

A timetable is a pure value. The clock comes in as `now`, the last automated run as `last`; the same question always
has the same answer. All moments that go in or out are aware; answers are in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, runtime_checkable


class InvalidSchedule(ValueError):
    """The schedule cannot be used; the message names the field and what is wrong with it."""


class PlannedElsewhere(RuntimeError):
    """This timetable is user code: it must be asked in a process that may run user code, not here."""


@dataclass(frozen=True, slots=True)
class DataInterval:
    """The span of time a run is about; `start == end` when it is about one moment."""

    start: datetime
    end: datetime

    @classmethod
    def exact(cls, at: datetime) -> DataInterval:
        return cls(at, at)


@dataclass(frozen=True, slots=True)
class Restriction:
    """The bounds a DAG sets: start date and end date (both inclusive, either may be None), and catchup."""

    earliest: datetime | None
    latest: datetime | None
    catchup: bool


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One planned run: it may start at `run_after`, and is known by `logical_date`."""

    logical_date: datetime | None
    data_interval: DataInterval | None
    run_after: datetime

    @classmethod
    def exact(cls, at: datetime) -> RunInfo:
        return cls(at, DataInterval.exact(at), at)

    @classmethod
    def interval(cls, start: datetime, end: datetime) -> RunInfo:
        """A run about `start`..`end`: its logical date is the start, and it may start at the end."""
        return cls(start, DataInterval(start, end), end)


@runtime_checkable
class Timetable(Protocol):
    """When a DAG runs."""

    kind: str
    """The `kind` of the stored form."""

    @property
    def summary(self) -> str | None:
        """Airflow's `timetable_summary`: the cron expression, `str(timedelta)`, `Asset` …; None without a schedule."""

    @property
    def description(self) -> str:
        """Airflow's `timetable_description`, word for word for the usual schedules (`At 03:30`)."""

    @property
    def words(self) -> str:
        """The schedule for people, with its zone: `Every day at 06:00 (Europe/Paris)`."""

    @property
    def timezone(self) -> str | None:
        """Name of the zone the schedule is read in; None for schedules that have no wall clock."""

    @property
    def active_runs_limit(self) -> int | None:
        """Most runs this schedule allows at the same time; None: the DAG decides."""

    @property
    def can_be_scheduled(self) -> bool:
        """False when runs never come by themselves (`schedule=None`)."""

    @property
    def periodic(self) -> bool:
        """Whether runs keep coming by the clock."""

    def next_run(self, *, last: DataInterval | None, restriction: Restriction, now: datetime) -> RunInfo | None:
        """The run to create after `last`, the data interval of the latest automated run (None: there was none).

        None means nothing is planned as things are; asked again later the answer may differ.
        """

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        """The interval of a run a person starts at `run_after` (rule 2.008)."""

    def to_dict(self) -> dict[str, Any]:
        """The stored form; `from_dict` gives an equal timetable back."""
