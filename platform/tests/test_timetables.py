"""What each kind of timetable does at its edges, how schedules are read and told, and which run ids are allowed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.relativedelta import MO, relativedelta
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.core.states import RunType
from trackside.core.timetables import (
    AssetOrTime,
    CronInterval,
    CronTrigger,
    Custom,
    DataInterval,
    DeltaInterval,
    DeltaTrigger,
    Events,
    InvalidRunId,
    InvalidSchedule,
    MultiCron,
    Null,
    Once,
    PlannedElsewhere,
    Restriction,
    Timetable,
    from_dict,
    from_schedule,
    generate_run_id,
    preview,
    run_type_of,
    schedule_in_words,
    validate_run_id,
)

NOW = datetime(2024, 6, 15, 10, 30, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def first_run(timetable: Timetable, *, catchup: bool = False, earliest: datetime | None = None) -> datetime | None:
    run = timetable.next_run(last=None, restriction=Restriction(earliest, None, catchup), now=NOW)
    return run and run.run_after


# What authors write


@pytest.mark.parametrize(
    ("schedule", "kind"),
    [
        (None, "null"),
        ("@once", "once"),
        ("@continuous", "continuous"),
        ("@daily", "cron_trigger"),
        ("0 6 * * *", "cron_trigger"),
        (HOUR, "delta_trigger"),
        (relativedelta(months=1), "delta_trigger"),
    ],
)
def test_a_plain_schedule_becomes_a_timetable(schedule: object, kind: str) -> None:
    timetable = from_schedule(schedule, timezone="Europe/Paris")
    assert timetable.kind == kind
    assert isinstance(timetable, Timetable)


def test_one_option_gives_data_intervals_to_cron_and_deltas() -> None:
    assert from_schedule("@daily", create_cron_data_intervals=True) == CronInterval("@daily", "UTC")
    assert from_schedule(DAY, create_cron_data_intervals=True) == DeltaInterval(DAY)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("Europe/Paris", "Europe/Paris"),
        (ZoneInfo("Asia/Beirut"), "Asia/Beirut"),
        (UTC, "UTC"),
        (timezone(timedelta(hours=5, minutes=30)), "+05:30"),
        (-3600, "-01:00"),
    ],
)
def test_a_zone_may_be_given_by_name_object_or_offset(given: object, stored: str) -> None:
    timetable = from_schedule("0 0 * * *", timezone=given)
    assert timetable.timezone == stored
    assert from_dict(timetable.to_dict()) == timetable


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (5, "schedule: 5 is not None"),
        (["0 0 * * *"], "schedule: "),
        (timedelta(), "delta: a schedule must move forward"),
        (-HOUR, "delta: a schedule must move forward"),
        (relativedelta(day=31), "delta: a schedule must move forward"),
        (relativedelta(months=-1), "delta: a schedule must move forward"),
        (timedelta.max, "delta: .* out of range"),
    ],
)
def test_a_schedule_that_is_none_is_refused(schedule: object, message: str) -> None:
    with pytest.raises(InvalidSchedule, match=message):
        from_schedule(schedule)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ("0 0 * * *", "timetable: expected a dict"),
        ({}, "kind: None is not a known kind"),
        ({"kind": ["cron_trigger"]}, "kind: "),
        ({"kind": "cron_trigger"}, "cron: expected text"),
        ({"kind": "cron_trigger", "cron": "0 0 * * *", "timezone": "Mars/Olympus"}, "timezone: no time zone is called"),
        ({"kind": "cron_trigger", "cron": "0 0 * * *", "timezone": "../etc/passwd"}, "timezone: "),
        ({"kind": "cron_trigger", "cron": "0 0 * * *", "timezone": None}, "timezone: "),
        ({"kind": "cron_trigger", "cron": "0 0 * * *", "run_immediately": "yes"}, "run_immediately: "),
        ({"kind": "multi_cron", "crons": []}, "crons: at least one"),
        ({"kind": "multi_cron", "crons": "0 0 * * *"}, "crons: expected a list"),
        ({"kind": "delta_trigger"}, "delta: neither delta_s nor delta_rel"),
        ({"kind": "delta_trigger", "delta_s": "1"}, "delta_s: expected seconds"),
        ({"kind": "delta_trigger", "delta_s": 1e300}, "delta_s: .* out of range"),
        ({"kind": "delta_trigger", "delta_rel": {"moons": 1}}, "delta_rel: "),
        ({"kind": "events", "dates": ["tomorrow"]}, "dates: 'tomorrow' is not a date"),
        ({"kind": "events"}, "dates: expected a list"),
        ({"kind": "asset_or_time"}, "timetable: expected a dict"),
        ({"kind": "asset_or_time", "timetable": {"kind": "asset"}}, "timetable: asset timetables cannot be nested"),
        ({"kind": "custom"}, "classpath: expected text"),
    ],
)
def test_a_damaged_stored_form_names_the_field(stored: Any, message: str) -> None:
    with pytest.raises(InvalidSchedule, match=message):
        from_dict(stored)


@pytest.mark.parametrize(
    "timetable",
    [
        CronTrigger("0 0 * * *", "Europe/Paris", interval=DAY, run_immediately=True),
        CronTrigger("0 0 * * *", run_immediately=None),
        CronTrigger("0 0 * * *", run_immediately=timedelta(seconds=0.5)),
        MultiCron(("0 0 * * *", "@weekly"), "+05:30", interval=relativedelta(months=1)),
        DeltaTrigger(timedelta(seconds=1.5), interval=HOUR),
        DeltaInterval(relativedelta(months=1, day=31)),
        DeltaInterval(relativedelta(weeks=1, weekday=MO(1))),
        Events((at("2024-01-01"),), restrict_to_events=True, label="Finals"),
        AssetOrTime(CronTrigger("@daily")),
        Custom("my.timetables.Workdays", {"a": [1]}, {"summary": "Workdays", "active_runs_limit": 2}),
    ],
    ids=lambda timetable: timetable.kind,
)
def test_a_timetable_survives_being_stored(timetable: Timetable) -> None:
    assert from_dict(timetable.to_dict()) == timetable


# First runs


@pytest.mark.parametrize(
    ("run_immediately", "expected"),
    [
        (True, "2024-06-15T10:00"),
        (False, "2024-06-15T11:00"),
        (None, "2024-06-15T11:00"),
        (timedelta(minutes=30), "2024-06-15T10:00"),
        (timedelta(minutes=29), "2024-06-15T11:00"),
    ],
)
def test_without_a_start_date_run_immediately_picks_the_first_run(run_immediately: Any, expected: str) -> None:
    timetable = CronTrigger("0 * * * *", run_immediately=run_immediately)
    assert first_run(timetable) == first_run(timetable, catchup=True) == at(expected)


def test_run_immediately_none_allows_a_tenth_of_the_period() -> None:
    assert first_run(CronTrigger("0 9 * * *", run_immediately=None)) == at("2024-06-15T09:00")
    assert first_run(CronTrigger("0 8 * * *", run_immediately=None)) == at("2024-06-16T08:00")
    assert first_run(CronTrigger("*/10 * * * *", run_immediately=None)) == NOW


def test_a_start_date_overrules_run_immediately() -> None:
    timetable = CronTrigger("0 * * * *", run_immediately=False)
    assert first_run(timetable, earliest=at("2024-06-01")) == at("2024-06-15T10:00")
    assert first_run(timetable, catchup=True, earliest=at("2024-06-01")) == at("2024-06-01")


def test_a_start_date_between_ticks_by_a_microsecond_waits_for_the_next() -> None:
    start = at("2024-06-01") + timedelta(microseconds=1)
    assert first_run(CronTrigger("0 * * * *"), catchup=True, earliest=start) == at("2024-06-01T01:00")
    assert first_run(CronInterval("0 * * * *"), catchup=True, earliest=start) == at("2024-06-01T02:00")


def test_a_data_interval_schedule_without_start_date_catches_up_nothing() -> None:
    assert first_run(CronInterval("0 * * * *"), catchup=True) is None
    assert first_run(CronInterval("0 * * * *")) == at("2024-06-15T10:00")


def test_both_bounds_are_inclusive() -> None:
    def run(latest: datetime) -> object:
        restriction = Restriction(at("2024-06-01"), latest, catchup=True)
        return CronTrigger("0 0 * * *").next_run(last=None, restriction=restriction, now=NOW)

    assert run(at("2024-06-01")) is not None
    assert run(at("2024-06-01") - timedelta(microseconds=1)) is None


def test_a_changed_schedule_goes_on_from_the_tick_before_the_last_interval_ended() -> None:
    last = DataInterval(at("2024-06-10T05:00"), at("2024-06-10T06:00"))
    run = CronInterval("0 0 * * *").next_run(last=last, restriction=Restriction(None, None, True), now=NOW)
    assert run is not None
    assert run.data_interval == DataInterval(at("2024-06-10"), at("2024-06-11"))


def test_a_run_of_several_crons_at_one_moment_is_one_run() -> None:
    timetable = MultiCron(("0 6 * * *", "0 6 * * 1"))
    found = [run.run_after for run in preview(timetable, at("2024-06-16T12:00"), 3)]
    assert found == [at("2024-06-17T06:00"), at("2024-06-18T06:00"), at("2024-06-19T06:00")]


def test_monthly_intervals_without_catchup_stay_on_the_day_of_the_start_date() -> None:
    run = DeltaInterval(relativedelta(months=1)).next_run(
        last=None, restriction=Restriction(at("2000-01-05"), None, False), now=NOW
    )
    assert run is not None
    assert run.data_interval == DataInterval(at("2024-05-05"), at("2024-06-05"))


@given(
    seconds=st.integers(1, 40 * 86400),
    now=st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
    age=st.timedeltas(timedelta(), timedelta(days=4000)),
    catchup=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_delta_runs_move_forward_and_never_start_before_the_start_date(
    seconds: int, now: datetime, age: timedelta, catchup: bool
) -> None:
    start = now - age
    for timetable in (DeltaTrigger(timedelta(seconds=seconds)), DeltaInterval(timedelta(seconds=seconds))):
        last, previous = None, None
        for _ in range(4):
            run = timetable.next_run(last=last, restriction=Restriction(start, None, catchup), now=now)
            assert run is not None
            assert run.data_interval is not None
            assert run.logical_date is not None
            assert run.logical_date >= start
            assert previous is None or run.run_after > previous
            last, previous = run.data_interval, run.run_after


# Manual runs


@pytest.mark.parametrize(
    ("timetable", "start", "end"),
    [
        (Null(), NOW, NOW),
        (Once(), NOW, NOW),
        (CronTrigger("0 0 * * *"), NOW, NOW),
        (CronTrigger("0 0 * * *", interval=DAY), NOW - DAY, NOW),
        (CronInterval("0 0 * * *"), at("2024-06-14"), at("2024-06-15")),
        (CronInterval("30 10 * * *"), NOW - DAY, NOW),
        (DeltaInterval(HOUR), NOW - HOUR, NOW),
        (DeltaTrigger(HOUR), NOW, NOW),
        (Events((at("2024-06-01"), at("2024-07-01"))), NOW, NOW),
        (Events((at("2024-06-01"), at("2024-07-01")), restrict_to_events=True), at("2024-06-01"), at("2024-06-01")),
        (Events((at("2024-07-01"),), restrict_to_events=True), at("2024-07-01"), at("2024-07-01")),
        (AssetOrTime(CronInterval("0 0 * * *")), at("2024-06-14"), at("2024-06-15")),
    ],
)
def test_a_manual_run_gets_its_interval(timetable: Timetable, start: datetime, end: datetime) -> None:
    in_another_zone = NOW.astimezone(ZoneInfo("Asia/Tokyo"))
    assert timetable.infer_manual_data_interval(in_another_zone) == DataInterval(start, end)


# Kinds without a rhythm


def test_only_the_continuous_schedule_limits_active_runs() -> None:
    assert from_schedule("@continuous").active_runs_limit == 1
    assert from_schedule("@daily").active_runs_limit is None
    assert AssetOrTime(from_schedule("@continuous")).active_runs_limit == 1


def test_schedules_say_whether_they_run_by_themselves() -> None:
    asset = from_dict({"kind": "asset"})
    assert [t.can_be_scheduled for t in (Null(), asset, Once())] == [False, True, True]
    assert [t.periodic for t in (Null(), asset, Once(), CronTrigger("@daily"))] == [False, False, False, True]


def test_assets_never_run_by_the_clock_unless_a_timetable_is_given_too() -> None:
    assert first_run(from_dict({"kind": "asset"})) is None
    assert first_run(AssetOrTime(CronTrigger("0 * * * *")), earliest=at("2024-06-01")) == at("2024-06-15T10:00")


def test_a_custom_timetable_is_not_asked_here() -> None:
    custom = from_dict({"kind": "custom", "classpath": "my.Workdays", "data": {}, "description": "Workdays"})
    with pytest.raises(PlannedElsewhere, match=r"my\.Workdays"):
        first_run(custom)
    assert schedule_in_words(custom) == "Workdays"
    assert preview(custom, NOW, 3) == []


def test_events_are_sorted_and_told_apart() -> None:
    events = Events((at("2024-07-02"), at("2024-07-01"), at("2024-07-02")))
    assert events.summary == "2 events"
    assert [run.run_after for run in preview(events, NOW, 5)] == [at("2024-07-01"), at("2024-07-02")]


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="need aware datetimes"):
        Null().infer_manual_data_interval(datetime(2024, 1, 1))


# Previews and words


def test_a_preview_shows_what_comes_and_not_what_was_missed() -> None:
    found = [run.run_after for run in preview(CronTrigger("0 6 * * *"), NOW, 2, earliest=at("2020-01-01"))]
    assert found == [at("2024-06-16T06:00"), at("2024-06-17T06:00")]
    intervals = preview(CronInterval("0 6 * * *"), NOW, 1)
    assert intervals[0].data_interval == DataInterval(at("2024-06-15T06:00"), at("2024-06-16T06:00"))


def test_a_preview_counts_on_from_the_last_run_and_ends_at_the_end_date() -> None:
    last = DataInterval.exact(NOW - timedelta(minutes=20))
    found = [run.run_after for run in preview(DeltaTrigger(HOUR), NOW, 9, last=last, latest=NOW + 2 * HOUR)]
    assert found == [NOW + timedelta(minutes=40), NOW + timedelta(minutes=100)]


@pytest.mark.parametrize("schedule", [None, "@continuous"])
def test_schedules_without_planned_moments_have_an_empty_preview(schedule: str | None) -> None:
    assert preview(from_schedule(schedule), NOW, 3) == []


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("0 6 * * *", "Every day at 06:00 (Europe/Paris)"),
        ("0 6,18 * * *", "Every day at 06:00 and 18:00 (Europe/Paris)"),
        ("*/15 * * * *", "Every 15 minutes (Europe/Paris)"),
        ("30 * * * *", "Every hour at minute 30 (Europe/Paris)"),
        ("0 */4 * * *", "Every 4 hours (Europe/Paris)"),
        ("@hourly", "Every hour (Europe/Paris)"),
        ("@weekly", "Every Sunday at 00:00 (Europe/Paris)"),
        ("*/10 9-17 * * 1-5", "Every 10 minutes, from 09:00 to 17:59, Monday to Friday (Europe/Paris)"),
        ("0 0 1,15 * *", "On the 1st and 15th of the month at 00:00 (Europe/Paris)"),
        ("0 0 L * *", "On the last day of the month at 00:00 (Europe/Paris)"),
        ("0 8 * * mon#1", "On the first Monday of the month at 08:00 (Europe/Paris)"),
        ("0 0 13 * 5", "On the 13th of the month or every Friday at 00:00 (Europe/Paris)"),
        ("0 0 1 1 *", "On the 1st of the month at 00:00, in January (Europe/Paris)"),
        ("0 0 1 1 * 0 2027", "On the 1st of the month at 00:00, in January, in 2027 (Europe/Paris)"),
        ("* * * * * */10", "Every 10 seconds of every minute (Europe/Paris)"),
        (HOUR, "Every hour"),
        (timedelta(minutes=90), "Every 90 minutes"),
        (relativedelta(months=1), "Every month"),
        (timedelta(days=1, hours=12), "Every 1 day and 12 hours"),
        (None, "Never, external triggers only"),
        ("@continuous", "As frequently as possible, but only one run at a time"),
    ],
)
def test_a_schedule_is_told_in_words(schedule: object, words: str) -> None:
    assert schedule_in_words(from_schedule(schedule, timezone="Europe/Paris")) == words


def test_several_schedules_are_told_in_one_sentence() -> None:
    words = MultiCron(("0 3 * * *", "30 15 * * 1-5", "@hourly")).words
    assert words == "Every day at 03:00; Monday to Friday at 15:30; every hour (UTC)"
    assert AssetOrTime(CronTrigger("@daily")).words == "When assets change, or every day at 00:00 (UTC)"


@pytest.mark.parametrize(
    ("schedule", "summary", "description"),
    [
        ("30 3 * * *", "30 3 * * *", "At 03:30"),
        ("@daily", "0 0 * * *", "At 00:00"),
        ("0 * * * *", "0 * * * *", "Every hour"),
        ("*/5 9-17 * * 1-5", "*/5 9-17 * * 1-5", "Every 5 minutes, between 09:00 and 17:59, Monday through Friday"),
        ("@quarterly", "0 0 1 */3 *", "At 00:00, on day 1 of the month, every 3 months"),
        ("0 0 13 * 5", "0 0 13 * 5", "At 00:00, on day 13 of the month (or) At 00:00, only on Friday"),
        ("0 0 * * L5", "0 0 * * L5", "At 00:00, on the last Friday of the month"),
        ("0 0 * * * 30", "0 0 * * * 30", ""),
        ("@once", "@once", "Once, as soon as possible"),
        (None, None, "Never, external triggers only"),
        (timedelta(days=1), "1 day, 0:00:00", ""),
    ],
)
def test_the_api_says_what_airflow_says(schedule: object, summary: str | None, description: str) -> None:
    timetable = from_schedule(schedule)
    assert (timetable.summary, timetable.description) == (summary, description)


# Run ids


def test_a_run_id_is_the_type_and_the_moment() -> None:
    in_paris = NOW.astimezone(ZoneInfo("Europe/Paris"))
    assert generate_run_id("scheduled", in_paris, logical_date=NOW) == "scheduled__2024-06-15T10:30:00+00:00"
    assert generate_run_id(RunType.MANUAL, NOW, None, "aB3dE6gH") == "manual__2024-06-15T10:30:00+00:00_aB3dE6gH"


def test_a_run_without_logical_date_needs_something_random() -> None:
    with pytest.raises(ValueError, match="random suffix"):
        generate_run_id("asset_triggered", NOW)


@pytest.mark.parametrize("run_type", list(RunType))
def test_every_generated_run_id_is_allowed_and_tells_its_type(run_type: RunType) -> None:
    run_id = generate_run_id(run_type, NOW + timedelta(microseconds=7), None, "aB3dE6gH")
    assert run_type_of(run_id) is run_type
    assert validate_run_id(run_id, run_type=run_type) == run_id


@pytest.mark.parametrize(
    ("run_id", "message"),
    [
        ("", "must be text"),
        ("x" * 251, "251 characters"),
        ("a..b", "'..'"),
        ("a/b", "does not match"),
        ("a b", "does not match"),
        ("scheduled__x", "reserved for scheduled runs"),
        ("backfill__x", "reserved for backfill runs"),
    ],
)
def test_a_run_id_that_cannot_be_used_says_why(run_id: str, message: str) -> None:
    with pytest.raises(InvalidRunId, match=message):
        validate_run_id(run_id)


def test_the_allowed_pattern_can_be_changed_but_generated_ids_stay_allowed() -> None:
    assert validate_run_id("manual__2024-06-15T10:30:00+00:00", pattern="^only$")
    assert validate_run_id("a b", pattern=r"^[a-z ]+$") == "a b"
    with pytest.raises(InvalidRunId, match="does not match"):
        validate_run_id("r1", pattern="")
