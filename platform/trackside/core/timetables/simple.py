"""Timetables without a rhythm: never, once, without a pause, at listed moments, by assets, and user code.

For `schedule=None`, `"@once"`, `"@continuous"`, `EventsTimetable`, assets, `AssetOrTimeSchedule` and custom classes.
Next door: `cron` and `delta` hold the periodic ones.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trackside.core.timetables.base import DataInterval, PlannedElsewhere, Restriction, RunInfo, Timetable
from trackside.core.timetables.words import uncapitalised
from trackside.core.timetables.zones import as_utc


class _Simple:
    """Defaults of the timetables here; a manual run is about the moment it is started for."""

    kind: str
    timezone: str | None = None
    active_runs_limit: int | None = None
    can_be_scheduled = True
    periodic = False
    description = ""

    @property
    def words(self) -> str:
        return self.description.rstrip(".")

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        return DataInterval.exact(as_utc(run_after))

    def next_run(self, *, last: DataInterval | None, restriction: Restriction, now: datetime) -> RunInfo | None:
        """Never by the clock."""
        return None

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind}


@dataclass(frozen=True)
class Null(_Simple):
    """No schedule: runs come from people and programs only."""

    kind = "null"
    can_be_scheduled = False
    summary = None
    description = "Never, external triggers only"


@dataclass(frozen=True)
class Asset(_Simple):
    """Runs come from asset events. The condition itself is stored with the DAG, not here."""

    kind = "asset"
    summary = "Asset"
    description = "Triggered by assets"


@dataclass(frozen=True)
class Once(_Simple):
    """One run, at the start date or as soon as possible."""

    kind = "once"
    summary = "@once"
    description = "Once, as soon as possible"

    def next_run(self, *, last: DataInterval | None, restriction: Restriction, now: datetime) -> RunInfo | None:
        if last is not None:
            return None
        run_after = as_utc(restriction.earliest or now)
        if restriction.latest is not None and run_after > restriction.latest:
            return None
        return RunInfo.exact(run_after)


@dataclass(frozen=True)
class Continuous(_Simple):
    """The next run starts when the one before has ended; its interval is the time since that one's interval."""

    kind = "continuous"
    active_runs_limit = 1
    summary = "@continuous"
    description = "As frequently as possible, but only one run at a time."

    def next_run(self, *, last: DataInterval | None, restriction: Restriction, now: datetime) -> RunInfo | None:
        now = as_utc(now)
        start_date = as_utc(restriction.earliest or now)
        if last is None:
            start, end = start_date, max(start_date, now)
        elif last.end > now:  # the start date lies ahead: keep the length, wait for it
            start, end = start_date, start_date + (last.end - last.start)
        else:
            start, end = as_utc(last.end), now
        if restriction.latest is not None and end > restriction.latest:
            return None
        return RunInfo.interval(start, end)


@dataclass(frozen=True)
class Events(_Simple):
    """Runs at listed moments. `restrict_to_events`: manual runs are about the latest listed moment, too."""

    dates: tuple[datetime, ...]
    restrict_to_events: bool = False
    label: str | None = None
    """The author's description, shown instead of "3 events between … and …"."""
    kind = "events"
    periodic = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "dates", tuple(sorted({as_utc(date) for date in self.dates})))

    @property
    def summary(self) -> str:
        return self.label if self.label is not None else f"{len(self.dates)} events"

    @property
    def description(self) -> str:  # type: ignore[override]  # depends on the dates here
        if self.label is not None:
            return self.label
        if not self.dates:
            return "No events"
        first, final = self.dates[0].isoformat(), self.dates[-1].isoformat()
        return f"{len(self.dates)} events between {first} and {final}"

    def next_run(self, *, last: DataInterval | None, restriction: Restriction, now: datetime) -> RunInfo | None:
        """See `Timetable.next_run`. Without catchup, moments before now are gone."""
        earliest = restriction.earliest and as_utc(restriction.earliest)
        if not restriction.catchup:
            earliest = as_utc(now) if earliest is None else max(earliest, as_utc(now))
        index = bisect_left(self.dates, earliest) if earliest is not None else 0
        if last is not None:
            index = max(index, bisect_right(self.dates, as_utc(last.end)))
        if index >= len(self.dates):
            return None
        if restriction.latest is not None and self.dates[index] > restriction.latest:
            return None
        return RunInfo.exact(self.dates[index])

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        if not self.restrict_to_events or not self.dates:
            return DataInterval.exact(as_utc(run_after))
        return DataInterval.exact(self.dates[max(bisect_right(self.dates, as_utc(run_after)) - 1, 0)])

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {"kind": self.kind, "dates": [date.isoformat() for date in self.dates]}
        if self.restrict_to_events:
            data["restrict_to_events"] = True
        if self.label is not None:
            data["description"] = self.label
        return data


@dataclass(frozen=True)
class AssetOrTime(_Simple):
    """Runs come by the clock of `timetable` and from asset events."""

    timetable: Timetable
    kind = "asset_or_time"

    @property
    def summary(self) -> str:
        return f"Asset or {self.timetable.summary}"

    @property
    def description(self) -> str:  # type: ignore[override]  # depends on the inner timetable
        return f"Triggered by assets or {self.timetable.description}"

    @property
    def words(self) -> str:
        return f"When assets change, or {uncapitalised(self.timetable.words)}"

    @property
    def timezone(self) -> str | None:  # type: ignore[override]  # the inner timetable's
        return self.timetable.timezone

    @property
    def active_runs_limit(self) -> int | None:  # type: ignore[override]  # the inner timetable's
        return self.timetable.active_runs_limit

    @property
    def can_be_scheduled(self) -> bool:  # type: ignore[override]  # the inner timetable's
        return self.timetable.can_be_scheduled

    @property
    def periodic(self) -> bool:  # type: ignore[override]  # the inner timetable's
        return self.timetable.periodic

    def next_run(self, *, last: DataInterval | None, restriction: Restriction, now: datetime) -> RunInfo | None:
        return self.timetable.next_run(last=last, restriction=restriction, now=now)

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        return self.timetable.infer_manual_data_interval(run_after)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "timetable": self.timetable.to_dict()}


@dataclass(frozen=True)
class Custom(_Simple):
    """A timetable class of the user's. It is asked where user code may run; here is only what was stored about it.

    `about` holds what the parser read from the object: summary, description, periodic, can_be_scheduled,
    active_runs_limit, timezone, names_runs. All optional.
    """

    classpath: str
    data: Any = None
    about: dict[str, Any] = field(default_factory=dict)
    kind = "custom"

    @property
    def summary(self) -> str:
        return str(self.about.get("summary") or self.classpath.rpartition(".")[2])

    @property
    def description(self) -> str:  # type: ignore[override]  # what the user's object said
        return str(self.about.get("description") or "")

    @property
    def words(self) -> str:
        return self.description or f"By {self.classpath}"

    @property
    def timezone(self) -> str | None:  # type: ignore[override]  # what the user's object said
        return self.about.get("timezone")

    @property
    def active_runs_limit(self) -> int | None:  # type: ignore[override]  # what the user's object said
        return self.about.get("active_runs_limit")

    @property
    def can_be_scheduled(self) -> bool:  # type: ignore[override]  # what the user's object said
        return bool(self.about.get("can_be_scheduled", True))

    @property
    def periodic(self) -> bool:  # type: ignore[override]  # what the user's object said
        return bool(self.about.get("periodic", True))

    def next_run(self, *, last: DataInterval | None, restriction: Restriction, now: datetime) -> RunInfo | None:
        """Raises PlannedElsewhere: the caller hands the question to a process that may import `classpath`."""
        raise PlannedElsewhere(f"{self.classpath} is user code and cannot be asked here")

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        """Raises PlannedElsewhere, as `next_run`."""
        raise PlannedElsewhere(f"{self.classpath} is user code and cannot be asked here")

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "classpath": self.classpath, "data": self.data, **self.about}
