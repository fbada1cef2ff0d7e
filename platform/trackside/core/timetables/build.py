"""Timetables from what an author wrote (`schedule=…`) and from their stored form.

For the SDK and the DAG processor (`from_schedule`), and for everybody who reads a stored DAG (`from_dict`).
Next door: the kinds themselves in `cron`, `delta`, `simple`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from dateutil.relativedelta import relativedelta

from trackside.core.timetables.base import InvalidSchedule, Timetable
from trackside.core.timetables.cron import CronInterval, CronTrigger, MultiCron, RunImmediately
from trackside.core.timetables.delta import ZERO, Delta, DeltaInterval, DeltaTrigger, decode_delta
from trackside.core.timetables.partition import CronPartition, PartitionedAsset, PartitionedAtRuntime
from trackside.core.timetables.simple import Asset, AssetOrTime, Continuous, Custom, Events, Null, Once
from trackside.core.timetables.zones import zone_name

_ABOUT = ("summary", "description", "periodic", "can_be_scheduled", "active_runs_limit", "timezone", "names_runs")


def from_schedule(schedule: object, *, timezone: object = "UTC", create_cron_data_intervals: bool = False) -> Timetable:
    """The timetable of a plain `schedule=` value (rules 1.009 to 1.011).

    Takes None, `@once`, `@continuous`, a preset, a cron expression, a timedelta or a relativedelta. `timezone` is the
    DAG's, by name or as tzinfo. With `create_cron_data_intervals` cron and deltas get data intervals (one option
    for both, as in Airflow). Raises InvalidSchedule for anything else.
    """
    if schedule is None:
        return Null()
    if schedule == "@once":
        return Once()
    if schedule == "@continuous":
        return Continuous()
    if isinstance(schedule, (timedelta, relativedelta)):
        return DeltaInterval(schedule) if create_cron_data_intervals else DeltaTrigger(schedule)
    if isinstance(schedule, str):
        zone = zone_name(timezone)
        return CronInterval(schedule, zone) if create_cron_data_intervals else CronTrigger(schedule, zone)
    raise InvalidSchedule(
        f"schedule: {schedule!r} is not None, a cron expression, a preset, a timedelta, a relativedelta, "
        "a timetable or assets"
    )


def from_dict(data: dict[str, Any]) -> Timetable:
    """The timetable of a stored form. Raises InvalidSchedule naming the field that is wrong."""
    if not isinstance(data, dict):
        raise InvalidSchedule(f"timetable: expected a dict with a kind, not {data!r}")
    kind = data.get("kind")
    loader = LOADERS.get(kind) if isinstance(kind, str) else None
    if loader is None:
        raise InvalidSchedule(f"kind: {kind!r} is not a known kind of timetable; known are {', '.join(LOADERS)}")
    return loader(data)


def _cron_trigger(data: dict[str, Any]) -> Timetable:
    return CronTrigger(_text(data, "cron"), _zone(data), _interval(data), _run_immediately(data))


def _multi_cron(data: dict[str, Any]) -> Timetable:
    crons = data.get("crons")
    if not isinstance(crons, (list, tuple)) or not all(isinstance(cron, str) for cron in crons):
        raise InvalidSchedule(f"crons: expected a list of cron expressions, not {crons!r}")
    return MultiCron(tuple(crons), _zone(data), _interval(data), _run_immediately(data))


def _events(data: dict[str, Any]) -> Timetable:
    dates = data.get("dates")
    if not isinstance(dates, (list, tuple)):
        raise InvalidSchedule(f"dates: expected a list of dates, not {dates!r}")
    return Events(tuple(_date(d) for d in dates), bool(data.get("restrict_to_events")), data.get("description"))


def _asset_or_time(data: dict[str, Any]) -> Timetable:
    inner = from_dict(data.get("timetable"))  # type: ignore[arg-type]  # from_dict says what is wrong with it
    if isinstance(inner, (Asset, AssetOrTime)):
        raise InvalidSchedule("timetable: asset timetables cannot be nested in each other")
    return AssetOrTime(inner)


def _cron_partition(data: dict[str, Any]) -> Timetable:
    ticks = CronTrigger(_text(data, "cron"), _zone(data), _interval(data), _run_immediately(data))
    return CronPartition(ticks, int(data.get("run_offset") or 0), str(data.get("key_format") or CronPartition.key_format))


def _custom(data: dict[str, Any]) -> Timetable:
    about = {key: data[key] for key in _ABOUT if key in data}
    return Custom(_text(data, "classpath"), data.get("data"), about)


LOADERS: dict[str, Callable[[dict[str, Any]], Timetable]] = {
    "null": lambda data: Null(),
    "once": lambda data: Once(),
    "continuous": lambda data: Continuous(),
    "cron_trigger": _cron_trigger,
    "multi_cron": _multi_cron,
    "cron_interval": lambda data: CronInterval(_text(data, "cron"), _zone(data)),
    "delta_trigger": lambda data: DeltaTrigger(decode_delta(data, "delta"), _interval(data)),
    "delta_interval": lambda data: DeltaInterval(decode_delta(data, "delta")),
    "events": _events,
    "asset": lambda data: Asset(),
    "asset_or_time": _asset_or_time,
    "cron_partition": _cron_partition,
    "partitioned_asset": lambda data: PartitionedAsset(),
    "partitioned_at_runtime": lambda data: PartitionedAtRuntime(),
    "custom": _custom,
}
"""Kind → how to read it. A new kind is one more row."""


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidSchedule(f"{name}: expected text, not {value!r}")
    return value


def _zone(data: dict[str, Any]) -> str:
    return zone_name(data.get("timezone", "UTC"))


def _interval(data: dict[str, Any]) -> Delta:
    return decode_delta(data, "interval", ZERO)


def _run_immediately(data: dict[str, Any]) -> RunImmediately:
    value = data.get("run_immediately", False)
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, (int, float)):
        raise InvalidSchedule(f"run_immediately: expected true, false, null or seconds, not {value!r}")
    return timedelta(seconds=value)


def _date(value: object) -> datetime:
    try:
        date = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise InvalidSchedule(f"dates: {value!r} is not a date and time") from None
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date
