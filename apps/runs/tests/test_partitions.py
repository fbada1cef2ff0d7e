"""Partitioned assets: keys of events become keys of the runs of their consumers, one run per key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings

from apps.access.models import AuditEvent
from apps.access.tests.resthelp import Api
from apps.dags import assets, catalogue
from apps.dags.models import Asset, Dag
from apps.runs import sql
from apps.runs.actions import creation
from apps.runs.assets import consumers, events, partitions
from apps.runs.assets.models import AssetEvent, PartitionNews, PendingPartition
from apps.runs.errors import ActionRefused
from apps.runs.models import Run
from apps.runs.tests.statements import statements
from apps.runs.tests.support import Worker, chain, dag, new_version, run, task, tick
from apps.runs.tests.support import woken as woken
from trackside.core.partitions import (
    AllowedKeyMapper,
    DayWindow,
    FanOutMapper,
    FixedKeyMapper,
    IdentityMapper,
    MinimumCount,
    PartitionMapper,
    ProductMapper,
    RollupMapper,
    SegmentWindow,
    StartOfDayMapper,
    StartOfHourMapper,
    StartOfWeekMapper,
    WeekWindow,
)
from trackside.core.spec import DagSpec

pytestmark = pytest.mark.django_db(transaction=True)
REGIONS = SegmentWindow(["us", "eu", "apac"])


def named(name: str) -> dict[str, Any]:
    return {"asset": {"name": name, "uri": f"s3://lake/{name}", "group": "asset"}}


def known(row: Dag) -> Dag:
    assert row.current_version is not None
    assets.store({row.dag_id: DagSpec.from_dict(row.current_version.spec)}, (), sql.now())
    return row


def producer(*names: str, dag_id: str = "producer", **fields: Any) -> Dag:
    outlets = [{"type": "asset", "extra": {}, **named(n)["asset"]} for n in names]
    return known(dag([task("make", outlets=outlets)], dag_id, timetable={"kind": "partitioned_at_runtime"}, **fields))


def schedule(condition: dict[str, Any], mapper: PartitionMapper, **own: PartitionMapper) -> dict[str, Any]:
    mappers = [{"asset": named(name), "mapper": m.to_spec()} for name, m in own.items()]
    return {"kind": "partitioned_asset", "condition": condition, "mappers": mappers, "default_mapper": mapper.to_spec()}


def consumer(condition: dict[str, Any], mapper: PartitionMapper, dag_id: str = "consumer", **own: PartitionMapper) -> Dag:
    timetable = schedule(condition, mapper, **own)
    return known(dag(chain("use"), dag_id, timetable=timetable, asset_expression=condition))


def produce(name: str, *keys: str, of: str | None = None, dag_id: str = "producer") -> Run:
    made = run(dag_id, partition_key=of)
    Worker(100).do(made, "make", asset_events=[{"name": name, "uri": f"s3://lake/{name}", "extra": {}, "partition_keys": list(keys)}])
    tick()
    return made


def keys_of(dag_id: str = "consumer") -> list[str | None]:
    return sorted(Run.objects.filter(dag_id=dag_id).values_list("partition_key", flat=True), key=str)


def complaints(action: str) -> list[str]:
    return [e.extra["message"] for e in AuditEvent.objects.filter(action=action)]


def test_every_key_makes_a_run_of_its_own_that_knows_key_date_and_events() -> None:
    producer("sales")
    consumer({"all": [named("sales")]}, ProductMapper(IdentityMapper(), StartOfDayMapper()))
    produce("sales", *(f"{region}|2026-06-14T03:00:00" for region in ("us", "eu", "apac", "us")))
    assert keys_of() == ["apac|2026-06-14", "eu|2026-06-14", "us|2026-06-14"]
    made = Run.objects.get(partition_key="eu|2026-06-14")
    assert (made.run_type, made.triggered_by, made.logical_date, made.state) == ("asset_triggered", "asset", None, "running")
    assert made.partition_date == datetime(2026, 6, 14, tzinfo=UTC)
    assert [e.partition_key for e in made.consumed_asset_events.all()] == ["eu|2026-06-14T03:00:00"]
    order = next(o for o in iter(Worker().take().values()) if o["run"]["partition_key"] == "apac|2026-06-14" or True)
    assert order["run"]["partition_date"].startswith("2026-06-14") and len(order["run"]["consumed_asset_events"]) == 1


def test_a_run_more_costs_what_a_run_costs_and_nothing_of_its_own_for_the_partition() -> None:
    producer("sales")
    consumer({"all": [named("sales")]}, IdentityMapper())
    counts = []
    for first, many in ((0, 1), (1, 5), (6, 15)):  # the first reads the specification
        keys = [f"k{n:02d}" for n in range(first, first + many)]
        outcome = {"name": "sales", "uri": "s3://lake/sales", "extra": {}, "partition_keys": keys}
        Worker(100).do(run("producer"), "make", asset_events=[outcome])
        with statements() as asked:
            assert partitions.create_runs(sql.now())[0] == many
        counts.append(len(asked))
    assert counts[2] - counts[1] == 10 * 2, "the run and its instances"
    assert len(keys_of()) == 21


def test_keys_start_no_plain_consumer_and_events_without_a_key_start_no_partitioned_one() -> None:
    producer("a")
    consumer({"all": [named("a")]}, IdentityMapper())
    condition = {"all": [named("a")]}
    known(dag(chain("use"), "plain", timetable={"kind": "asset", "condition": condition}, asset_expression=condition))
    produce("a", "k")
    assert (keys_of(), keys_of("plain")) == (["k"], [])
    produce("a")
    assert (keys_of(), keys_of("plain")) == (["k"], [None])
    assert "no partition key" in complaints("missing partition key")[0]


def test_the_runs_own_key_is_used_unless_the_task_names_others_and_its_date_is_carried() -> None:
    producer("a")
    consumer({"all": [named("a")]}, IdentityMapper())
    date = datetime(2026, 1, 1, tzinfo=UTC)
    made = run("producer", partition_key="x")
    Run.objects.filter(pk=made.pk).update(partition_date=date)
    Worker(100).do(made, "make", asset_events=[{"name": "a", "uri": "s3://lake/a", "extra": {}}])
    tick()
    produce("a", "y", of="x")
    assert dict(Run.objects.filter(dag_id="consumer").values_list("partition_key", "partition_date")) == {"x": date, "y": None}


def test_and_waits_until_all_assets_have_the_same_downstream_key() -> None:
    producer("a", "b")
    consumer({"all": [named("a"), named("b")]}, StartOfHourMapper())
    produce("a", "2026-01-01T05:10:00")
    produce("b", "2026-01-01T06:00:00")
    assert keys_of() == [] and PendingPartition.objects.filter(run=None).count() == 2
    produce("b", "2026-01-01T05:45:00")
    assert keys_of() == ["2026-01-01T05"]


def test_mappers_that_never_meet_never_start_a_run() -> None:
    producer("a", "b")
    consumer({"all": [named("a"), named("b")]}, StartOfDayMapper(), "consumer", b=StartOfHourMapper())
    produce("a", "2026-01-01T05:00:00")
    produce("b", "2026-01-01T05:00:00")
    assert keys_of() == []


def test_a_rollup_waits_for_its_whole_window() -> None:
    producer("a")
    consumer({"all": [named("a")]}, RollupMapper(upstream_mapper=StartOfDayMapper(), window=DayWindow()))
    hours = [f"2026-01-01T{hour:02}:00:00" for hour in range(24)]
    produce("a", *hours[:23], "2026-01-01T22:30:00")  # a key that is not in the window counts for nothing
    assert keys_of() == []
    produce("a", hours[23])
    assert keys_of() == ["2026-01-01"]
    assert Run.objects.get(dag_id="consumer").consumed_asset_events.count() == 25


@pytest.mark.parametrize(("count", "needed"), [(2, 2), (-1, 2), (4, None)])
def test_a_rollup_over_segments_starts_when_its_wait_policy_is_satisfied(count: int, needed: int | None) -> None:
    producer("a")
    everywhere = RollupMapper(upstream_mapper=FixedKeyMapper("all"), window=REGIONS, wait_policy=MinimumCount(count))
    consumer({"all": [named("a")]}, everywhere)
    for n, region in enumerate(("us", "eu", "apac"), 1):
        produce("a", region)
        if needed is None:
            assert keys_of() == []
        elif n >= needed:
            assert keys_of() == ["all"]
        else:
            assert keys_of() == []
    said = complaints("partition can never be complete")
    assert len(said) == (0 if needed else 3)
    if not needed:
        assert "asset a: MinimumCount(n=4) can never be satisfied: the window of 'all' has 3 keys" in said[0]


def test_one_event_fans_out_to_a_window_and_no_further_than_allowed() -> None:
    producer("a")
    week = FanOutMapper(upstream_mapper=StartOfWeekMapper(), window=WeekWindow())
    consumer({"all": [named("a")]}, week)
    consumer({"all": [named("a")]}, FanOutMapper(upstream_mapper=StartOfWeekMapper(), window=WeekWindow(), max_downstream_keys=6), "capped")
    produce("a", "2026-06-17T00:00:00")
    assert keys_of() == [f"2026-06-{day}" for day in range(15, 22)] and keys_of("capped") == []
    assert "7 downstream keys, more than the 6 allowed" in complaints("partition fan-out exceeded")[0]
    with override_settings(MAX_PARTITION_KEYS=3):
        produce("a", "2026-06-24T00:00:00")
    assert len(keys_of()) == 7


def test_a_key_that_cannot_be_mapped_is_noted_and_holds_up_nobody() -> None:
    producer("a")
    consumer({"all": [named("a")]}, AllowedKeyMapper(["us"]), "strict")
    consumer({"all": [named("a")]}, IdentityMapper(), "open")
    produce("a", "us", "mars")
    assert (keys_of("strict"), keys_of("open")) == (["us"], ["mars", "us"])
    assert "not in allowed keys" in complaints("failed to map partition_key")[0]


def test_a_second_event_of_a_key_makes_another_run_once_the_first_is_made() -> None:
    producer("a")
    consumer({"all": [named("a")]}, IdentityMapper())
    produce("a", "k")
    produce("a", "k")
    assert keys_of() == ["k", "k"]


def test_other_mappers_void_what_was_pending_other_edits_do_not() -> None:
    producer("a")
    rollup = RollupMapper(upstream_mapper=FixedKeyMapper("all"), window=REGIONS)
    row = consumer({"all": [named("a")]}, rollup)
    produce("a", "us")
    assert row.current_version is not None
    spec = DagSpec.from_dict(row.current_version.spec)
    spec.description = "new"
    new_version(row, spec, 2)
    produce("a", "eu")
    assert PendingPartition.objects.get(run=None).news.count() == 2
    fewer = schedule({"all": [named("a")]}, RollupMapper(upstream_mapper=FixedKeyMapper("all"), window=SegmentWindow(["us", "apac"])))
    Dag.objects.filter(pk="consumer").update(timetable=fewer)
    produce("a", "apac")
    assert keys_of() == [] and PartitionNews.objects.get().source_key == "apac"  # the others were written for other mappers
    produce("a", "us")
    assert keys_of() == ["all"]


def test_news_of_an_asset_that_is_not_active_any_more_freezes_what_waits_for_it() -> None:
    producer("a", "b")
    consumer({"all": [named("a"), named("b")]}, IdentityMapper())
    produce("a", "k")
    Asset.objects.filter(name="a").update(is_active=False)
    produce("b", "k")
    assert keys_of() == []
    Asset.objects.filter(name="a").update(is_active=True)
    consumers.settle(sql.now())
    tick()
    assert keys_of() == ["k"]


def test_a_paused_consumer_misses_keys_and_an_event_by_hand_may_have_one() -> None:
    producer("a")
    row = consumer({"all": [named("a")]}, IdentityMapper())
    Dag.objects.filter(pk=row.pk).update(is_paused=True)
    produce("a", "missed")
    Dag.objects.filter(pk=row.pk).update(is_paused=False)
    events.by_hand(Asset.objects.get(name="a"), {}, "by hand", sql.now())
    tick()
    assert keys_of() == ["by hand"]
    assert AssetEvent.objects.filter(partition_key="missed").exists()


def test_a_cron_schedule_of_partitions_makes_runs_with_key_and_date_but_no_logical_date() -> None:
    timetable = {"kind": "cron_partition", "cron": "0 0 * * *", "timezone": "Asia/Taipei", "run_offset": -1}
    row = dag(chain("make"), "daily", timetable=timetable, catchup=True)
    start = datetime(2026, 1, 10, 16, tzinfo=UTC)  # midnight in Taipei
    row.start_date, row.end_date = start, start + timedelta(days=1)
    catalogue.schedule_next(row, None, sql.now())
    row.save()
    tick(3)
    found = list(Run.objects.filter(dag_id="daily").order_by("run_after"))
    assert [r.partition_key for r in found] == ["2026-01-10T00:00:00", "2026-01-11T00:00:00"]
    assert [r.partition_date for r in found] == [start - timedelta(days=1), start]
    assert all(r.logical_date is None and r.data_interval_start is None and r.run_type == "scheduled" for r in found)
    assert found[0].run_id.startswith("scheduled__2026-01-10T16:00:00+00:00__2026-01-10T00:00:00__")


def test_by_hand_only_a_partitioned_dag_takes_a_key_and_only_one_it_can_have() -> None:
    dag(chain("t"), "plain")
    producer("a")
    consumer({"all": [named("a")]}, StartOfDayMapper())
    dag(chain("t"), "daily", timetable={"kind": "cron_partition", "cron": "0 0 * * *", "timezone": "UTC"})
    assert run("producer", partition_key="anything").partition_date is None
    assert run("consumer", partition_key="2026-01-02").partition_date == datetime(2026, 1, 2, tzinfo=UTC)
    assert run("daily", partition_key="2026-01-02T00:00:00").partition_date == datetime(2026, 1, 2, tzinfo=UTC)
    for dag_id, key in (("plain", "k"), ("producer", " "), ("producer", "k" * 251), ("consumer", "soon"), ("daily", "2026-01-02")):
        with pytest.raises(ActionRefused) as refused:
            creation.trigger(dag_id, actor=_nobody(), partition_key=key)
        assert refused.value.status == 400 and refused.value.field == "partition_key"


def _nobody() -> Any:
    from apps.access.audit import Actor

    return Actor("nobody", "test")


def test_over_rest_runs_forget_their_partition_by_key_by_id_and_by_day() -> None:
    producer("a")
    consumer({"all": [named("a")]}, StartOfDayMapper())
    days = ["2026-01-01", "2026-01-02", "2026-01-03"]
    for day in days:
        run("consumer", partition_key=day)
    api = Api("User")

    def clear(**body: Any) -> Any:
        return api("POST", "/dags/consumer/clearPartitions", body)[1]

    assert clear(partition_key=days[0]) == {"dag_runs_cleared": 1, "task_instances_cleared": 0, "dry_run": True}
    assert clear(partition_date_start="2026-01-02T00:00:00")["dag_runs_cleared"] == 2
    assert clear(partition_key=days[0], dry_run=False, clear_task_instances=True)["task_instances_cleared"] == 1
    assert keys_of() == [*days[1:], None]
    named_run = Run.objects.get(partition_key=days[1])
    assert clear(run_id=named_run.run_id, dry_run=False)["dag_runs_cleared"] == 1
    assert clear(run_id=named_run.run_id, dry_run=False)["dag_runs_cleared"] == 0
    assert keys_of() == [days[2], None, None]
    backwards = {"partition_date_start": "2026-02-01T00:00:00", "partition_date_end": "2026-01-01T00:00:00"}
    for wrong in ({}, {"run_id": "x", "partition_key": "y"}, backwards):
        assert api("POST", "/dags/consumer/clearPartitions", wrong)[0] == 422
    assert api("POST", "/dags/nowhere/clearPartitions", {"partition_key": "x"})[0] == 404
    assert Api("Viewer")("POST", "/dags/consumer/clearPartitions", {"partition_key": "x"})[0] == 403
