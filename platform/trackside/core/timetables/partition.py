"""Timetables whose runs are about a partition key instead of a logical date: represented, not yet planned.

For `CronPartitionTimetable`, `PartitionedAssetTimetable` and `PartitionedAtRuntime`. Such DAGs are stored, shown and
started by hand; runs by the clock need a key for each run and come with the planning of partitions. Next door: `cron`
reads the expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trackside.core.timetables.cron import CronTrigger
from trackside.core.timetables.simple import Asset, _Simple


@dataclass(frozen=True)
class CronPartition(_Simple):
    """Ticks of a cron expression; each tick has a key. `run_offset` shifts the key by ticks."""

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

    def to_dict(self) -> dict[str, Any]:
        return {**self.cron.to_dict(), "kind": self.kind, "run_offset": self.run_offset, "key_format": self.key_format}


@dataclass(frozen=True)
class PartitionedAtRuntime(_Simple):
    """Never by the clock; the tasks say which partitions they made."""

    kind = "partitioned_at_runtime"
    can_be_scheduled = False
    summary = None
    description = "Partitioned at runtime"


@dataclass(frozen=True)
class PartitionedAsset(Asset):
    """Runs come from asset events, one per partition key. Condition and mappers are stored with the DAG, not here."""

    kind = "partitioned_asset"
