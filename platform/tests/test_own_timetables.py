"""Timetable classes of the user's: what they are asked, with which values, and what is made of their answers."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest

from trackside.core.timetables import InvalidRunId, InvalidSchedule, from_dict
from trackside.runner.parsing import custom
from trackside.sdk.timetables import (
    AssetOrTimeSchedule,
    BaseTimetable,
    CronDataIntervalTimetable,
    CronPartitionTimetable,
    CronTriggerTimetable,
    DagRunInfo,
    DataInterval,
)

SPEC = {"start_date": "2024-01-01T00:00:00+00:00", "end_date": None, "catchup": True}
NOW = datetime(2024, 6, 1, tzinfo=UTC)


def plan(timetable: Any, last: list[str] | None = None, **spec: Any) -> dict[str, Any] | None:
    return custom.next_run(SimpleNamespace(timetable=timetable), {**SPEC, **spec}, last, NOW)


class SkipsMondays(CronDataIntervalTimetable):
    """Comes from one of ours and asks it first."""

    def __init__(self) -> None:
        super().__init__("0 0 * * *", timezone="UTC")

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        info = super().next_dagrun_info(last_automated_data_interval=last_automated_data_interval, restriction=restriction)
        while info and info.data_interval.start.weekday() == 0:
            info = super().next_dagrun_info(last_automated_data_interval=info.data_interval, restriction=restriction)
        return info


class EverySecondDay(BaseTimetable):
    """Uses what Airflow gives: pendulum moments in tuples."""

    def next_dagrun_info_v2(self, *, last_dagrun_info, restriction):
        earliest, latest, _catchup = restriction
        if last_dagrun_info is None:
            start = earliest.in_timezone("UTC").start_of("day")
        else:
            _, end = last_dagrun_info.data_interval
            start = end.add(days=1)
        return None if latest and start > latest else DagRunInfo.interval(start, start.add(days=1))

    def generate_run_id(self, *, run_type, run_after, data_interval, **extra):
        return f"{run_type.value}__about_{data_interval.start:%Y%m%d}"


def test_a_subclass_that_plans_itself_is_asked_and_may_ask_the_class_it_comes_from():
    timetable = SkipsMondays()
    assert from_dict(timetable.to_spec()).kind == "custom"
    first = plan(timetable)  # the 1st of January 2024 is a Monday
    assert first == {
        "logical_date": "2024-01-02T00:00:00+00:00", "start": "2024-01-02T00:00:00+00:00", "end": "2024-01-03T00:00:00+00:00",
        "run_after": "2024-01-03T00:00:00+00:00",
    }  # fmt: skip
    sunday = ["2024-01-07T00:00:00+00:00", "2024-01-08T00:00:00+00:00"]
    after = plan(timetable, sunday)
    assert after is not None and after["start"] == "2024-01-09T00:00:00+00:00"
    assert timetable.infer_manual_data_interval(run_after=pendulum.datetime(2024, 1, 5)).start == pendulum.datetime(2024, 1, 4)


def test_a_subclass_that_only_looks_different_is_planned_on_the_server():
    class Named(CronTriggerTimetable):
        description = "ours"
        partitioned_at_runtime = True

    assert Named("0 6 * * *", timezone="UTC").to_spec() == CronTriggerTimetable("0 6 * * *", timezone="UTC").to_spec()


def test_the_plan_of_a_subclass_changes_with_its_arguments():
    class Shifted(CronTriggerTimetable):
        def infer_manual_data_interval(self, *, run_after):
            return DataInterval.exact(run_after.add(days=1))

    one, other = (Shifted(cron, timezone="UTC").to_spec() for cron in ("0 6 * * *", "0 7 * * *"))
    assert one["classpath"] == other["classpath"] and one != other


def test_own_timetables_get_pendulum_moments_and_may_unpack_what_they_get():
    first = plan(EverySecondDay())
    assert first is not None and (first["start"], first["run_after"]) == ("2024-01-01T00:00:00+00:00", "2024-01-02T00:00:00+00:00")
    second = plan(EverySecondDay(), [first["start"], first["end"]])
    assert second is not None and second["start"] == "2024-01-03T00:00:00+00:00"
    assert plan(EverySecondDay(), [first["start"], first["end"]], end_date="2024-01-02T12:00:00+00:00") is None


def test_an_own_timetable_may_name_its_runs():
    assert EverySecondDay().to_spec()["names_runs"] is True
    assert from_dict(EverySecondDay().to_spec()).to_dict()["names_runs"] is True
    first = plan(EverySecondDay())
    assert first is not None and first["run_id"] == "scheduled__about_20240101"
    assert "names_runs" not in SkipsMondays().to_spec()
    plain = CronTriggerTimetable("@daily", timezone="UTC")
    assert custom.run_id(plain, "manual", pendulum.datetime(2024, 1, 2), None) == "manual__2024-01-02T00:00:00+00:00"


def test_a_name_that_cannot_be_used_is_an_error():
    class Numbers(EverySecondDay):
        def generate_run_id(self, **about):
            return 7

    class Dots(EverySecondDay):
        def generate_run_id(self, **about):
            return "scheduled__../etc"

    with pytest.raises(TypeError, match=r"Numbers\.generate_run_id gave 7"):
        plan(Numbers())
    with pytest.raises(InvalidRunId, match="path traversal"):
        plan(Dots())


def test_the_own_clock_of_a_schedule_that_waits_for_assets_too_is_asked():
    from trackside.sdk.assets import Asset

    both = AssetOrTimeSchedule(timetable=SkipsMondays(), assets=[Asset("a")])
    assert custom.is_custom(both.to_spec())
    found = plan(both)
    assert found is not None and found["start"] == "2024-01-02T00:00:00+00:00"


def test_an_own_timetable_that_plans_partitions_is_refused_and_ours_may_be_subclassed():
    class Partitioned(BaseTimetable):
        partitioned = True

    class Keys(CronPartitionTimetable):
        pass

    with pytest.raises(InvalidSchedule, match="Subclass CronPartitionTimetable"):
        Partitioned().to_spec()
    assert Keys("@daily", timezone="UTC").to_spec()["kind"] == "cron_partition"


def test_latest_only_asks_an_own_timetable_for_the_next_run():
    from trackside.sdk.operators import latest_only

    run = SimpleNamespace(
        data_interval_start=pendulum.datetime(2024, 1, 7), data_interval_end=pendulum.datetime(2024, 1, 8), run_after=None
    )
    assert latest_only._window(SimpleNamespace(timetable=SkipsMondays()), run) == (
        datetime(2024, 1, 8, tzinfo=UTC), datetime(2024, 1, 10, tzinfo=UTC),
    )  # fmt: skip
