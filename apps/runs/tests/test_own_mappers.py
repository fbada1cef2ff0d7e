"""Partition mappers of the user's class: a child of the parse server maps the key, the answer becomes runs or a line in the audit trail."""

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
from airflow.sdk import DAG, Asset, IdentityMapper, PartitionedAssetTimetable, ProductMapper, RollupMapper, SegmentWindow
from airflow.sdk import PartitionMapper
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
rolled = RollupMapper(upstream_mapper=Regions("!"), window=SegmentWindow(["a"]))
with DAG("rolling", schedule=PartitionedAssetTimetable(assets=news, partition_mapper_config={news: rolled})) as rolling:
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
    outlets = [{"type": "asset", "extra": {}, "name": "news", "uri": "s3://lake/news", "group": "asset"}]
    rows = [dag([task("make", outlets=outlets)], "producer", timetable={"kind": "partitioned_at_runtime"})]
    for found in said.dags:
        fields = {"timetable": found["timetable"], "asset_expression": found.get("asset_expression")}
        rows.append(dag(chain("use"), found["dag_id"], **fields))
    specs = {r.dag_id: DagSpec.from_dict(r.current_version.spec) for r in rows if r.current_version}
    assets.store(specs, (), sql.now())
    Dag.objects.exclude(dag_id="producer").update(fileloc=str(file), relative_fileloc=file.name)
    return {r.dag_id: r for r in rows}


def produce(*keys: str) -> None:
    made = run("producer")
    Worker(100).do(made, "make", asset_events=[{"name": "news", "uri": "s3://lake/news", "extra": {}, "partition_keys": list(keys)}])
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
    Dag.objects.filter(dag_id="rolling").update(is_paused=True)
    produce("eu+us", "apac")
    assert runs_of("consumer") == [], "nothing runs before the child has answered"
    assert Errand.objects.filter(kind="map_key").count() == 2
    work(children)
    assert runs_of("consumer") == ["apac!", "eu!", "us!"]
    of = Run.objects.get(dag_id="consumer", partition_key="us!")
    assert of.partition_date is not None and of.partition_date.isoformat() == "2026-05-01T00:00:00+00:00"
    assert list(of.consumed_asset_events.all()) == [AssetEvent.objects.get(partition_key="eu+us")]
    desk.finish(Errand.objects.filter(kind="map_key")[0].pk, ok=True, result={"again": None})
    tick()
    assert PendingPartition.objects.filter(partition_key="again").count() == 0, "a second answer changes nothing"


def test_a_mapper_that_fails_and_a_rollup_of_own_mappers_say_why_nothing_starts(known: dict[str, Any], children: ParseServer) -> None:
    produce("odd")
    work(children)
    assert (runs_of("consumer"), runs_of("rolling")) == ([], [])
    lines = AuditEvent.objects.filter(action="failed to map partition_key").values_list("extra", flat=True)
    texts = " ".join(str(line) for line in lines)
    assert len(lines) == 2
    assert "LookupError: no such region" in texts
    assert "RollupMapper of own mappers or windows cannot be waited for" in texts
