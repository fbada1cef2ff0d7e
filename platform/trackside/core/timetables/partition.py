"""Timetables whose runs are about a partition key instead of a logical date.

For `CronPartitionTimetable`, `PartitionedAssetTimetable` and `PartitionedAtRuntime`. Next door: `cron` reads the expression;
`core.partitions` knows which keys of upstream assets a consumer's run waits for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trackside.core.timetables.base import DataInterval, Restriction, RunInfo
from trackside.core.timetables.cron import CronTrigger
from trackside.core.timetables.simple import Asset, _Simple
from trackside.core.timetables.zones import as_utc, to_utc, zone


@dataclass(frozen=True)
class CronPartition(_Simple):
    """A run at each tick of a cron expression; its partition is the tick `run_offset` ticks later (negative: earlier), and its
    key that moment in the zone of the schedule."""

    cron: CronTrigger
    run_offset: int = 0
    key_format: str = "%Y-%m-%dT%H:%M:%S"
    kind = "cron_partition"

    @property
    def summary(self) -> str | None:
        return self.cron.summary

    @property
    def description(self) -> str:  # type: ignore[override]  # depends on the expression
        return self.cron.description

    @property
    def words(self) -> str:
        return f"{self.cron.words}, one partition each"

    @property
    def timezone(self) -> str | None:  # type: ignore[override]  # the expression's
        return self.cron.timezone

    @property
    def periodic(self) -> bool:  # type: ignore[override]  # as the expression
        return True

    def next_run(self, *, last: DataInterval | None, restriction: Restriction, now: datetime) -> RunInfo | None:
        """See `Timetable.next_run`: `last` ends at the moment the latest automated run was due."""
        run = self.cron.next_run(last=last, restriction=restriction, now=now)
        return None if run is None else RunInfo(None, None, run.run_after)

    def partition(self, run_after: datetime) -> tuple[datetime, str]:
        """Date and key of the run that is due at `run_after`. Raises ValueError where the expression has no further tick."""
        date: datetime | None = as_utc(run_after)
        for _ in range(abs(self.run_offset)):
            assert date is not None
            date = self.cron.ticks.after(date) if self.run_offset > 0 else self.cron.ticks.before(date)
            if date is None:
                raise ValueError(f"{self.cron.cron!r} has no tick {self.run_offset} ticks from {run_after.isoformat()}")
        assert date is not None
        return date, self.key_of(date)

    def dates_between(self, first: datetime, last: datetime) -> Iterator[datetime]:
        """The partition dates between two moments, both included. Only their wall clocks count, read in the zone of the schedule:
        midnight in UTC means midnight there (row 2.090)."""
        own = zone(self.cron.timezone)
        first, last = to_utc(first.replace(tzinfo=None), own), to_utc(last.replace(tzinfo=None), own)
        date = self.cron.ticks.at_or_after(first)
        while date is not None and date <= last:
            yield date
            date = self.cron.ticks.after(date)

    def key_of(self, date: datetime) -> str:
        """The key of a partition date."""
        return date.astimezone(zone(self.cron.timezone)).strftime(self.key_format)

    def date_of(self, key: str) -> datetime:
        """The partition date of a key. Raises ValueError for a key of another format."""
        wall = datetime.strptime(key, self.key_format)  # noqa: DTZ007 — the zone is the schedule's
        return wall if wall.tzinfo is not None else to_utc(wall, zone(self.cron.timezone))

    def to_dict(self) -> dict[str, Any]:
        return {**self.cron.to_dict(), "kind": self.kind, "run_offset": self.run_offset, "key_format": self.key_format}


@dataclass(frozen=True)
class PartitionedAtRuntime(_Simple):
    """Never by the clock; the tasks say which partitions they made."""

    kind = "partitioned_at_runtime"
    can_be_scheduled = False
    summary = "PartitionedAtRuntime"
    description = "Never, partition key(s) set at runtime"


@dataclass(frozen=True)
class PartitionedAsset(Asset):
    """Runs come from asset events, one per partition key. Condition and mappers are stored with the DAG, not here."""

    kind = "partitioned_asset"
    summary = "Partitioned Asset"
