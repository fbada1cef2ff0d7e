"""Watchers: a trigger per asset, not per run, whose every event is an event of the asset."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.dags import assets
from apps.dags.models import Asset, Dag
from apps.runs import processes, sql
from apps.runs.assets import watchers
from apps.runs.assets.models import AssetEvent, WatchedAsset, Watcher
from apps.runs.models import Process, Run
from apps.runs.stores import store
from apps.runs.tests.support import chain, dag, tick
from apps.runs.tests.support import woken as woken
from apps.runs.triggerer.service import Triggerer
from trackside.core.spec import DagSpec
from trackside.sdk.assets import Asset as AuthorsAsset
from trackside.sdk.assets import AssetWatcher
from trackside.sdk.triggers import BaseTrigger
from trackside.sdk.triggers_standard import DirectoryFileDeleteTrigger, FileDeleteTrigger

pytestmark = pytest.mark.django_db(transaction=True)
CODE = '''
import asyncio, os, pathlib
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

class Lines(BaseEventTrigger):
    """An event per line of a file, from where the asset's store says it was left."""
    def __init__(self, path, opens=None):
        super().__init__()
        self.path, self.opens = path, opens
    def serialize(self):
        return "watch_code.Lines", {"path": self.path, "opens": self.opens}
    async def run(self):
        seen = await self.asset_state_store.aget("seen", 0)
        while True:
            lines = pathlib.Path(self.path).read_text().splitlines()
            for line in lines[seen:]:
                if line == "fail":
                    raise RuntimeError("no such line")
                yield TriggerEvent({"line": line})
                seen += 1
                await self.asset_state_store.aset("seen", seen)
            await asyncio.sleep(0.05)

class Shared(Lines):
    def __init__(self, path, opens, only):
        super().__init__(path, opens)
        self.only = only
    def serialize(self):
        return "watch_code.Shared", {"path": self.path, "opens": self.opens, "only": self.only}
    def shared_stream_key(self):
        return ("lines", self.path)
    @classmethod
    async def open_shared_stream(cls, kwargs):
        with open(kwargs["opens"], "a") as noted:
            noted.write("opened\\n")
        seen = 0
        while True:
            lines = pathlib.Path(kwargs["path"]).read_text().splitlines()
            for line in lines[seen:]:
                yield line
            seen = len(lines)
            await asyncio.sleep(0.05)
    async def filter_shared_stream(self, shared_stream):
        async for line in shared_stream:
            if line.startswith(self.only):
                yield TriggerEvent(line)
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "watch_code.py").write_text(CODE)
    return tmp_path


@pytest.fixture
def make(folder: Path) -> Iterator[Callable[..., Triggerer]]:
    made: list[Triggerer] = []

    def new(**options: Any) -> Triggerer:
        triggerer = Triggerer(dags_folder=str(folder), **options)
        triggerer.loop.process = processes.register("triggerer", lease=60)
        made.append(triggerer)
        return triggerer

    yield new
    for triggerer in made:
        triggerer.close()


def watched(name: str, classpath: str, kwargs: dict[str, Any], dag_id: str = "consumer") -> Dag:
    """A DAG that waits for an asset with a watcher."""
    plain = {"name": name, "uri": name, "group": "asset"}
    condition = {"all": [{"asset": plain}]}
    full = {**plain, "type": "asset", "extra": {}, "watchers": [{"name": "w", "classpath": classpath, "kwargs": kwargs}]}
    row = dag(chain("use"), dag_id, timetable={"kind": "asset", "condition": condition}, asset_expression=condition, schedule_assets=[full])
    assert row.current_version is not None
    assets.store({dag_id: DagSpec.from_dict(row.current_version.spec)}, (), sql.now())
    watchers.sync()
    return row


def until(done: Callable[[], Any], *triggerers: Triggerer) -> None:
    give_up = time.monotonic() + 30
    while not done():
        assert time.monotonic() < give_up, "it did not happen"
        for triggerer in triggerers:
            triggerer.loop._woken.clear()
            triggerer.step()
        triggerers[0].loop._woken.wait(0.05)


def payloads() -> list[Any]:
    return [e.extra["payload"] for e in AssetEvent.objects.order_by("id")]


def test_every_event_is_an_event_of_the_asset_and_starts_its_consumer(folder: Path, make: Callable[..., Triggerer]) -> None:
    path = folder / "lines"
    path.write_text("one\n")
    watched("a", "watch_code.Lines", {"path": str(path)})
    triggerer = make()
    until(lambda: len(payloads()) == 1, triggerer)
    tick()
    (made,) = Run.objects.filter(dag_id="consumer")
    assert [e.extra for e in made.consumed_asset_events.all()] == [{"from_trigger": True, "payload": {"line": "one"}}]
    path.write_text("one\ntwo\nthree\n")
    until(lambda: len(payloads()) == 3, triggerer)
    assert [p["line"] for p in payloads()] == ["one", "two", "three"]
    assert Process.objects.get(pk=triggerer.loop.process.pk).info["watchers"] == 1  # type: ignore[union-attr]
    asset = Asset.objects.get(name="a").pk

    def kept() -> tuple[str, str] | None:
        entry = store.get_asset(asset, "seen")
        return entry and (entry.value, entry.kind)

    until(lambda: kept() == ("3", "watcher"), triggerer)  # it is kept after the event was told


def test_the_same_trigger_of_several_assets_and_dags_waits_once(folder: Path, make: Callable[..., Triggerer]) -> None:
    classpath, kwargs = FileDeleteTrigger(str(folder / "flag"), poke_interval=0.05).serialize()
    (folder / "flag").touch()
    for n in "ab":
        watched(n, classpath, kwargs, f"consumer_{n}")
    assert (Watcher.objects.count(), WatchedAsset.objects.count()) == (1, 2)
    one, two = make(), make()
    until(lambda: AssetEvent.objects.count() >= 2, one, two)
    for triggerer in (one, two):
        triggerer.step()
    assert sorted(AssetEvent.objects.values_list("asset__name", flat=True)) == ["a", "b"]


def test_a_watcher_lives_as_long_as_an_unpaused_dag_waits_for_its_asset(folder: Path) -> None:
    row = watched("a", "watch_code.Lines", {"path": "x"})
    same = Watcher.objects.get().pk
    watchers.sync()
    assert Watcher.objects.get().pk == same
    Dag.objects.filter(pk=row.pk).update(is_paused=True)
    watchers.sync()
    assert not Watcher.objects.exists()
    Dag.objects.filter(pk=row.pk).update(is_paused=False)
    watchers.sync()
    assert Watcher.objects.count() == 1
    Asset.objects.update(watchers=[])
    watchers.sync()
    assert not Watcher.objects.exists()


def test_triggers_with_the_same_stream_share_one_poll(folder: Path, make: Callable[..., Triggerer]) -> None:
    path, opens = folder / "lines", folder / "opens"
    path.write_text("")
    for only in ("us", "eu"):
        watched(only, "watch_code.Shared", {"path": str(path), "opens": str(opens), "only": only}, f"consumer_{only}")
    triggerer = make()
    until(lambda: opens.exists() and len(triggerer.watching.running) == 2, triggerer)
    path.write_text("us 1\neu 1\nus 2\n")
    until(lambda: AssetEvent.objects.count() == 3, triggerer)
    found = sorted(AssetEvent.objects.values_list("asset__name", "extra__payload"))
    assert found == [("eu", "eu 1"), ("us", "us 1"), ("us", "us 2")] and opens.read_text() == "opened\n"


def test_one_that_fails_says_why_rests_and_is_started_again(folder: Path, make: Callable[..., Triggerer]) -> None:
    path = folder / "lines"
    path.write_text("fail\n")
    watched("a", "watch_code.Lines", {"path": str(path)})
    triggerer = make()
    until(lambda: Watcher.objects.get().error, triggerer)
    row = Watcher.objects.get()
    assert "no such line" in (row.error or "") and row.triggerer_id is None
    triggerer.step()
    assert Watcher.objects.get().triggerer_id is None  # it rests
    path.write_text("fine\n")
    sql.run("UPDATE runs_watcher SET failed_at = failed_at - interval '1 minute'")
    until(lambda: payloads() == [{"line": "fine"}], triggerer)
    assert Watcher.objects.get().error is None


def test_a_triggerer_whose_lease_ran_out_is_not_heard_and_another_takes_over(folder: Path, make: Callable[..., Triggerer]) -> None:
    path = folder / "lines"
    path.write_text("")
    watched("a", "watch_code.Lines", {"path": str(path)})
    first, second = make(), make()
    until(lambda: Watcher.objects.get().triggerer_id, first)
    old = first.loop.process
    assert old is not None
    Process.objects.filter(pk=old.pk).update(lease_until=sql.now())
    until(lambda: Watcher.objects.get().triggerer_id == second.loop.process.pk, second)  # type: ignore[union-attr]
    assert watchers.happened(old.pk, [(Watcher.objects.get().pk, "late")]) == 0
    path.write_text("one\n")
    until(lambda: payloads() == [{"line": "one"}], second)


def test_a_triggerer_of_queues_takes_no_watchers(folder: Path, make: Callable[..., Triggerer]) -> None:
    watched("a", "watch_code.Lines", {"path": "x"})
    make(queues=["q"]).step()
    assert Watcher.objects.get().triggerer_id is None


def test_the_files_of_the_standard_triggers_are_deleted_and_reported(folder: Path, make: Callable[..., Triggerer]) -> None:
    classpath, kwargs = FileDeleteTrigger(str(folder / "flag"), poke_interval=0.05).serialize()
    watched("file", classpath, kwargs, "of_file")
    classpath, kwargs = DirectoryFileDeleteTrigger(directory=str(folder / "inbox"), filename="us.flag", poke_interval=0.05).serialize()
    watched("inbox", classpath, kwargs, "of_inbox")
    triggerer = make()
    triggerer.step()
    for _ in range(2):  # a trigger that fires once is begun again
        known = AssetEvent.objects.count()
        (folder / "flag").touch()
        (folder / "inbox").mkdir(exist_ok=True)
        (folder / "inbox" / "us.flag").touch()
        until(lambda known=known: AssetEvent.objects.count() == known + 2, triggerer)
        assert not (folder / "flag").exists() and not (folder / "inbox" / "us.flag").exists()
    assert {"filepath": str(folder / "inbox" / "us.flag")} in payloads()


def test_only_event_triggers_can_watch() -> None:
    class Plain(BaseTrigger):
        def serialize(self) -> tuple[str, dict[str, Any]]:
            return "plain", {}

        async def run(self) -> Any:
            yield None

    with pytest.raises(ValueError, match="BaseEventTrigger"):
        AssetWatcher("w", Plain())
    asset = AuthorsAsset("a", watchers=[AssetWatcher("w", FileDeleteTrigger("/x"))])
    (spec,) = asset.to_definition()["watchers"]
    assert spec["classpath"].endswith("FileDeleteTrigger") and spec["kwargs"]["filepath"] == "/x"
