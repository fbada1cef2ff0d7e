"""One WebSocket: who may open it, what they may hear, and that a slow or hostile page harms nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import connections
from django.test import Client

from apps.access.models import User
from apps.runs import logs, wake
from apps.runs.models import Run, TaskInstance
from apps.ui.live import consumer
from apps.ui.live import cursor as cursors
from apps.ui.live import hub as hubs
from apps.ui.queries import shell
from apps.ui.tests import factories
from apps.ui.tests.sockets import Socket
from config.asgi import websockets

pytestmark = pytest.mark.django_db(transaction=True)
HOST = b"localhost:8080"
ORIGIN = b"http://localhost:8080"


@pytest.fixture(autouse=True)
def own_connections() -> Iterator[None]:
    yield
    connections.close_all()


def cookie_of(user: User) -> bytes:
    client = Client()
    client.force_login(user)
    return "; ".join(f"{m.key}={m.value}" for m in client.cookies.values()).encode()


def socket(cookie: bytes = b"", origin: bytes | None = ORIGIN) -> Socket:
    headers = [(b"host", HOST), (b"cookie", cookie)] + ([(b"origin", origin)] if origin else [])
    return Socket(websockets, "/ws", headers)


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        try:
            async with asyncio.timeout(60):
                await story()
        finally:
            await hubs.current().close()

    asyncio.run(whole())


async def hear(ws: Socket, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The next message that is wanted."""
    while True:
        message = json.loads(await ws.receive_text())
        if wanted(message):
            return message


def test_only_signed_in_pages_of_this_very_origin_get_a_socket() -> None:
    cookie = cookie_of(factories.user())

    async def story() -> None:
        for who, origin in [
            (b"", ORIGIN),
            (cookie, None),
            (cookie, b"http://evil.example"),
            (cookie, b"http://localhost:9999"),
            (b"sessionid=x", ORIGIN),
        ]:
            ws = socket(who, origin)
            opened = await ws.connect()
            assert not opened, (who, origin)
        ws = socket(cookie)
        assert await ws.connect()
        await ws.disconnect()

    play(story)


def test_a_change_reaches_the_page_that_subscribed_with_its_cursor() -> None:
    cookie = cookie_of(factories.user())
    run = factories.run(factories.dag(), state="running")
    ti = TaskInstance.objects.filter(run=run).order_by("pk")[0]
    position = cursors.take()
    factories.move(ti, "queued")  # between snapshot and subscription

    async def story() -> None:
        ws = socket(cookie)
        await ws.connect()
        await ws.send_text(json.dumps({"sub": f"run:{run.pk}", "cursor": position}))
        missed = await hear(ws, lambda m: "events" in m)
        assert (missed["topic"], missed["events"][0][7]) == (f"run:{run.pk}", "queued")
        await hear(ws, lambda m: m.get("ok") == f"run:{run.pk}")
        await sync_to_async(factories.move)(ti, "running")
        wake.send(wake.LIVE)
        assert (await hear(ws, lambda m: "events" in m))["events"][0][7] == "running"
        await ws.disconnect()

    play(story)


def test_each_topic_is_authorised_by_itself() -> None:
    secret = factories.run(factories.dag("secret"), state="running")
    ti = TaskInstance.objects.filter(run=secret)[0]
    attempt = factories.a_try(ti, state="running")
    made = factories.spec("shared", ["a"], access_control={"team": ["can_read"]})
    shared = factories.run(factories.dag("shared", made=made), state="running")
    guest = User.objects.create_user("guest")
    guest.groups.add(Group.objects.create(name="team"))
    cookie = cookie_of(guest)

    async def story() -> None:
        ws = socket(cookie)
        await ws.connect()
        for topic in [
            "dags",
            "dag:secret",
            f"run:{secret.pk}",
            f"task:{ti.pk}",
            f"log:{attempt.pk}:0",
            "run:999999",
            "nonsense",
            "log:x:0",
            "dag:",
        ]:
            await ws.send_text(json.dumps({"sub": topic}))
            assert (await hear(ws, lambda m: "no" in m or "ok" in m)).get("no") == topic
        for topic in ["dag:shared", f"run:{shared.pk}"]:
            await ws.send_text(json.dumps({"sub": topic}))
            assert (await hear(ws, lambda m: "no" in m or "ok" in m)).get("ok") == topic
        await ws.disconnect()

    play(story)


def test_the_hub_ends_also_when_news_come_as_it_is_told_to() -> None:
    """`asyncio.wait_for` of Python 3.11 loses a cancellation that meets its result: the reader would go on for ever."""

    async def story() -> None:
        for turns in range(6):
            hub = hubs.Hub()
            hub._reader = asyncio.create_task(hub._read_forever())
            await asyncio.sleep(0.01)
            hub._news.set()
            for _ in range(turns):
                await asyncio.sleep(0)
            async with asyncio.timeout(5):
                await hub.close()
            assert hub._reader.done(), turns

    play(story)


def test_a_topic_closes_when_the_right_goes_and_the_socket_when_the_session_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "RECHECK", 0.05)
    run = factories.run(factories.dag(), state="running")
    vera = User.objects.create_user("vera")
    vera.groups.add(Group.objects.get_or_create(name="Viewer")[0])
    cookie = cookie_of(vera)

    async def story() -> None:
        ws = socket(cookie)
        await ws.connect()
        await ws.send_text(json.dumps({"sub": f"run:{run.pk}"}))
        await hear(ws, lambda m: m.get("ok") == f"run:{run.pk}")
        await User.groups.through.objects.filter(user_id=vera.pk).adelete()  # not by `groups`, which ends her sessions, too
        assert (await hear(ws, lambda m: "no" in m))["no"] == f"run:{run.pk}"
        assert not hubs.current()._sockets, "the hub no longer delivers to it"
        await User.objects.filter(pk=vera.pk).aupdate(is_active=False)
        while (closed := await ws.receive_output(timeout=20))["type"] == "websocket.send":
            assert "shell" in json.loads(closed["text"]), "only that the navigation counts nothing for her any more"
        assert (closed["type"], closed["code"]) == ("websocket.close", consumer.GONE)

    play(story)


def test_the_numbers_of_the_navigation_come_when_they_change_and_one_look_serves_all_sockets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consumer, "RECHECK", 0.05)
    monkeypatch.setattr(shell, "_seen", {})
    looks = []
    counted = shell._counted
    monkeypatch.setattr(shell, "_counted", lambda everything: looks.append(everything) or counted(everything))
    cookie, other = cookie_of(factories.user("mara")), cookie_of(User.objects.create_user("nobody"))

    async def story() -> None:
        mara, again, nobody = socket(cookie), socket(cookie), socket(other)
        for ws in (mara, again, nobody):
            await ws.connect()
        zero = dict.fromkeys(shell.NAMES, 0)
        for ws in (mara, again, nobody):
            assert (await hear(ws, lambda m: "shell" in m))["shell"] == zero
        assert sorted(looks) == [False, True], "two sockets of people who see everything share one look"
        await sync_to_async(lambda: factories.run(factories.dag(), state="running"))()
        shell._seen.clear()
        assert (await hear(mara, lambda m: "shell" in m))["shell"] == {**zero, "dags": 1, "running": 1}
        shell._seen.clear()
        assert await nobody.receive_nothing(timeout=0.3), "numbers tell about what they may not see"

    play(story)


def test_a_slow_reader_is_told_to_load_afresh_and_costs_a_bounded_queue() -> None:
    ws = consumer.LiveConsumer()

    async def story() -> None:
        ws.queue, ws.overflowed = asyncio.Queue(consumer.QUEUE), False
        for k in range(consumer.QUEUE * 10):
            ws.deliver(f'{{"n":{k}}}')
        assert ws.queue.qsize() == 1 and json.loads(ws.queue.get_nowait()) == {"resync": True}

    asyncio.run(story())


def test_what_is_no_message_or_too_long_closes_the_socket() -> None:
    cookie = cookie_of(factories.user())

    async def story() -> None:
        for text, code in [("x" * (consumer.MAX_FRAME + 1), consumer.TOO_LONG), ("not json", 1007), ("[1]", 1007)]:
            ws = socket(cookie)
            await ws.connect()
            await ws.send_text(text)
            assert (await ws.receive_output(timeout=20))["code"] == code
        ws = socket(cookie)
        await ws.connect()
        await ws.send_text(json.dumps({"ping": 7}))
        assert (await hear(ws, lambda m: "pong" in m))["pong"] == 7
        await ws.disconnect()

    play(story)


def test_a_log_streams_as_it_is_written_and_a_reconnect_goes_on_where_it_stopped(settings: Any, tmp_path: Path) -> None:
    settings.LOGS_FOLDER = str(tmp_path)
    cookie = cookie_of(factories.user())
    run = factories.run(factories.dag(), state="running", states={"load": "running"})
    attempt = factories.a_try(TaskInstance.objects.get(run=run, task_id="load"), state="running")
    lines = [orjson.dumps({"t": "2026-11-18T14:10:51.118000Z", "level": "info", "event": f"line {k}"}) + b"\n" for k in range(9)]
    size = logs.append(attempt.pk, 0, b"".join(lines[:3]))

    async def story() -> None:
        nonlocal size
        ws = socket(cookie)
        await ws.connect()
        await ws.send_text(json.dumps({"sub": f"log:{attempt.pk}:0"}))
        part = (await hear(ws, lambda m: "log" in m))["log"]
        assert ([e["event"] for e in part["lines"]], part["from"], part["to"], part["complete"]) == (
            ["line 0", "line 1", "line 2"],
            0,
            size,
            False,
        )
        size = await sync_to_async(logs.append)(attempt.pk, size, b"".join(lines[3:6]))
        assert (await hear(ws, lambda m: "log" in m))["log"]["lines"][0]["event"] == "line 3"
        await ws.disconnect()
        again = socket(cookie)
        await again.connect()
        await again.send_text(json.dumps({"sub": f"log:{attempt.pk}:{size}"}))
        await sync_to_async(logs.append)(attempt.pk, size, b"".join(lines[6:]))
        got: list[str] = []
        while len(got) < 3:
            got += [e["event"] for e in (await hear(again, lambda m: "log" in m))["log"]["lines"]]
        assert got == ["line 6", "line 7", "line 8"], "nothing twice, nothing lost"
        await type(attempt).objects.filter(pk=attempt.pk).aupdate(log_ended=True)
        assert (await hear(again, lambda m: m.get("log", {}).get("complete", False)))["log"]["lines"] == []
        await again.disconnect()

    play(story)


def test_a_run_that_is_deleted_is_no_topic_any_more() -> None:
    cookie = cookie_of(factories.user())
    run = factories.run(factories.dag())
    pk = run.pk
    Run.objects.filter(pk=pk).delete()

    async def story() -> None:
        ws = socket(cookie)
        await ws.connect()
        await ws.send_text(json.dumps({"sub": f"run:{pk}"}))
        assert (await hear(ws, lambda m: "no" in m))["no"] == f"run:{pk}"
        await ws.disconnect()

    play(story)
