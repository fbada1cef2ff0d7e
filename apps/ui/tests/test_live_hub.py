"""The live hub on a real PostgreSQL: what a page knows after any history equals a fresh load.

`Page` is a page reduced to its memory: a snapshot with its cursor, then events by the rules of `frontend/src/lib/live.ts`
and `frontend/src/grid/model.ts` (skip what the snapshot saw; within a row the higher event id wins).
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections

from apps.runs import wake
from apps.runs.models import Event, TaskInstance
from apps.ui.live import cursor as cursors
from apps.ui.live import hub as hubs
from apps.ui.live import topics
from apps.ui.live.cursor import Cursor
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
DEADLINE = 20.0


@pytest.fixture(autouse=True)
def own_connections() -> Iterator[None]:
    yield
    connections.close_all()


class Page:
    """What a page remembers of one run's tasks."""

    def __init__(self, run_pk: int):
        self.run_pk = run_pk
        self.load()
        self.frames = 0
        self.resyncs = 0

    def load(self) -> None:
        self.cursor = Cursor.parse(cursors.take())
        self.states = dict(TaskInstance.objects.filter(run=self.run_pk).values_list("pk", "state"))
        self.told: dict[int, int] = {}

    def deliver(self, frame: str) -> None:
        self.frames += 1
        for xid, event_id, _, _, _, _, _, state, tis, _ in json.loads(frame)["events"]:
            if self.cursor.sees(xid):
                continue
            for pk, *_ in tis:
                if event_id >= self.told.get(pk, 0):
                    self.told[pk] = event_id
                    self.states[pk] = state


def fresh(run_pk: int) -> dict[int, str]:
    return dict(TaskInstance.objects.filter(run=run_pk).values_list("pk", "state"))


@asynccontextmanager
async def a_hub() -> AsyncIterator[hubs.Hub]:
    hub = hubs.Hub()
    try:
        yield hub
    finally:
        await hub.close()


async def until(condition: Any, what: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await condition():  # noqa: ASYNC110  (the condition reads the database)
            await asyncio.sleep(0.02)
    assert await condition(), what


async def subscribe(hub: hubs.Hub, page: Page, name: str) -> None:
    try:
        for frame in await hub.subscribe(page, topics.parse(name), page.cursor):
            page.deliver(frame)
    except hubs.TooFarBehind:
        page.resyncs += 1
        await sync_to_async(page.load)()
        await subscribe(hub, page, name)


def writer(pks: list[int], seed: int, count: int, failures: list[BaseException]) -> None:
    """One of several concurrent writers: short transactions of random length, as transitions write them."""
    dice = random.Random(seed)
    try:
        with psycopg.connect(**{**wake.connection_parameters(), "autocommit": False}) as conn:  # type: ignore[arg-type]
            for _ in range(count):
                chosen = sorted(dice.sample(pks, dice.randint(1, 3)))
                state = dice.choice(["queued", "running", "success", "failed", "up_for_retry"])
                for pk in chosen:
                    conn.execute("UPDATE runs_taskinstance SET state = %s WHERE id = %s", [state, pk])
                tis = json.dumps({"state": state, "tis": [[pk, "t", -1, 1] for pk in chosen]})
                conn.execute(
                    "INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload) "
                    "SELECT now(), 'task', 'move', dag_id, run_id, 'r', %s::jsonb FROM runs_taskinstance WHERE id = %s",
                    [tis, chosen[0]],
                )
                conn.commit()
                wake.send(wake.LIVE)
    except BaseException as e:
        failures.append(e)
        raise


def test_a_page_after_a_random_history_with_dropped_sockets_equals_a_fresh_load() -> None:
    run = factories.run(factories.dag("orders", [f"t{k}" for k in range(12)]), state="running")
    pks = list(TaskInstance.objects.filter(run=run).values_list("pk", flat=True))

    async def story() -> None:
        failures: list[BaseException] = []
        writers = [threading.Thread(target=writer, args=(pks, seed, 60, failures)) for seed in range(4)]
        dice = random.Random(7)
        async with a_hub() as hub:
            pages = [await sync_to_async(Page)(run.pk) for _ in range(3)]
            for page, name in zip(pages, [f"run:{run.pk}", "dag:orders", f"run:{run.pk}"], strict=True):
                await subscribe(hub, page, name)
            for w in writers:
                w.start()
            while any(w.is_alive() for w in writers):
                await asyncio.sleep(0.03)
                page = dice.choice(pages)
                key = "dag:orders" if page is pages[1] else f"run:{run.pk}"
                hub.unsubscribe(page, [key])  # the line breaks; the page keeps its cursor and comes back
                await asyncio.sleep(dice.random() * 0.05)
                await subscribe(hub, page, key)
            assert not failures
            late = await sync_to_async(Page)(run.pk)
            await subscribe(hub, late, "dag:orders")
            truth = await sync_to_async(fresh)(run.pk)
            for page in [*pages, late]:

                async def settled(page: Page = page) -> bool:
                    return page.states == truth

                await until(settled, "the page differs from a fresh load")
            assert all(page.frames for page in pages)

    asyncio.run(story())


def test_an_event_of_an_older_transaction_that_commits_later_is_not_lost() -> None:
    """Ids are drawn before commit: a cursor by id alone would jump over it. The younger one waits for the older."""
    run = factories.run(factories.dag(), state="running")
    first, second, _ = TaskInstance.objects.filter(run=run).order_by("pk")

    async def story() -> None:
        async with a_hub() as hub:
            page = await sync_to_async(Page)(run.pk)
            await subscribe(hub, page, f"run:{run.pk}")
            async with await psycopg.AsyncConnection.connect(**{**wake.connection_parameters(), "autocommit": False}) as slow:  # type: ignore[arg-type]
                await slow.execute("UPDATE runs_taskinstance SET state = 'failed' WHERE id = %s", [first.pk])
                await slow.execute(
                    "INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload) "
                    "VALUES (now(), 'task', 'fail', 'orders', %s, 'r', %s::jsonb)",
                    [run.pk, json.dumps({"state": "failed", "tis": [[first.pk, "extract", -1, 1]]})],
                )
                await sync_to_async(factories.move)(second, "running")
                await hub.read()
                assert page.states[second.pk] == "none", "told before the older transaction ended: the cursor would pass it"
                await slow.commit()

            async def both() -> bool:
                await hub.read()
                return (page.states[first.pk], page.states[second.pk]) == ("failed", "running")

            await until(both, "one of the two was lost")

    asyncio.run(story())


def test_a_long_transaction_of_another_database_on_the_same_server_holds_nothing_back() -> None:
    run = factories.run(factories.dag(), state="running")
    ti = TaskInstance.objects.filter(run=run).order_by("pk")[0]

    async def story() -> None:
        elsewhere = {**wake.connection_parameters(), "dbname": "postgres", "autocommit": False}
        async with await psycopg.AsyncConnection.connect(**elsewhere) as other:  # type: ignore[arg-type]
            await other.execute("SELECT pg_current_xact_id()")  # a writer: it has a transaction id
            async with a_hub() as hub:
                page = await sync_to_async(Page)(run.pk)
                await subscribe(hub, page, f"run:{run.pk}")
                await sync_to_async(factories.move)(ti, "running")

                async def told() -> bool:
                    await hub.read()
                    return page.states[ti.pk] == "running"

                await until(told, "the change waits for a transaction of another database")

    asyncio.run(story())


def test_a_snapshot_that_already_saw_a_later_change_is_not_turned_back_by_an_earlier_event() -> None:
    run = factories.run(factories.dag(), state="running")
    ti = TaskInstance.objects.filter(run=run).order_by("pk")[0]

    async def story() -> None:
        async with a_hub() as hub:
            blocker = await psycopg.AsyncConnection.connect(**{**wake.connection_parameters(), "autocommit": False})  # type: ignore[arg-type]
            await blocker.execute("SELECT pg_current_xact_id()")  # holds the horizon back
            await sync_to_async(factories.move)(ti, "queued")
            await sync_to_async(factories.move)(ti, "running")
            page = await sync_to_async(Page)(run.pk)  # sees both, its xmin is below them
            assert page.states[ti.pk] == "running"
            await subscribe(hub, page, f"run:{run.pk}")
            heard = page.states.copy()
            page.states = Watch(page.states)  # type: ignore[assignment]
            await blocker.rollback()
            await blocker.close()
            await sync_to_async(factories.move)(ti, "success")

            async def done() -> bool:
                await hub.read()
                return page.states[ti.pk] == "success"

            await until(done, "the last change did not arrive")
            assert page.states.written == [(ti.pk, "success")], heard  # type: ignore[attr-defined]

    asyncio.run(story())


class Watch(dict[int, str]):
    """A dict that remembers what was written to it."""

    def __init__(self, start: dict[int, str]):
        super().__init__(start)
        self.written: list[tuple[int, str]] = []

    def __setitem__(self, key: int, value: str) -> None:
        self.written.append((key, value))
        super().__setitem__(key, value)


def test_a_topic_is_serialised_once_for_all_its_sockets_and_heard_by_nobody_else() -> None:
    run = factories.run(factories.dag(), state="running")
    other = factories.run(factories.dag("other"), state="running")
    ti, *_ = TaskInstance.objects.filter(run=run).order_by("pk")

    async def story() -> None:
        async with a_hub() as hub:
            got: dict[str, list[str]] = {}

            class Socket:
                def __init__(self, name: str):
                    self.name = name

                def deliver(self, frame: str) -> None:
                    got.setdefault(self.name, []).append(frame)

            for name, topic in [
                ("a", f"run:{run.pk}"),
                ("b", f"run:{run.pk}"),
                ("c", f"run:{other.pk}"),
                ("d", f"task:{ti.pk}"),
                ("e", "dags"),
            ]:
                await hub.subscribe(Socket(name), topics.parse(topic), None)
            await sync_to_async(factories.move)(ti, "running")

            async def arrived() -> bool:
                await hub.read()
                return len(got) == 4

            await until(arrived, "not everybody heard")
            assert got["a"][0] is got["b"][0], "the same text object: made once"
            assert "c" not in got
            assert json.loads(got["e"][0])["events"][0][8] == 1, "the list of DAGs hears how many tasks, not which"

    asyncio.run(story())


def _wait_for_horizon() -> None:
    """Until every event is readable: writers of other databases of the same server hold the horizon back, too."""
    give_up = time.monotonic() + 30
    while True:
        with connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(max(xid) < pg_snapshot_xmin(pg_current_snapshot()), true) FROM runs_event")
            if cursor.fetchone()[0]:
                return
        assert time.monotonic() < give_up, "another transaction stays open"
        time.sleep(0.02)


def test_a_page_that_is_far_behind_is_told_to_load_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    run = factories.run(factories.dag(), state="running")
    ti = TaskInstance.objects.filter(run=run).order_by("pk")[0]
    page = Page(run.pk)
    Event.objects.bulk_create(
        Event(kind="task", verb="move", dag_id="orders", run_pk=run.pk, payload={"state": "queued", "tis": [[ti.pk, "extract", -1, 1]]})
        for _ in range(hubs.REPLAY_LIMIT + 5)
    )
    _wait_for_horizon()

    async def story() -> None:
        async with a_hub() as hub:
            with pytest.raises(hubs.TooFarBehind):
                await hub.subscribe(page, topics.parse(f"run:{run.pk}"), page.cursor)

    asyncio.run(story())


def test_large_events_are_told_in_frames_of_bounded_size() -> None:
    tis = [[k, f"task_with_a_rather_long_name_{k}", -1, 1] for k in range(5000)]
    made = hubs.frames("run:1", [[10, 1, "task", "schedule", "orders", 1, "r", "scheduled", tis, 0]] * 2)
    assert len(made) > 5
    assert max(len(f.encode()) for f in made) < 65_536
    assert sum(len(e[8]) for f in made for e in json.loads(f)["events"]) == 10_000


def test_while_nobody_listens_nothing_is_read() -> None:
    run = factories.run(factories.dag(), state="running")

    async def story() -> None:
        async with a_hub() as hub:
            page = await sync_to_async(Page)(run.pk)
            await subscribe(hub, page, f"run:{run.pk}")
            hub.unsubscribe(page, [f"run:{run.pk}"])
            ti = await TaskInstance.objects.filter(run=run).afirst()
            assert ti is not None
            await sync_to_async(factories.move)(ti, "running")
            await hub.read()
            assert hub.events_read == 0
            await subscribe(hub, page, f"run:{run.pk}")
            assert page.states[ti.pk] == "running", "what happened meanwhile is replayed from the page's cursor"

    asyncio.run(story())


def test_cursors_read_back_as_what_they_are_and_nothing_else_is_one() -> None:
    text = "100:106:100,103"
    seen = Cursor.parse(text)
    assert str(seen) == text
    assert [seen.sees(x) for x in (99, 100, 101, 103, 105, 106, 107)] == [True, False, True, False, True, False, False]
    assert Cursor.parse("5:5:").open == frozenset()
    for bad in ("", "1", "1:2", "a:b:", "1:2:3,", "1:2:3;drop", "9" * 9000):
        with pytest.raises(ValueError, match="cursor"):
            Cursor.parse(bad)
    with connection.cursor() as c:
        c.execute("SELECT 1")
    assert Cursor.parse(cursors.take()).xmax > 0
