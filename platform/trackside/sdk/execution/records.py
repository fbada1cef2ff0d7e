"""The run and the moments around it, as task code sees them.

For `context.py` and `ti.py`, which build these from the wire's records.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pendulum

from trackside.core.messages import RunRecord


class DagRunType(str, enum.Enum):  # noqa: UP042 — templates print it as DagRunType.MANUAL, as Airflow does
    """Why a run exists."""

    BACKFILL_JOB = "backfill"
    SCHEDULED = "scheduled"
    MANUAL = "manual"
    OPERATOR_TRIGGERED = "operator_triggered"
    ASSET_TRIGGERED = "asset_triggered"
    ASSET_MATERIALIZATION = "asset_materialization"

    def generate_run_id(self, *, suffix: str) -> str:
        """A run id of this type."""
        return f"{self.value}__{suffix}"


def moment(value: str | datetime | None) -> pendulum.DateTime | None:
    """A moment off the wire as an aware pendulum DateTime in UTC."""
    if value is None:
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    # as pendulum.instance(value).in_timezone("UTC"), which takes ten times as long: every try needs a handful
    at = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    clock = (at.hour, at.minute, at.second, at.microsecond)
    return pendulum.DateTime(at.year, at.month, at.day, *clock, tzinfo=pendulum.UTC)


def to_wire(value: datetime | None) -> str | None:
    """A moment for the wire: ISO 8601 in UTC."""
    return None if value is None else pendulum.instance(value).in_timezone("UTC").isoformat()


def run_type(value: str) -> DagRunType | str:
    """The enum's member, or the text itself if a newer server names one we do not know."""
    try:
        return DagRunType(value)
    except ValueError:
        return value


@dataclass(slots=True)
class DagRun:
    """A run. Moments are pendulum DateTimes in UTC or None."""

    dag_id: str
    run_id: str
    run_type: DagRunType | str = DagRunType.MANUAL
    state: str = "running"
    logical_date: pendulum.DateTime | None = None
    data_interval_start: pendulum.DateTime | None = None
    data_interval_end: pendulum.DateTime | None = None
    run_after: pendulum.DateTime | None = None
    queued_at: pendulum.DateTime | None = None
    start_date: pendulum.DateTime | None = None
    end_date: pendulum.DateTime | None = None
    clear_number: int = 0
    conf: dict[str, Any] = field(default_factory=dict)
    note: str | None = None
    triggered_by: str | None = None
    triggering_user_name: str | None = None
    partition_key: str | None = None
    partition_date: pendulum.DateTime | None = None
    consumed_asset_events: list[dict[str, Any]] = field(default_factory=list)
    team_name: str | None = None

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> DagRun:
        """Build from a RunRecord's dict."""
        record = RunRecord.from_dict(data)
        values = {name: getattr(record, name) for name in _PLAIN}
        values.update({name: moment(getattr(record, name)) for name in _MOMENTS})
        run = cls(run_type=run_type(record.run_type), **values)
        run.conf = dict(record.conf or {})
        run.partition_date = moment(data.get("partition_date"))
        return run

    @property
    def is_backfill(self) -> bool:
        """Whether a backfill made this run."""
        return self.run_type == DagRunType.BACKFILL_JOB

    @property
    def external_trigger(self) -> bool:
        """Whether it was not made by the DAG's schedule."""
        return self.run_type not in (DagRunType.SCHEDULED, DagRunType.BACKFILL_JOB)

    def get_state(self) -> str:
        """The run's state."""
        return self.state


_MOMENTS = (
    *("logical_date", "data_interval_start", "data_interval_end", "run_after", "queued_at"),
    *("start_date", "end_date"),
)
_PLAIN = (
    *("dag_id", "run_id", "state", "clear_number", "note", "triggered_by", "triggering_user_name"),
    *("partition_key", "consumed_asset_events", "team_name"),
)


@dataclass(slots=True)
class DagFacts:
    """What the server tells about a DAG: the fields of Airflow's answer to `ti.get_dag`."""

    dag_id: str
    is_paused: bool = False
    bundle_name: str | None = None
    bundle_version: str | None = None
    relative_fileloc: str | None = None
    owners: str | None = None
    tags: list[str] = field(default_factory=list)
    next_dagrun: pendulum.DateTime | None = None

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> DagFacts:
        """From the server's answer; what a newer server adds is left out."""
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        return cls(**{**known, "next_dagrun": moment(data.get("next_dagrun"))})


@dataclass(frozen=True, slots=True)
class TaskInstanceKey:
    """What names one try of a task instance."""

    dag_id: str
    task_id: str
    run_id: str
    try_number: int = 1
    map_index: int = -1

    @property
    def primary(self) -> tuple[str, str, str, int]:
        """The task instance, whatever the try."""
        return self.dag_id, self.task_id, self.run_id, self.map_index

    @property
    def reduced(self) -> TaskInstanceKey:
        """The key of the try before."""
        return TaskInstanceKey(self.dag_id, self.task_id, self.run_id, max(1, self.try_number - 1), self.map_index)

    def with_try_number(self, try_number: int) -> TaskInstanceKey:
        """The key of another try."""
        return TaskInstanceKey(self.dag_id, self.task_id, self.run_id, try_number, self.map_index)

    @property
    def key(self) -> TaskInstanceKey:
        """Itself, so that keys and task instances can be used alike."""
        return self


@dataclass(slots=True)
class PreviousTaskInstance:
    """The same task in an earlier run, as far as it is known."""

    task_id: str
    dag_id: str
    run_id: str
    logical_date: pendulum.DateTime | None = None
    start_date: pendulum.DateTime | None = None
    end_date: pendulum.DateTime | None = None
    state: str | None = None
    try_number: int = 0
    map_index: int = -1
    duration: float | None = None
