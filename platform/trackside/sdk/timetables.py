"""Schedules as DAG authors write them: the timetable classes of `airflow.sdk`, and a base class for own ones.

For `DAG(schedule=…)`. Each knows its stored form (`to_spec`), from which `core.timetables` plans the runs; nothing is
planned here. Next door: `assets.py` for schedules that wait for assets.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from trackside.core.timetables import InvalidSchedule, from_dict, from_schedule
from trackside.core.timetables.base import DataInterval as CoreInterval
from trackside.core.timetables.base import Restriction
from trackside.core.timetables.zones import zone_name
from trackside.sdk.jsonable import jsonable, plain_module

if TYPE_CHECKING:
    from trackside.core.timetables import Timetable as CoreTimetable
    from trackside.sdk.assets import BaseAsset


# What own timetables are asked with and answer with (airflow.timetables.base); moments are pendulum's, in UTC


class DataInterval(NamedTuple):
    """The span of time a run is about."""

    start: dt.datetime
    end: dt.datetime

    @classmethod
    def exact(cls, at: dt.datetime) -> DataInterval:
        """About one moment."""
        return cls(at, at)


class TimeRestriction(NamedTuple):
    """The bounds an own timetable is asked within."""

    earliest: dt.datetime | None
    latest: dt.datetime | None
    catchup: bool


class DagRunInfo(NamedTuple):
    """One planned run, as an own timetable returns it."""

    run_after: dt.datetime
    data_interval: DataInterval | None
    partition_date: dt.datetime | None = None
    partition_key: str | None = None

    @classmethod
    def exact(cls, at: dt.datetime) -> DagRunInfo:
        """A run about one moment."""
        return cls(at, DataInterval.exact(at))

    @classmethod
    def interval(cls, start: dt.datetime, end: dt.datetime) -> DagRunInfo:
        """A run about an interval, started at its end."""
        return cls(end, DataInterval(start, end))

    @property
    def logical_date(self) -> dt.datetime | None:
        """Start of the interval."""
        return self.data_interval.start if self.data_interval else None


class BaseTimetable:
    """What all schedules have. Subclass it for an own timetable (row 1.206): those are asked where user code may run."""

    description: str = ""
    periodic: bool = True
    can_be_scheduled: bool = True
    partitioned: bool = False
    run_ordering: Any = ("data_interval_end", "logical_date")
    active_runs_limit: int | None = None
    asset_condition: Any = None
    run_type: ClassVar[str] = "scheduled"
    """Type of the runs the schedule makes."""

    @property
    def summary(self) -> str:
        """Short text for lists."""
        return type(self).__name__

    def serialize(self) -> dict[str, Any]:
        """Own timetables: JSON from which `deserialize` makes an equal one."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> BaseTimetable:
        """Inverse of `serialize`."""
        return cls(**data)

    def validate(self) -> None:
        """Own timetables: raise for wrong arguments."""

    def next_dagrun_info_v2(self, *, last_dagrun_info: DagRunInfo | None, restriction: TimeRestriction) -> DagRunInfo | None:
        """Own timetables: the run after the last automated one, None if there is none. Here: what `next_dagrun_info` says."""
        last = last_dagrun_info.data_interval if last_dagrun_info else None
        found: DagRunInfo | None = self.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)  # type: ignore[attr-defined]
        return found

    def generate_run_id(self, *, run_type: Any, run_after: dt.datetime, data_interval: DataInterval | None, **extra: Any) -> str:
        """Own timetables: the id of a scheduled run, or of one that is triggered without an id."""
        return str(run_type.generate_run_id(suffix=run_after.isoformat()))

    @property
    def names_runs(self) -> bool:
        """Whether this is an own timetable with run ids of its own."""
        return type(self).generate_run_id is not BaseTimetable.generate_run_id

    def to_spec(self) -> dict[str, Any]:
        """The stored form, see `core.timetables.from_dict`. Raises InvalidSchedule for an own timetable that plans partitions."""
        cls = type(self)
        if self.partitioned:
            raise InvalidSchedule(
                f"schedule: {cls.__name__} has partitioned = True, but partitions of own timetables are not planned. "
                "Subclass CronPartitionTimetable, or let the task name its partitions (partitioned_at_runtime = True)."
            )
        about: dict[str, Any] = {"summary": self.summary, "description": self.description, "periodic": self.periodic}
        about |= {"can_be_scheduled": self.can_be_scheduled, "active_runs_limit": self.active_runs_limit}
        if self.names_runs:
            about["names_runs"] = True
        classpath = plain_module(f"{cls.__module__}.{cls.__qualname__}")
        return {"kind": "custom", "classpath": classpath, "data": jsonable(self.serialize()), **about}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.to_spec() == other.to_spec()  # type: ignore[attr-defined]  # same type

    def __hash__(self) -> int:
        return hash(type(self).__name__)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.to_spec()}>"


Timetable = BaseTimetable


class _Stored(BaseTimetable):
    """A timetable that is nothing but its stored form, checked when written.

    A subclass that plans or names its runs itself is an own timetable; its `super()` answers as the class it comes from.
    """

    _spec: dict[str, Any]
    _core: CoreTimetable

    def _store(self, spec: dict[str, Any]) -> None:
        """Keep and check the stored form. Raises InvalidSchedule naming the wrong argument."""
        self._core = from_dict(spec)
        self._spec = self._core.to_dict()
        self.periodic = self._core.periodic
        self.can_be_scheduled = self._core.can_be_scheduled
        self.active_runs_limit = self._core.active_runs_limit
        self.description = self._core.description

    @property
    def summary(self) -> str:
        return self._core.summary or ""

    def serialize(self) -> dict[str, Any]:
        """What a subclass's plan depends on."""
        return dict(self._spec)

    def to_spec(self) -> dict[str, Any]:
        own = next(cls for cls in type(self).__mro__ if cls.__module__ == __name__)
        if any(getattr(type(self), name) is not getattr(own, name) for name in _ASKED):
            return super().to_spec()
        return dict(self._spec)

    def infer_manual_data_interval(self, *, run_after: dt.datetime) -> DataInterval:
        """The interval a run started by hand at `run_after` is about."""
        found = self._core.infer_manual_data_interval(run_after)
        return DataInterval(_moment(found.start), _moment(found.end))

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The run after the last automated one; None: there is none."""
        last = last_automated_data_interval
        run = self._core.next_run(
            last=CoreInterval(last.start, last.end) if last else None,
            restriction=Restriction(restriction.earliest, restriction.latest, restriction.catchup), now=dt.datetime.now(dt.UTC),
        )  # fmt: skip
        if run is None:
            return None
        data = run.data_interval
        return DagRunInfo(_moment(run.run_after), DataInterval(_moment(data.start), _moment(data.end)) if data else None)


_ASKED = ("next_dagrun_info", "next_dagrun_info_v2", "infer_manual_data_interval", "generate_run_id")
"""What makes a subclass of a stored timetable one of the user's, if it has its own."""


def _moment(at: dt.datetime) -> dt.datetime:
    from trackside.sdk.execution.records import moment

    found = moment(at)
    assert found is not None
    return found


class NullTimetable(_Stored):
    """`schedule=None`: never by itself."""

    run_type = "manual"

    def __init__(self) -> None:
        self._store({"kind": "null"})


class OnceTimetable(_Stored):
    """`schedule="@once"`."""

    def __init__(self) -> None:
        self._store({"kind": "once"})


class ContinuousTimetable(_Stored):
    """`schedule="@continuous"`: the next run starts when the last one has ended."""

    def __init__(self) -> None:
        self._store({"kind": "continuous"})


def _cron_extra(interval: Any, run_immediately: Any) -> dict[str, Any]:
    extra: dict[str, Any] = _delta("interval", interval) if interval else {}
    if isinstance(run_immediately, dt.timedelta):
        extra["run_immediately"] = run_immediately.total_seconds()
    elif run_immediately:
        extra["run_immediately"] = True
    return extra


class CronTriggerTimetable(_Stored):
    """A run at every tick of a cron expression; its interval is the `interval` before the tick (row 1.195)."""

    def __init__(
        self, cron: str, *, timezone: Any, interval: Any = dt.timedelta(), run_immediately: bool | dt.timedelta = False
    ) -> None:
        self._store({"kind": "cron_trigger", "cron": cron, "timezone": zone_name(timezone), **_cron_extra(interval, run_immediately)})


class MultipleCronTriggerTimetable(_Stored):
    """A run at every tick of any of several cron expressions."""

    def __init__(
        self, *crons: str, timezone: Any, interval: Any = dt.timedelta(), run_immediately: bool | dt.timedelta = False
    ) -> None:
        if not crons:
            raise ValueError("cron expression required")
        self._store({"kind": "multi_cron", "crons": list(crons), "timezone": zone_name(timezone), **_cron_extra(interval, run_immediately)})


class CronDataIntervalTimetable(_Stored):
    """A run for every interval between two ticks, started when the interval has ended."""

    def __init__(self, cron: str, timezone: Any) -> None:
        self._store({"kind": "cron_interval", "cron": cron, "timezone": zone_name(timezone)})


class DeltaTriggerTimetable(_Stored):
    """A run every `delta`, from the start date on."""

    def __init__(self, delta: Any, *, interval: Any = dt.timedelta()) -> None:
        self._store({"kind": "delta_trigger", **_delta("delta", delta), **(_delta("interval", interval) if interval else {})})


class DeltaDataIntervalTimetable(_Stored):
    """A run for every interval of length `delta`, started when the interval has ended."""

    def __init__(self, delta: Any) -> None:
        self._store({"kind": "delta_interval", **_delta("delta", delta)})


class EventsTimetable(_Stored):
    """A run at each of the listed moments."""

    def __init__(
        self,
        event_dates: Iterable[dt.datetime],
        restrict_to_events: bool = False,
        presorted: bool = False,
        description: str | None = None,
    ) -> None:
        dates = [date.isoformat() if isinstance(date, dt.datetime) else str(date) for date in event_dates]
        spec: dict[str, Any] = {"kind": "events", "dates": dates, "restrict_to_events": restrict_to_events}
        self._store(spec if description is None else {**spec, "description": description})


class CronPartitionTimetable(BaseTimetable):
    """Runs at the ticks of a cron expression that are about a partition key and have no logical date (row 1.200)."""

    partitioned = True

    def __init__(
        self,
        cron: str,
        *,
        timezone: Any,
        run_offset: int | None = None,
        run_immediately: bool | dt.timedelta = False,
        key_format: str = "%Y-%m-%dT%H:%M:%S",
    ) -> None:
        if run_offset is not None and (not isinstance(run_offset, int) or isinstance(run_offset, bool)):
            raise ValueError("Run offset other than integer not supported yet.")
        head = {"kind": "cron_trigger", "cron": cron, "timezone": zone_name(timezone), **_cron_extra(None, run_immediately)}
        core = from_dict(head)  # says what is wrong with the expression
        extra: dict[str, Any] = {"run_offset": run_offset or 0, "key_format": key_format}
        self._spec = {**core.to_dict(), "kind": "cron_partition", **extra}
        self.description = core.description
        self._summary = core.summary or ""

    @property
    def summary(self) -> str:
        return self._summary

    def to_spec(self) -> dict[str, Any]:
        return dict(self._spec)


class PartitionedAtRuntime(BaseTimetable):
    """Never scheduled; the tasks say at run time which partitions they made."""

    periodic = False
    can_be_scheduled = False
    partitioned = True
    run_type = "manual"
    description = "Never, partition key(s) set at runtime"

    def to_spec(self) -> dict[str, Any]:
        return {"kind": "partitioned_at_runtime"}


class AssetTriggeredTimetable(BaseTimetable):
    """Implied by `schedule=` with assets: a run when the condition is met."""

    periodic = False
    description = "Triggered by assets"
    run_type = "asset_triggered"

    def __init__(self, assets: Any) -> None:
        from trackside.sdk.assets import as_condition

        self.asset_condition: BaseAsset = as_condition(assets)

    @property
    def summary(self) -> str:
        return "Asset"

    def to_spec(self) -> dict[str, Any]:
        return {"kind": "asset", "condition": self.asset_condition.to_spec()}


class AssetOrTimeSchedule(AssetTriggeredTimetable):
    """Runs by the clock of `timetable` and whenever the assets' condition is met."""

    run_type = "scheduled"

    def __init__(self, *, timetable: BaseTimetable, assets: Any) -> None:
        super().__init__(assets)
        self.timetable = timetable
        self.description = f"Triggered by assets or {timetable.description}"
        self.periodic = timetable.periodic
        self.can_be_scheduled = timetable.can_be_scheduled
        self.active_runs_limit = timetable.active_runs_limit

    @property
    def summary(self) -> str:
        return f"Asset or {self.timetable.summary}"

    def to_spec(self) -> dict[str, Any]:
        return {"kind": "asset_or_time", "timetable": self.timetable.to_spec(), "condition": self.asset_condition.to_spec()}


class PartitionedAssetTimetable(AssetTriggeredTimetable):
    """Runs per partition key of the assets, mapped by partition mappers (row 1.203)."""

    partitioned = True

    def __init__(self, *, assets: Any, partition_mapper_config: Any = None, default_partition_mapper: Any = None) -> None:
        super().__init__(assets)
        from trackside.sdk.partitions import IdentityMapper

        self.partition_mapper_config = dict(partition_mapper_config or {})
        self.default_partition_mapper = default_partition_mapper or IdentityMapper()

    @property
    def summary(self) -> str:
        return "Partitioned Asset"

    def to_spec(self) -> dict[str, Any]:
        mappers = [{"asset": a.to_spec(), "mapper": m.to_spec()} for a, m in self.partition_mapper_config.items()]
        extra = {"mappers": mappers, "default_mapper": self.default_partition_mapper.to_spec()}
        return {**super().to_spec(), "kind": "partitioned_asset", **extra}


class _Plain(_Stored):
    """What a plain `schedule=` value stands for."""

    def __init__(self, core: CoreTimetable) -> None:
        self._store(core.to_dict())


def as_timetable(schedule: Any, timezone: dt.tzinfo) -> BaseTimetable:
    """The timetable of any `schedule=` value. Raises InvalidSchedule for what is none."""
    if isinstance(schedule, BaseTimetable):
        schedule.validate()
        return schedule
    if schedule is None:
        return NullTimetable()
    if _is_asset_schedule(schedule):
        return AssetTriggeredTimetable(schedule)
    if hasattr(schedule, "next_dagrun_info"):
        raise InvalidSchedule(f"schedule: {type(schedule).__name__} must be a subclass of airflow.timetables.base.Timetable")
    plain = from_schedule(schedule, timezone=timezone)
    kinds: dict[str, type[_Stored]] = {"once": OnceTimetable, "continuous": ContinuousTimetable}
    return kinds[plain.kind]() if plain.kind in kinds else _Plain(plain)  # type: ignore[call-arg]  # these two take nothing


def _is_asset_schedule(schedule: Any) -> bool:
    from trackside.sdk.assets import BaseAsset

    if isinstance(schedule, BaseAsset):
        return True
    if isinstance(schedule, list | tuple | set | frozenset):
        wrong = [item for item in schedule if not isinstance(item, BaseAsset)]
        if wrong or not schedule:
            raise InvalidSchedule(f"schedule: a list must hold assets only, not {wrong[0] if wrong else 'nothing'!r}")
        return True
    return False


def _delta(name: str, value: Any) -> dict[str, Any]:
    from trackside.core.timetables.delta import encode_delta

    if isinstance(value, int | float) and not isinstance(value, bool):
        value = dt.timedelta(seconds=value)
    return encode_delta(name, value)
