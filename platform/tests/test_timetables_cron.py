"""Cron expressions and their clock changes, against models that share no code with them.

The models are slow and obvious: they step minute by minute, and ask the `whenever` library about zones.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whenever import PlainDateTime

from trackside.core.timetables import (
    CronInterval,
    CronTrigger,
    DataInterval,
    InvalidSchedule,
    Restriction,
    from_schedule,
    parse_cron,
)
from trackside.core.timetables.zones import to_utc

MINUTE = timedelta(minutes=1)
# Zone and a year whose clock changes are peculiar.
ZONES = [
    ("America/New_York", 2024),
    ("Australia/Lord_Howe", 2024),  # half an hour
    ("Asia/Beirut", 2024),  # midnight does not exist once a year
    ("America/Sao_Paulo", 2018),  # the same, in November
    ("Africa/Casablanca", 2024),
    ("UTC", 2024),
]
WHOLE_HOUR_ZONES = [pair for pair in ZONES if pair[0] != "Australia/Lord_Howe"]


class Fields(NamedTuple):
    """An expression as sets, and as the text that means them. None is `*`."""

    minutes: set[int]
    hours: set[int]
    days: set[int] | None
    months: set[int]
    weekdays: set[int] | None

    @property
    def text(self) -> str:
        def joined(values: set[int] | None, size: int) -> str:
            return "*" if values is None or len(values) == size else ",".join(map(str, sorted(values)))

        return " ".join(map(joined, self, (60, 24, 99, 12, 99)))

    def matches(self, wall: datetime) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours or wall.month not in self.months:
            return False
        by_day = self.days is None or wall.day in self.days
        by_weekday = self.weekdays is None or wall.isoweekday() % 7 in self.weekdays
        return by_day or by_weekday if self.days and self.weekdays else by_day and by_weekday


def some(low: int, high: int) -> st.SearchStrategy[set[int]]:
    return st.sets(st.integers(low, high), min_size=1, max_size=4)


FIELDS = st.builds(
    Fields,
    some(0, 59),
    st.one_of(some(0, 23), st.just(set(range(24)))),
    st.one_of(st.none(), some(1, 28)),
    st.just(set(range(1, 13))),
    st.one_of(st.none(), some(0, 6)),
)
WALLS = st.datetimes(datetime(2018, 1, 1), datetime(2026, 12, 31))


@lru_cache
def clock_changes(name: str, year: int) -> list[datetime]:
    """The whole hours of a year before which the zone changes its offset; all hours where it never does."""
    zone, start = ZoneInfo(name), datetime(year, 1, 1, tzinfo=UTC)
    hours = [start + timedelta(hours=h) for h in range(366 * 24)]
    offsets = [hour.astimezone(zone).utcoffset() for hour in hours]
    return [hours[n] for n in range(1, len(hours)) if offsets[n] != offsets[n - 1]] or hours


@st.composite
def moments_near_a_clock_change(draw: st.DrawFn, zones: list[tuple[str, int]] = ZONES) -> tuple[str, datetime]:
    """A zone and a moment at most two days before one of its clock changes (any moment where there is none)."""
    name, year = draw(st.sampled_from(zones))
    at = draw(st.sampled_from(clock_changes(name, year)))
    return name, at - timedelta(seconds=draw(st.integers(-3600 * 6, 3600 * 48)))


@given(fields=FIELDS, wall=WALLS)
@settings(max_examples=60, deadline=None)
def test_the_next_match_is_the_first_minute_that_matches(fields: Fields, wall: datetime) -> None:
    found = parse_cron(fields.text).next_after(wall)
    assert found is not None
    assert found > wall
    assert fields.matches(found)
    minute = wall.replace(second=0, microsecond=0) + MINUTE
    for _ in range(3 * 24 * 60):
        if minute >= found:
            break
        assert not fields.matches(minute), minute
        minute += MINUTE


@given(fields=FIELDS, wall=WALLS)
@settings(max_examples=100, deadline=None)
def test_looking_back_and_looking_ahead_agree(fields: Fields, wall: datetime) -> None:
    cron = parse_cron(fields.text)
    back, ahead = cron.prev_before(wall), cron.next_after(wall)
    assert back is not None
    assert ahead is not None
    assert back < wall < ahead
    assert cron.next_after(back) == (wall if fields.matches(wall) and not wall.second + wall.microsecond else ahead)
    assert cron.prev_before(ahead) in (back, wall)


@given(where=moments_near_a_clock_change(), minutes=st.integers(0, 24 * 60 - 1))
@settings(max_examples=200, deadline=None)
def test_a_daily_time_runs_once_a_day_after_a_gap_and_at_the_second_of_two(
    where: tuple[str, datetime], minutes: int
) -> None:
    zone, moment = where
    hour, minute = divmod(minutes, 60)
    timetable = CronTrigger(f"{minute} {hour} * * *", zone)
    day = moment.astimezone(ZoneInfo(zone)).date()
    # Started the day before, so that the schedule is under way when the clocks change.
    last = _at(zone, datetime(day.year, day.month, day.day, hour, minute) - timedelta(days=1))
    for ahead in range(4):
        run = timetable.next_run(last=DataInterval.exact(last), restriction=ALWAYS, now=moment)
        assert run is not None
        wall = datetime(day.year, day.month, day.day, hour, minute) + timedelta(days=ahead)
        assert run.run_after == _at(zone, wall)
        last = run.run_after


def _at(zone: str, wall: datetime) -> datetime:
    """What an independent library says: the later of two, and past a gap."""
    return PlainDateTime(wall).assume_tz(zone, disambiguation="later").to_instant().to_stdlib()


@given(where=moments_near_a_clock_change(), shift=st.integers(0, 24 * 60))
@settings(max_examples=200, deadline=None)
def test_wall_clock_times_become_the_moments_another_library_finds(where: tuple[str, datetime], shift: int) -> None:
    zone, moment = where
    wall = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, microsecond=0) + timedelta(minutes=shift)
    assert to_utc(wall, ZoneInfo(zone)) == _at(zone, wall)


@given(where=moments_near_a_clock_change(WHOLE_HOUR_ZONES), minutes=some(0, 59))
@settings(max_examples=40, deadline=None)
def test_an_hourly_schedule_runs_in_every_elapsed_hour(where: tuple[str, datetime], minutes: set[int]) -> None:
    zone, moment = where
    timetable = CronTrigger(f"{','.join(map(str, minutes))} * * * *", zone)
    start = moment.replace(second=0, microsecond=0)
    seconds = [start + MINUTE * n for n in range(60 * 60)]
    expected = [m for m in seconds if m.astimezone(ZoneInfo(zone)).minute in minutes]
    assert _runs(timetable, start, len(expected)) == expected


ALWAYS = Restriction(None, None, catchup=True)


def _runs(timetable: CronTrigger | CronInterval, start: datetime, count: int) -> list[datetime]:
    restriction, last, found = Restriction(start, None, catchup=True), None, []
    for _ in range(count):
        run = timetable.next_run(last=last, restriction=restriction, now=start)
        assert run is not None
        found.append(run.run_after)
        last = run.data_interval
    return found


@given(fields=FIELDS, where=moments_near_a_clock_change(), kind=st.sampled_from([CronTrigger, CronInterval]))
@settings(max_examples=300, deadline=None)
def test_runs_move_forward_across_clock_changes(
    fields: Fields, where: tuple[str, datetime], kind: type[CronTrigger] | type[CronInterval]
) -> None:
    zone, start = where
    runs = _runs(kind(fields.text, zone), start, 12)
    assert runs[0] >= start
    assert all(a < b for a, b in pairwise(runs)), runs


@given(fields=FIELDS, where=moments_near_a_clock_change(WHOLE_HOUR_ZONES))
@settings(max_examples=200, deadline=None)
def test_without_catchup_the_first_run_is_the_latest_missed_tick(fields: Fields, where: tuple[str, datetime]) -> None:
    zone, now = where
    timetable = CronTrigger(fields.text, zone)
    run = timetable.next_run(last=None, restriction=Restriction(now - timedelta(days=400), None, False), now=now)
    assert run is not None
    following = timetable.ticks.after(run.run_after)
    assert following is not None
    assert following > now or run.run_after > now


def test_a_million_missed_runs_are_skipped_without_counting_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from trackside.core.timetables import cronexpr

    searches = 0
    days_from = cronexpr.CronExpression._days_from

    def counted(self: cronexpr.CronExpression, first: object) -> object:
        nonlocal searches
        searches += 1
        return days_from(self, first)  # type: ignore[arg-type]

    monkeypatch.setattr(cronexpr.CronExpression, "_days_from", counted)
    start, now = datetime(2000, 1, 1, tzinfo=UTC), datetime(2024, 6, 15, 10, 30, 30, tzinfo=UTC)
    for kind in (CronTrigger, CronInterval):
        run = kind("* * * * *", "UTC").next_run(
            last=DataInterval(start, start + MINUTE), restriction=Restriction(start, None, False), now=now
        )
        assert run is not None
        assert run.run_after == datetime(2024, 6, 15, 10, 30, tzinfo=UTC)
    assert searches < 30


def test_a_tick_right_now_is_not_missed_and_a_microsecond_later_the_next_one_is_found() -> None:
    ticks = CronTrigger("*/10 * * * *", "UTC").ticks
    tick = datetime(2024, 6, 15, 10, 30, tzinfo=UTC)
    just_after = tick + timedelta(microseconds=1)
    assert ticks.at_or_after(tick) == ticks.at_or_before(tick) == tick
    assert ticks.at_or_after(just_after) == tick + timedelta(minutes=10)
    assert ticks.at_or_before(just_after) == tick
    assert ticks.before(tick) == tick - timedelta(minutes=10)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("0 0 * * fri-mon", ["2024-06-14", "2024-06-15", "2024-06-16", "2024-06-17", "2024-06-21"]),
        ("0 0 * * 7", ["2024-06-16", "2024-06-23"]),
        ("0 0 * * 5-7", ["2024-06-14", "2024-06-15", "2024-06-16", "2024-06-21"]),
        ("0 0 * * MON#1", ["2024-07-01", "2024-08-05"]),
        ("0 0 * * L5", ["2024-06-28", "2024-07-26"]),
        ("0 0 L * *", ["2024-06-30", "2024-07-31"]),
        ("0 0 15,l * ?", ["2024-06-15", "2024-06-30"]),
        ("0 0 1 nov-feb *", ["2024-11-01", "2024-12-01", "2025-01-01", "2025-02-01", "2025-11-01"]),
        ("0 0 31 * *", ["2024-07-31", "2024-08-31"]),
        ("0 0 29 2 *", ["2028-02-29", "2032-02-29"]),
        ("0 0 13 * 5", ["2024-06-14", "2024-06-21", "2024-06-28", "2024-07-05", "2024-07-12", "2024-07-13"]),
        ("@midnight", ["2024-06-14", "2024-06-15"]),
        ("@annually", ["2025-01-01"]),
        ("0 0 1 1 * 0 2027", ["2027-01-01"]),
    ],
)
def test_the_dialect_of_airflow_is_understood(text: str, matches: list[str]) -> None:
    cron, wall, found = parse_cron(text), datetime(2024, 6, 13, 0, 0), []
    for _ in matches:
        following = cron.next_after(wall)
        assert following is not None
        wall = following
        found.append(wall.date().isoformat())
    assert found == matches


def test_a_list_of_years_ends() -> None:
    assert parse_cron("0 0 1 1 * 0 2027").next_after(datetime(2027, 1, 1)) is None
    timetable = CronTrigger("0 0 1 1 * 0 2027", "UTC")
    after = DataInterval.exact(datetime(2027, 1, 1, tzinfo=UTC))
    assert timetable.next_run(last=after, restriction=ALWAYS, now=after.end) is None


def test_a_sixth_field_is_seconds() -> None:
    assert parse_cron("0 0 * * * */20").next_after(datetime(2024, 1, 1, 0, 0, 5)) == datetime(2024, 1, 1, 0, 0, 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has 0 fields"),
        ("0 0 * *", "has 4 fields"),
        ("0 0 * * * 0 2027 1", "has 8 fields"),
        ("60 0 * * *", "minute of .*: 60 is not between 0 and 59"),
        ("0 24 * * *", "hour .*24 is not between 0 and 23"),
        ("0 0 0 * *", "day of month .*0 is not between 1 and 31"),
        ("0 0 * 13 *", "month .*13 is not between 1 and 12"),
        ("0 0 * * 8", "day of week .*8 is not between 0 and 6"),
        ("0 0 * * mun", "day of week .*'mun' is not a name or number"),
        ("0 0 * * mon#6", "day of week .*#6 is not between #1 and #5"),
        ("0 0 * * mon#1,fri", "cannot be mixed"),
        ("*/0 0 * * *", "minute .*step of .* is 0"),
        ("-5 0 * * *", "minute .*'-5' is not a number"),
        ("1,,2 0 * * *", "minute .*'' is not a number"),
        ("0 ? * * *", "hour .*may only stand alone"),
        ("H H * * *", "minute .*not supported"),
        ("@fortnightly", "not a known preset"),
        ("0 0 31 2 *", "never matches"),
        ("0 0 30,31 2 *", "never matches"),
        ("0 0 30 2 *", "never matches"),
        ("0 0 31 2,4,6 *", "never matches"),
        ("a b c d e", "minute of .*'a' is not a number"),
        ("* " * 5000, "has 5000 fields"),
        ("0 0 29 2 * 0 2027", "never matches"),
        ("٣ 0 * * *", "minute .*is not a number"),
    ],
)
def test_a_bad_expression_names_the_field_and_the_mistake(text: str, message: str) -> None:
    with pytest.raises(InvalidSchedule, match=message):
        from_schedule(text)


def test_a_step_of_days_starts_again_with_each_month() -> None:
    found = [datetime(2021, 2, 11)]
    while len(found) < 5:
        found.append(parse_cron("0 0 */10 * *").next_after(found[-1]) or datetime.max)
    assert [(d.month, d.day) for d in found] == [(2, 11), (2, 21), (3, 1), (3, 11), (3, 21)]


@given(st.text(alphabet="0123456789*/,-#L?@ monfriH", max_size=24))
@settings(max_examples=500, deadline=None)
def test_any_text_is_either_read_or_refused(text: str) -> None:
    try:
        cron = parse_cron(text)
    except InvalidSchedule as refused:
        assert str(refused).startswith("cron: ")
    else:
        assert cron.next_after(datetime(1999, 1, 1)) is not None
