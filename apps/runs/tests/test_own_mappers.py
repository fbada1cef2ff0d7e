"""Partition mappers of the user's class: a child of the parse server maps the key, the answer becomes runs or a line in the audit trail.

A rollup by mappers, windows or policies of the user's: the child says what the run waits for, the server judges by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.access.models import AuditEvent
from apps.dags import assets
from apps.dags.models import Dag
from apps.runs import processes, sql
from apps.runs.assets.models import AssetEvent, PendingPartition
from apps.runs.errands import desk
from apps.runs.errands.models import Errand
from apps.runs.errands.service import _unpack
from apps.runs.models import Run
from apps.runs.tests.support import Worker, chain, dag, run, task, tick
from apps.runs.tests.support import woken as woken
from trackside.core.spec import DagSpec
from trackside.runner.parsing import ParseServer, ParseSettings

pytestmark = pytest.mark.django_db(transaction=True)
FILE = """
from datetime import UTC, datetime
from airflow.sdk import DAG, Asset, FanOutMapper, IdentityMapper, MinimumCount, PartitionedAssetTimetable, PartitionMapper
from airflow.partition_mappers.wait_policy import WaitPolicy
from airflow.sdk import RollupMapper
from airflow.sdk.definitions.partition_mappers.window import Window
from airflow.providers.standard.operators.empty import EmptyOperator

class Regions(PartitionMapper):
    def __init__(self, suffix):
        super().__init__()
        self.suffix = suffix

    def to_downstream(self, key):
        if key == "odd":
            raise LookupError("no such region")
        return [f"{part}{self.suffix}" for part in key.split("+")]

    def to_partition_date(self, key):
        return datetime(2026, 5, 1, tzinfo=UTC)

    def serialize(self):
        return {"suffix": self.suffix}

news = Asset(name="news", uri="s3://lake/news")
with DAG("consumer", schedule=PartitionedAssetTimetable(assets=news, default_partition_mapper=Regions("!"))) as consumer:
    EmptyOperator(task_id="use")

class Area(PartitionMapper):
    def to_downstream(self, key):
        return key.split("/")[0].upper()

    def decode_downstream(self, area):
        return area.lower()

    def encode_upstream(self, shop):
        return shop

class Shops(Window):
    def to_upstream(self, area):
        return [f"{area}/{number}" for number in (1, 2, 3)]

class Half(WaitPolicy):
    def is_satisfied(self, matched, expected):
        return matched * 2 >= expected

rolled = RollupMapper(upstream_mapper=Area(), window=Shops(), wait_policy=MinimumCount(-1))
with DAG("rolling", schedule=PartitionedAssetTimetable(assets=news, partition_mapper_config={news: rolled})) as rolling:
    EmptyOperator(task_id="use")

class Areas(Window):
    def to_upstream(self, country):
        return ["NORTH", "SOUTH"]

class Halves(Window):
    def to_upstream(self, area):
        return ["a", "b"]

fan_out = FanOutMapper(upstream_mapper=IdentityMapper(), window=Areas(), downstream_mapper=IdentityMapper())
fanned = RollupMapper(upstream_mapper=fan_out, window=Halves())
with DAG("both", schedule=PartitionedAssetTimetable(assets=news, default_partition_mapper=fanned)):
    EmptyOperator(task_id="use")
stock = Asset(name="stock", uri="s3://lake/stock")
per_asset = {
    news: RollupMapper(upstream_mapper=Area(), window=Shops(), wait_policy=Half()),
    stock: fan_out,
}
with DAG("joined", schedule=PartitionedAssetTimetable(assets=news & stock, partition_mapper_config=per_asset)) as joined:
    EmptyOperator(task_id="use")
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dags") / "consumer.py"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def children(file: Path) -> Iterator[ParseServer]:
    it = ParseServer(ParseSettings(dags_folder=str(file.parent), preload_below=[], primer=False))
    yield it
    it.close()


@pytest.fixture
def known(file: Path, children: ParseServer) -> dict[str, Any]:
    """The DAGs as their file says, and a producer."""
    said = children.parse(str(file))
    assert not said.errors, said.errors
    outlets = [{"type": "asset", "extra": {}, "name": name, "uri": f"s3://lake/{name}", "group": "asset"} for name in ("news", "stock")]
    rows = [dag([task("make", outlets=outlets)], "producer", timetable={"kind": "partitioned_at_runtime"})]
    for found in said.dags:
        fields = {"timetable": found["timetable"], "asset_expression": found.get("asset_expression")}
        rows.append(dag(chain("use"), found["dag_id"], **fields))
    specs = {r.dag_id: DagSpec.from_dict(r.current_version.spec) for r in rows if r.current_version}
    assets.store(specs, (), sql.now())
    Dag.objects.exclude(dag_id="producer").update(fileloc=str(file), relative_fileloc=file.name)
    return {r.dag_id: r for r in rows}


def only(*dag_ids: str) -> None:
    """The other consumers hear nothing."""
    Dag.objects.exclude(dag_id__in=(*dag_ids, "producer")).update(is_paused=True)


def produce(*keys: str, asset: str = "news") -> None:
    made = run("producer")
    Worker(100).do(made, "make", asset_events=[{"name": asset, "uri": f"s3://lake/{asset}", "extra": {}, "partition_keys": list(keys)}])
    tick()


def work(children: ParseServer) -> None:
    """What the runner of errands does."""
    for taken in desk.take(processes.register("dag_processor").pk, 100):
        number = children.submit_job(taken.job, timeout=20)
        replies: list[Any] = []
        while not replies:
            replies = [reply for found, reply in children.receive(20) if found == number]
        said = _unpack(replies[0])
        desk.finish(taken.errand.pk, ok=said["ok"], result=said["value"], error=said["error"])
    tick()


def runs_of(dag_id: str) -> list[str | None]:
    return sorted(Run.objects.filter(dag_id=dag_id).values_list("partition_key", flat=True), key=str)


def test_a_child_maps_the_key_and_the_runs_know_key_date_and_event(known: dict[str, Any], children: ParseServer) -> None:
    only("consumer")
    produce("eu+us", "apac")
    assert runs_of("consumer") == [], "nothing runs before the child has answered"
    assert Errand.objects.filter(kind="map_key").count() == 2
    work(children)
    assert runs_of("consumer") == ["apac!", "eu!", "us!"]
    of = Run.objects.get(dag_id="consumer", partition_key="us!")
    assert of.partition_date is not None and of.partition_date.isoformat() == "2026-05-01T00:00:00+00:00"
    assert list(of.consumed_asset_events.all()) == [AssetEvent.objects.get(partition_key="eu+us")]
    desk.finish(Errand.objects.filter(kind="map_key")[0].pk, ok=True, result={"again": {"date": None, "awaits": None}})
    tick()
    assert PendingPartition.objects.filter(partition_key="again").count() == 0, "a second answer changes nothing"


def complaints() -> str:
    return " ".join(str(line) for line in AuditEvent.objects.filter(action="failed to map partition_key").values_list("extra", flat=True))


def test_a_mapper_that_fails_says_why_nothing_starts(known: dict[str, Any], children: ParseServer) -> None:
    only("consumer")
    produce("odd")
    work(children)
    assert runs_of("consumer") == []
    assert "LookupError: no such region" in complaints()


def test_a_rollup_of_own_mappers_and_windows_waits_for_the_keys_that_they_name(known: dict[str, Any], children: ParseServer) -> None:
    only("rolling")
    produce("north/1", "south/1", "north/9")
    work(children)
    assert runs_of("rolling") == [], "north/9 is no shop of the window: one of the two that are needed"
    assert PendingPartition.objects.get(partition_key="NORTH").awaits == {
        str(AssetEvent.objects.first().asset_id): {"keys": ["north/1", "north/2", "north/3"], "least": 2}  # type: ignore[union-attr]  # written above
    }
    produce("north/3")
    work(children)
    assert runs_of("rolling") == ["NORTH"]
    keys = Run.objects.get(dag_id="rolling").consumed_asset_events.values_list("partition_key", flat=True)
    assert sorted(key or "" for key in keys) == ["north/1", "north/3", "north/9"]
    assert complaints() == ""


def test_a_rollup_of_a_fan_out_gives_every_key_its_run_when_all_events_came(known: dict[str, Any], children: ParseServer) -> None:
    only("both")
    produce("a")
    work(children)
    assert (runs_of("both"), PendingPartition.objects.count()) == ([], 2)
    produce("b")
    work(children)
    assert runs_of("both") == ["NORTH", "SOUTH"]


def test_an_own_rollup_and_an_own_fan_out_of_two_assets_meet_in_one_run(known: dict[str, Any], children: ParseServer) -> None:
    only("joined")
    produce("all", asset="stock")
    produce("north/1", "south/1")
    work(children)
    assert runs_of("joined") == []
    produce("south/2")
    work(children)
    assert runs_of("joined") == ["SOUTH"], "half of the shops are enough for the policy of the file"


def test_a_rollup_that_can_never_be_complete_says_so(known: dict[str, Any], children: ParseServer, file: Path) -> None:
    only("rolling")
    written = file.read_text()
    file.write_text(written.replace("MinimumCount(-1)", "MinimumCount(4)"))
    try:
        produce("north/1")
        work(children)
    finally:
        file.write_text(written)
    assert runs_of("rolling") == []
    assert "MinimumCount(n=4) can never be satisfied: the window of 'NORTH' has 3 keys" in complaints()
