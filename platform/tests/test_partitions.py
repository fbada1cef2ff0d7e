"""Partition mappers, windows and wait policies: what they make of keys, as Airflow 3.3.2 does, and their stored form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from trackside.core.partitions import Elsewhere, Mapping, check_key, from_spec
from trackside.core.partitions.stored import MappedElsewhere
from trackside.core.partitions.temporal import pattern_of
from trackside.core.timetables import Restriction, from_dict
from trackside.sdk import partitions as p
from trackside.sdk.assets import Asset
from trackside.sdk.timetables import CronPartitionTimetable, PartitionedAssetTimetable

BACKWARD = p.Window.Direction.BACKWARD
MOMENT = "2024-03-13T10:42:15"


class Own(p.PartitionMapper):
    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix

    def to_downstream(self, key: str) -> str:
        return key.removeprefix(self.prefix)

    def serialize(self):
        return {"prefix": self.prefix}


@pytest.mark.parametrize(
    ("mapper", "key"),
    [
        (p.StartOfHourMapper(), "2024-03-13T10"),
        (p.StartOfDayMapper(), "2024-03-13"),
        (p.StartOfWeekMapper(), "2024-03-11 (W11)"),
        (p.StartOfMonthMapper(), "2024-03"),
        (p.StartOfQuarterMapper(), "2024-Q1"),
        (p.StartOfYearMapper(), "2024"),
        (p.StartOfDayMapper(output_format="%d.%m.%Y"), "13.03.2024"),
    ],
)
def test_temporal_mappers_name_the_period_and_read_its_start_again(mapper, key):
    assert mapper.to_downstream(MOMENT) == key
    start = mapper.to_partition_date(key)
    assert start.tzinfo is not None and mapper.to_downstream(mapper.encode_upstream(start)) == key
    with pytest.raises(ValueError):
        mapper.to_downstream("not a moment")


def test_a_zone_decides_which_day_a_moment_belongs_to():
    local = p.StartOfDayMapper(timezone="America/New_York", input_format="%Y-%m-%dT%H:%M:%S%z")
    assert local.to_downstream("2024-03-13T02:00:00+0000") == "2024-03-12"
    assert local.to_partition_date("2024-03-12") == datetime(2024, 3, 12, tzinfo=ZoneInfo("America/New_York"))


@pytest.mark.parametrize(
    ("window", "start", "first", "last", "number"),
    [
        (p.HourWindow(), "2024-01-01T05:00", "2024-01-01T05:00", "2024-01-01T05:59", 60),
        (p.DayWindow(), "2024-01-01", "2024-01-01T00:00", "2024-01-01T23:00", 24),
        (p.WeekWindow(direction=BACKWARD), "2024-01-08", "2024-01-02", "2024-01-08", 7),
        (p.MonthWindow(), "2024-02-01", "2024-02-01", "2024-02-29", 29),
        (p.MonthWindow(direction=BACKWARD), "2024-03-01", "2024-02-02", "2024-03-01", 29),
        (p.QuarterWindow(), "2024-10-01", "2024-10-01", "2024-12-01", 3),
        (p.QuarterWindow(direction="backward"), "2024-01-01", "2023-11-01", "2024-01-01", 3),
        (p.YearWindow(), "2024-01-01", "2024-01-01", "2024-12-01", 12),
    ],
)
def test_windows_yield_the_members_of_their_period(window, start, first, last, number):
    members = list(window.to_upstream(datetime.fromisoformat(start)))
    assert (members[0], members[-1], len(members)) == (datetime.fromisoformat(first), datetime.fromisoformat(last), number)


def test_windows_of_months_need_the_first_of_a_month():
    with pytest.raises(ValueError, match="day 1"):
        p.MonthWindow().to_upstream(datetime(2024, 1, 2))


def test_products_chains_and_fixed_keys():
    product = p.ProductMapper(p.IdentityMapper(), p.StartOfDayMapper(), delimiter="/")
    assert product.to_downstream(f"us/{MOMENT}") == "us/2024-03-13"
    assert product.to_partition_date("us/2024-03-13") == datetime(2024, 3, 13, tzinfo=UTC)
    with pytest.raises(ValueError, match="Expected 2 segments"):
        product.to_downstream("us")
    chain = p.ChainMapper(p.StartOfHourMapper(), p.StartOfDayMapper(input_format="%Y-%m-%dT%H"))
    assert chain.to_downstream(MOMENT) == "2024-03-13"
    assert p.FixedKeyMapper("all").to_downstream("x") == "all"
    with pytest.raises(ValueError, match="not in allowed keys"):
        p.AllowedKeyMapper(["a"]).to_downstream("b")


def test_fan_out_takes_the_mapper_that_fits_the_window_and_a_window_without_one_needs_a_mapper():
    week = p.FanOutMapper(upstream_mapper=p.StartOfWeekMapper(), window=p.WeekWindow())
    assert week.to_downstream(MOMENT) == [f"2024-03-{day}" for day in range(11, 18)]
    with pytest.raises(ValueError, match="pass downstream_mapper"):
        p.FanOutMapper(upstream_mapper=p.IdentityMapper(), window=p.SegmentWindow(["a"]))


def test_a_rollup_knows_its_upstream_keys_and_refuses_a_window_that_does_not_fit():
    month = p.RollupMapper(upstream_mapper=p.StartOfMonthMapper(input_format="%Y-%m-%d"), window=p.MonthWindow())
    assert month.to_upstream("2024-02") == {f"2024-02-{day:02}" for day in range(1, 30)}
    with pytest.raises(TypeError, match="that fit"):
        p.RollupMapper(upstream_mapper=p.FixedKeyMapper("x"), window=p.DayWindow())


@pytest.mark.parametrize(("policy", "came", "enough"), [
    (p.WaitForAll(), {"a", "b"}, False), (p.WaitForAll(), {"a", "b", "c", "z"}, True), (p.MinimumCount(2), {"a", "z"}, False),
    (p.MinimumCount(2), {"a", "b"}, True), (p.MinimumCount(-1), {"a", "b"}, True), (p.MinimumCount(4), {"a", "b", "c"}, False),
])  # fmt: skip
def test_wait_policies_count_keys_of_the_window_only(policy, came, enough):
    assert policy.enough(came, frozenset("abc")) is enough


@pytest.mark.parametrize("make", [
    lambda: p.MinimumCount(0), lambda: p.SegmentWindow([]), lambda: p.SegmentWindow(["a", ""]), lambda: p.FixedKeyMapper(""),
    lambda: p.IdentityMapper(max_downstream_keys=0), lambda: pattern_of("%Y-%Y"), lambda: pattern_of("{a}{b}"), lambda: pattern_of("{1}"),
])  # fmt: skip
def test_what_cannot_work_is_refused_where_it_is_written(make):
    with pytest.raises(ValueError):
        make()


def test_a_mapper_that_overrides_half_of_a_pair_is_refused():
    with pytest.raises(TypeError, match="both"):
        type("Half", (p.IdentityMapper,), {"decode_downstream": lambda self, key: key})


@pytest.mark.parametrize("record", [
    p.IdentityMapper(max_downstream_keys=3), p.AllowedKeyMapper(["a"]),
    p.ProductMapper(p.IdentityMapper(), p.StartOfDayMapper(), delimiter="/"),
    p.ChainMapper(p.IdentityMapper(), p.FixedKeyMapper("x"), p.IdentityMapper()),
    p.StartOfQuarterMapper(timezone="Asia/Tokyo", output_format="Q{quarter}/%Y"),
    p.RollupMapper(upstream_mapper=p.FixedKeyMapper("x"), window=p.SegmentWindow(["b", "a"]), wait_policy=p.MinimumCount(-1)),
    p.FanOutMapper(upstream_mapper=p.StartOfWeekMapper(), window=p.WeekWindow(direction=BACKWARD), max_downstream_keys=7),
])  # fmt: skip
def test_the_stored_form_gives_an_equal_one_back(record):
    assert from_spec(record.to_spec()) == record


def test_a_class_of_the_users_is_kept_by_its_path_and_says_that_it_does_not_run_here():
    spec = Own("eu::").to_spec()
    assert (spec["kind"], spec["data"], spec["classpath"].rpartition(".")[2]) == ("custom", {"prefix": "eu::"}, "Own")
    for outer in (spec, p.ProductMapper(p.IdentityMapper(), Own("eu::")).to_spec()):
        stands_for = from_spec(outer)
        assert isinstance(stands_for, Elsewhere) and stands_for.to_spec() == spec
    with pytest.raises(MappedElsewhere, match="Own"):
        from_spec(spec).to_downstream("eu::k")


def test_a_timetable_gives_each_asset_its_mapper_and_changes_its_fingerprint_with_them_only():
    a, b = Asset("a", "s3://a"), Asset("b", "s3://b")

    def mapping(**kwargs):
        return Mapping(PartitionedAssetTimetable(**kwargs).to_spec())

    config = {Asset.ref(uri="s3://b"): p.StartOfYearMapper()}
    both = mapping(assets=a & b, partition_mapper_config=config, default_partition_mapper=p.StartOfDayMapper())
    assert (both.keys("a", "s3://a", MOMENT, 9), both.keys("b", "s3://b", MOMENT, 9)) == (["2024-03-13"], ["2024"])
    assert mapping(assets=a).fingerprint == mapping(assets=a & b).fingerprint != both.fingerprint


@pytest.mark.parametrize("key", ["", "  ", "k" * 251, "a\x00b", 5])
def test_keys_that_no_run_can_have(key):
    with pytest.raises(ValueError):
        check_key(key)


def test_cron_partitions_count_offsets_in_ticks_and_write_keys_in_the_schedules_zone():
    spec = CronPartitionTimetable("0 0 * * *", timezone="Asia/Taipei", run_offset=-2, key_format="%Y%m%d").to_spec()
    timetable = from_dict(spec)
    due = datetime(2026, 3, 31, 16, tzinfo=UTC)  # 1 April in Taipei
    assert timetable.partition(due) == (due - timedelta(days=2), "20260330")
    assert timetable.date_of("20260401") == due
    run = timetable.next_run(last=None, restriction=Restriction(due, None, True), now=due)
    assert (run.logical_date, run.data_interval, run.run_after) == (None, None, due)
    with pytest.raises(ValueError, match="integer"):
        CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=timedelta(days=1))
