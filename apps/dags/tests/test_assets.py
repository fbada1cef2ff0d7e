"""What storing DAG versions does to the catalogue's assets: who refers to them, which are active, what conflicts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.dags import assets, catalogue
from apps.dags.models import Asset, AssetAlias, AssetUse, Dag, DagFile, DagWarning
from trackside.core.asset_conditions import News, leaves, met
from trackside.core.spec import DagSpec, TaskSpec
from trackside.runner.parsing import ParseResult

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def full(name: str, uri: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"type": "asset", "name": name, "uri": uri or f"s3://{name}", "group": "asset", "extra": {}, **fields}


def named(name: str, uri: str | None = None) -> dict[str, Any]:
    return {"asset": {"name": name, "uri": uri or f"s3://{name}", "group": "asset"}}


def maker(dag_id: str, *outlets: dict[str, Any], inlets: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return DagSpec(dag_id, fileloc="/dags/x.py", tasks=[TaskSpec("t", outlets=list(outlets), inlets=list(inlets))]).to_dict()


def waiter(dag_id: str, condition: dict[str, Any], **fields: Any) -> dict[str, Any]:
    timetable = {"kind": "asset", "condition": condition}
    return DagSpec(dag_id, fileloc="/dags/x.py", tasks=[TaskSpec("t")], timetable=timetable, asset_expression=condition, **fields).to_dict()


@pytest.fixture
def file(tmp_path: Path) -> DagFile:
    (tmp_path / "x.py").touch()
    return DagFile.objects.create(relative_path="x.py", path=str(tmp_path / "x.py"))


def store(file: DagFile, *dags: dict[str, Any], now: datetime = NOW) -> None:
    found = ParseResult("/dags/x.py", list(dags), [], content_hash=str(len(str(dags))), sources={"/dags/x.py": ""})
    catalogue.store_parse_result(file, found, now=now)


def active() -> list[str]:
    return sorted(Asset.objects.filter(is_active=True).values_list("name", flat=True))


def uses() -> list[tuple[Any, ...]]:
    return sorted(
        (u.dag_id, u.kind, u.task_id, (u.asset and u.asset.name) or (u.alias and f"alias {u.alias.name}") or u.ref_name or u.ref_uri)
        for u in AssetUse.objects.select_related("asset", "alias")
    )


def conflicts() -> dict[str, str]:
    return dict(DagWarning.objects.filter(kind=assets.CONFLICT).values_list("dag_id", "message"))


def test_a_file_tells_what_its_dags_write_read_and_wait_for(file: DagFile) -> None:
    condition = {"any": [named("a"), {"all": [{"alias": {"name": "al", "group": "g"}}, {"asset_ref": {"uri": "s3://z"}}]}]}
    store(
        file,
        maker("m", full("a", group="lake", extra={"team": 1}), {"type": "alias", "name": "al", "group": "g"}, inlets=(full("b"),)),
        waiter("w", condition),
    )
    assert uses() == [
        ("m", "inlet", "t", "b"), ("m", "outlet", "t", "a"), ("m", "outlet", "t", "alias al"),
        ("w", "schedule", "", "a"), ("w", "schedule", "", "alias al"), ("w", "schedule", "", "s3://z"),
    ]  # fmt: skip
    a = Asset.objects.get(name="a")
    assert (a.uri, a.group, a.extra, a.created_at) == ("s3://a", "lake", {"team": 1}, NOW)
    assert AssetAlias.objects.get().group == "g"
    assert active() == ["a", "b"]


def test_the_schedule_may_define_more_than_names(file: DagFile) -> None:
    watcher = {"name": "w", "classpath": "x.Y", "kwargs": {}}
    store(file, waiter("w", {"all": [named("a")]}, schedule_assets=[full("a", extra={"k": 1}, watchers=[watcher])]))
    asset = Asset.objects.get()
    assert (asset.extra, asset.watchers) == ({"k": 1}, [watcher])


def test_a_changed_file_changes_definitions_and_references_and_keeps_what_stays(file: DagFile) -> None:
    store(file, maker("m", full("a"), full("b")))
    before = AssetUse.objects.get(asset__name="a")
    store(file, maker("m", full("a", extra={"x": 1}), full("c")), now=NOW + timedelta(minutes=1))
    assert uses() == [("m", "outlet", "t", "a"), ("m", "outlet", "t", "c")]
    assert AssetUse.objects.get(asset__name="a").pk == before.pk
    assert Asset.objects.get(name="a").extra == {"x": 1}
    assert active() == ["a", "c"]


def test_an_asset_nobody_refers_to_is_not_active_and_comes_back(file: DagFile) -> None:
    store(file, maker("m", full("a")))
    store(file, maker("m"))
    assert active() == [] and Asset.objects.count() == 1
    store(file, maker("m", full("a")))
    assert active() == ["a"]


def test_a_dag_that_is_gone_takes_its_assets_out_and_a_deleted_one_at_the_next_look(file: DagFile) -> None:
    store(file, maker("m", full("a")), maker("n", full("b")))
    store(file, maker("n", full("b")))
    assert active() == ["b"]
    store(file, maker("m", full("a")), maker("n", full("b")))
    assert active() == ["a", "b"]
    Dag.objects.filter(pk="n").delete()
    assets.settle(NOW + timedelta(seconds=1))
    assert active() == ["a"]


def test_of_two_assets_with_one_name_or_uri_the_first_stays_and_the_others_dag_is_warned(file: DagFile) -> None:
    store(file, maker("first", full("a", "s3://1")))
    store(file, maker("first", full("a", "s3://1")), maker("name", full("a", "s3://2")), maker("uri", full("b", "s3://1")))
    assert list(Asset.objects.filter(is_active=True).values_list("name", "uri")) == [("a", "s3://1")]
    assert sorted(conflicts()) == ["name", "uri"]
    assert "already taken by an asset with the URI s3://1" in conflicts()["name"]
    assert "already taken by the asset a" in conflicts()["uri"]
    store(file, maker("first"), maker("name", full("a", "s3://2")), maker("uri", full("b", "s3://1")))
    assert sorted(Asset.objects.filter(is_active=True).values_list("name", "uri")) == [("a", "s3://2"), ("b", "s3://1")]
    assert conflicts() == {}


def test_names_and_uris_as_long_as_allowed_are_kept(file: DagFile) -> None:
    long = "ü" * 1500
    store(file, maker("m", full(long, "s3://" + "x" * 1490)), waiter("w", {"all": [{"asset_ref": {"name": long}}]}))
    assert active() == [long]


def test_dags_without_assets_cost_no_statement(file: DagFile) -> None:
    store(file, maker("plain"), maker("m", full("a")))
    with CaptureQueriesContext(connection) as queries:
        assets.store({"new": DagSpec.from_dict(maker("new"))}, {"new"}, NOW)
    assert len(queries) == 0
    with CaptureQueriesContext(connection) as queries:
        assets.store({"plain": DagSpec.from_dict(maker("plain"))}, (), NOW)
    assert len(queries) == 1


def test_storing_the_same_again_asks_nothing_of_assets(file: DagFile) -> None:
    store(file, maker("m", full("a")))
    with CaptureQueriesContext(connection) as queries:
        store(file, maker("m", full("a")))
    assert not [q for q in queries if "dags_asset" in q["sql"]]


CONDITION = {"any": [{"all": [named("a"), {"alias": {"name": "al"}}]}, {"asset_ref": {"name": "c"}}, {"asset_ref": {"uri": "s3://d"}}]}


@pytest.mark.parametrize(
    ("news", "wanted"),
    [
        ([], False),
        ([News("a", "s3://a")], False),
        ([News("x", "s3://x", frozenset({"al"}))], False),
        ([News("a", "s3://a"), News("x", "s3://x", frozenset({"al"}))], True),
        ([News("a", "s3://other"), News("x", "s3://x", frozenset({"al"}))], False),
        ([News("c", "s3://c")], True),
        ([News("other", "s3://d")], True),
    ],
)
def test_conditions(news: list[News], wanted: bool) -> None:
    assert met(CONDITION, news) is wanted


def test_conditions_that_say_nothing_are_never_met() -> None:
    nothing: list[dict[str, Any] | None] = [None, {}, {"all": []}, {"any": []}, {"unknown": 1}]
    for condition in nothing:
        assert not met(condition, [News("a", "s3://a")])
        assert list(leaves(condition)) == []
