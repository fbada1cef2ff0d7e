"""Assets, aliases, conditions and `@asset`; timetables as authors write them."""

from __future__ import annotations

import datetime as dt
import textwrap

import pytest

from trackside.core.timetables import from_dict
from trackside.sdk import (
    DAG,
    Asset,
    AssetAlias,
    AssetOrTimeSchedule,
    CronDataIntervalTimetable,
    CronPartitionTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
    EventsTimetable,
    IdentityMapper,
    MultipleCronTriggerTimetable,
    PartitionedAssetTimetable,
    PartitionedAtRuntime,
    StartOfDayMapper,
    task,
)
from trackside.sdk.parsing import load_file
from trackside.sdk.serialization import to_spec
from trackside.sdk.timetables import BaseTimetable


def test_name_and_uri_stand_in_for_each_other():
    assert (Asset("a").name, Asset("a").uri, Asset("a").group) == ("a", "a", "asset")
    assert (Asset(uri="s3://b/k").name, Asset(uri="s3://b/k").uri) == ("s3://b/k", "s3://b/k")
    with pytest.raises(TypeError, match="'name' or 'uri'"):
        Asset()


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("s3://bucket/key", "s3://bucket/key"),
        ("postgres://user:secret@host/db/t", "postgres://user@host/db/t"),
        ("https://h/p?b=2&a=1#top", "https://h/p?a=1&b=2"),
        ("plain name", "plain name"),
        ("file:///a/b", "file:///a/b"),
    ],
)
def test_uris_lose_passwords_and_fragments_and_sort_their_query(written, kept):
    assert Asset("n", uri=written).uri == kept


@pytest.mark.parametrize(
    "bad",
    [{"name": ""}, {"name": "x" * 1501}, {"name": "self"}, {"name": "a", "uri": "airflow://x"}, {"name": "ä"}, {"name": 5}],
)
def test_names_that_cannot_be_kept_are_refused(bad):
    with pytest.raises(ValueError, match=r"(?i)asset"):
        Asset(**bad)


def test_assets_are_equal_by_name_and_uri():
    assert Asset("a", extra={"x": 1}) == Asset("a")
    assert len({Asset("a"), Asset("a"), Asset("a", uri="s3://x/a")}) == 2
    assert AssetAlias("a") != Asset("a")


def test_conditions_flatten_only_their_own_kind():
    a, b, c = Asset("a"), Asset("b"), Asset("c")
    assert [len(x.objects) for x in ((a & b & c), (a & (b | c)))] == [3, 2]
    assert [asset.name for _, asset in ((a & b) | (a & c)).iter_assets()] == ["a", "b", "c"]
    with pytest.raises(TypeError):
        a & "b"


def test_inlets_and_outlets_are_stored_with_all_they_say():
    with DAG("d") as d:

        @task(inlets=[Asset.ref(name="far")], outlets=[Asset("a", group="g", extra={"k": 1}), AssetAlias("al")])
        def work():
            return 1

        work()
    t = to_spec(d).tasks[0]
    assert t.inlets == [{"type": "asset_ref", "name": "far"}]
    assert t.outlets == [
        {"type": "asset", "name": "a", "uri": "a", "group": "g", "extra": {"k": 1}},
        {"type": "alias", "name": "al", "group": "asset"},
    ]


def test_the_decorator_makes_a_dag_of_one_task_with_the_asset_as_outlet(tmp_path):
    (tmp_path / "f.py").write_text(
        textwrap.dedent("""
        from airflow.sdk import Asset, asset

        @asset(schedule="@daily", uri="s3://b/made", group="g", tags=["t"])
        def made(self, context, other):
            "What it is."
            return self.name

        @asset.multi(schedule=made, outlets=[Asset("x"), Asset("y")])
        def both(outlet_events):
            return 1
        """)
    )
    loaded = load_file(tmp_path / "f.py")
    assert not loaded.errors, loaded.errors
    one, two = (to_spec(d) for d in loaded.dags)
    assert (one.dag_id, one.doc_md, one.tags, [t.task_id for t in one.tasks]) == ("made", "What it is.", ["t"], ["made"])
    assert one.tasks[0].outlets[0]["uri"] == "s3://b/made"
    assert {"type": "asset_ref", "name": "other"} in one.tasks[0].inlets
    assert two.timetable["condition"]["asset"]["name"] == "made"
    assert [o["name"] for o in two.tasks[0].outlets] == ["x", "y"]


def test_the_decorator_refuses_what_cannot_be_named(tmp_path):
    (tmp_path / "f.py").write_text("from airflow.sdk import asset\n@asset(schedule=None)\ndef made(**kwargs):\n    return 1\n")
    errors = load_file(tmp_path / "f.py").errors
    assert "wildcard parameter" in errors[0].message
    assert errors[0].line == 2


# Timetables


@pytest.mark.parametrize(
    ("timetable", "stored"),
    [
        (
            CronTriggerTimetable("0 6 * * 1", timezone="UTC", interval=dt.timedelta(days=7), run_immediately=True),
            {"kind": "cron_trigger", "cron": "0 6 * * 1", "timezone": "UTC", "interval_s": 604800, "run_immediately": True},
        ),
        (
            MultipleCronTriggerTimetable("0 3 * * *", "30 15 * * *", timezone=dt.timezone(dt.timedelta(hours=2))),
            {"kind": "multi_cron", "crons": ["0 3 * * *", "30 15 * * *"], "timezone": "+02:00"},
        ),
        (CronDataIntervalTimetable("@daily", timezone="UTC"), {"kind": "cron_interval", "cron": "@daily", "timezone": "UTC"}),
        (DeltaTriggerTimetable(dt.timedelta(hours=1)), {"kind": "delta_trigger", "delta_s": 3600}),
        (DeltaDataIntervalTimetable(dt.timedelta(hours=1)), {"kind": "delta_interval", "delta_s": 3600}),
    ],
)
def test_timetables_are_stored_as_the_scheduler_reads_them(timetable, stored):
    assert timetable.to_spec() == stored
    assert from_dict(timetable.to_spec()).to_dict() == stored
    assert timetable.summary == from_dict(stored).summary


def test_listed_moments_are_stored_sorted():
    table = EventsTimetable([dt.datetime(2024, 4, 4, tzinfo=dt.UTC), dt.datetime(2024, 2, 2, tzinfo=dt.UTC)], description="two")
    assert [d[:10] for d in table.to_spec()["dates"]] == ["2024-02-02", "2024-04-04"]
    assert table.summary == "two"


def test_asset_or_time_has_both():
    table = AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 6 * * *", timezone="UTC"), assets=Asset("a") & Asset("b"))
    spec = to_spec(DAG("d", schedule=table)).timetable
    assert (spec["kind"], spec["timetable"]["cron"], len(spec["condition"]["all"])) == ("asset_or_time", "0 6 * * *", 2)
    assert from_dict(spec).kind == "asset_or_time"
    assert to_spec(DAG("d", schedule=table)).asset_expression == spec["condition"]


def test_partition_timetables_are_represented():
    cron = CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1)
    assert {k: cron.to_spec()[k] for k in ("kind", "cron", "run_offset", "key_format")} == {
        "kind": "cron_partition",
        "cron": "0 0 * * *",
        "run_offset": -1,
        "key_format": "%Y-%m-%dT%H:%M:%S",
    }
    assert from_dict(cron.to_spec()).to_dict() == cron.to_spec()
    assert (from_dict(cron.to_spec()).summary, from_dict(PartitionedAtRuntime().to_spec()).can_be_scheduled) == ("0 0 * * *", False)
    keyed = PartitionedAssetTimetable(assets=Asset("a"), partition_mapper_config={Asset("a"): StartOfDayMapper(timezone="UTC")})
    spec = keyed.to_spec()
    assert (spec["kind"], from_dict(spec).summary) == ("partitioned_asset", "Partitioned Asset")
    assert spec["mappers"][0]["mapper"] == {"kind": "StartOfDayMapper"}
    assert spec["default_mapper"] == IdentityMapper().to_spec()


def test_own_timetables_are_stored_by_class_and_data():
    class Workdays(BaseTimetable):
        description = "Workdays only"

        def __init__(self, hour=6):
            self.hour = hour

        def serialize(self):
            return {"hour": self.hour}

    spec = to_spec(DAG("d", schedule=Workdays(7))).timetable
    assert (spec["kind"], spec["data"], spec["description"]) == ("custom", {"hour": 7}, "Workdays only")
    assert spec["classpath"].endswith("Workdays")
    assert from_dict(spec).words == "Workdays only"


@pytest.mark.parametrize(
    "make",
    [
        lambda: CronTriggerTimetable("61 * * * *", timezone="UTC"),
        lambda: CronTriggerTimetable("0 0 * * *", timezone="Nowhere/City"),
        lambda: MultipleCronTriggerTimetable(timezone="UTC"),
        lambda: DeltaTriggerTimetable(dt.timedelta(0)),
        lambda: CronPartitionTimetable("x", timezone="UTC"),
    ],
)
def test_wrong_timetables_are_refused_when_written(make):
    with pytest.raises(ValueError):
        make()
