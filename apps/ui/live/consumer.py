"""One page's WebSocket: subscribes to topics, each authorised by itself, and forwards what the hub delivers.

In: {"sub": topic, "cursor": text} · {"unsub": topic} · {"ping": n}. Out: {"topic", "events"} · {"topic", "log": …} ·
{"ok": topic} · {"resync": topic} (load that data afresh) · {"resync": true} (everything) · {"no": topic, "why"} · {"pong": n}
· {"shell": numbers beside the navigation}, when they have changed.
A slow reader loses frames, not memory: its queue is bounded, and after an overflow it is told to load afresh.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async
from channels.auth import get_user
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.db import close_old_connections

from apps.runs.models import TaskInstance
from apps.ui.live import hub as hubs
from apps.ui.live import logtail, topics
from apps.ui.live.cursor import Cursor
from apps.ui.queries import shell

logger = logging.getLogger(__name__)

MAX_FRAME = 65_536
"""Bytes; a longer message closes the socket."""
QUEUE = 256
"""Frames that wait for a slow reader."""
MAX_TOPICS = 40
HEARTBEAT = 10.0
"""Seconds after which a silent socket gets a beat, so that both sides notice a dead line."""
RECHECK = 5.0
"""Seconds between two looks at whether the person may still hear what they hear."""
GONE = 4401
"""Close code: signed out or no longer allowed. The page says so and does not connect again by itself."""
TOO_LONG = 1009


class LiveConsumer(AsyncWebsocketConsumer):
    """A socket. Its life is short of state: topics, a queue, three tasks."""

    async def connect(self) -> None:
        if not self.scope["user"].is_authenticated or not same_origin(self.scope):
            await self.close(code=GONE)
            return
        self.user = self.scope["user"]
        self.topics: dict[str, topics.Topic] = {}
        self.dags: dict[str, str | None] = {}
        self.tails: dict[str, asyncio.Task[None]] = {}
        self.queue: asyncio.Queue[str] = asyncio.Queue(QUEUE)
        self.overflowed = False
        self.numbers: dict[str, int] = {}
        self.hub = hubs.current()
        await self.accept()
        self.jobs = [asyncio.create_task(self._send_queue()), asyncio.create_task(self._recheck())]

    async def disconnect(self, code: int) -> None:
        if not hasattr(self, "jobs"):
            raise StopConsumer
        self.hub.unsubscribe(self, list(self.topics))
        for job in [*self.jobs, *self.tails.values()]:
            job.cancel()
        raise StopConsumer

    # --- from the page ----------------------------------------------------------------------------------------------
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data is None or len(text_data) > MAX_FRAME:
            await self.close(code=TOO_LONG)
            return
        try:
            message = json.loads(text_data)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            await self.close(code=1007)
        elif isinstance(message.get("sub"), str):
            await self._subscribe(message["sub"], message.get("cursor"))
        elif isinstance(message.get("unsub"), str):
            self._drop(message["unsub"])
        elif "ping" in message:
            self.say(pong=message["ping"])

    async def _subscribe(self, name: str, cursor_text: Any) -> None:
        try:
            topic = topics.parse(name)
            cursor = Cursor.parse(cursor_text) if isinstance(cursor_text, str) else None
        except ValueError as e:
            self.say(no=name[:80], why=str(e))
            return
        dag_id, may, run_pk = await _look_up(self.user, topic)
        if not may or len(self.topics) + len(self.tails) >= MAX_TOPICS:
            self.say(no=name, why="You may not see this." if not may else "Too many subscriptions on one page.")
            return
        self.dags[topic.key] = dag_id
        if topic.kind == "log":
            self._tail(topic, name)
            return
        self.topics[topic.key] = topic
        try:
            missed = await self.hub.subscribe(self, topic, cursor, run_pk)
        except hubs.TooFarBehind:
            await self.hub.subscribe(self, topic, None)
            self.say(resync=topic.key)
            return
        for frame in missed:
            self.deliver(frame)
        self.say(ok=topic.key)

    def _drop(self, name: str) -> None:
        with contextlib.suppress(topics.BadTopic):
            key = topics.parse(name).key
            self.hub.unsubscribe(self, [key])
            self.topics.pop(key, None)
            self.dags.pop(key, None)
            if tail := self.tails.pop(key, None):
                tail.cancel()

    def _tail(self, topic: topics.Topic, name: str) -> None:
        if old := self.tails.pop(topic.key, None):
            old.cancel()
        assert topic.try_id is not None
        self.tails[topic.key] = asyncio.create_task(logtail.follow(topic.try_id, topic.offset, topic.key, self.push, behind=logtail.BEHIND))

    # --- to the page ------------------------------------------------------------------------------------------------
    def deliver(self, frame: str) -> None:
        """From the hub. Never waits: a full queue is emptied and the page told to load afresh."""
        if self.overflowed:
            return
        try:
            self.queue.put_nowait(frame)
        except asyncio.QueueFull:
            self.overflowed = True
            while not self.queue.empty():
                self.queue.get_nowait()
            self.queue.put_nowait('{"resync":true}')

    async def push(self, frame: str) -> None:
        """From a log tail, which can wait for the reader: nothing is dropped."""
        await self.queue.put(frame)

    def say(self, **message: Any) -> None:
        """A short answer."""
        self.deliver(json.dumps(message))

    async def _send_queue(self) -> None:
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT):
                    frame = await self.queue.get()
            except TimeoutError:
                frame = '{"beat":1}'
            try:
                await self.send(text_data=frame)
            except OSError:  # the client is gone; `disconnect` follows
                return
            if self.overflowed and self.queue.empty():
                self.overflowed = False

    async def _recheck(self) -> None:
        """Close what the person may no longer hear; close the socket when they are signed out; tell what the navigation counts."""
        while True:
            await asyncio.sleep(RECHECK)
            try:
                user, lost, numbers = await _recheck(self.scope, list(self.topics.values()), dict(self.dags))
            except Exception:
                logger.exception("rights of a socket were not checked")
                continue
            if not user.is_authenticated or not user.is_active:
                await self.close(code=GONE)
                return
            self.user = user
            for key in lost:
                self._drop(key if not key.startswith("log:") else f"{key}:0")
                self.say(no=key, why="You may no longer see this.")
            if numbers != self.numbers:
                self.numbers = numbers
                self.say(shell=numbers)


def same_origin(scope: dict[str, Any]) -> bool:
    """The page that opened the socket came from this very host and port (or from a trusted origin)."""
    headers = dict(scope["headers"])
    origin = headers.get(b"origin", b"").decode("latin-1")
    host = headers.get(b"host", b"").decode("latin-1")
    return bool(origin) and (urlsplit(origin).netloc == host or origin in settings.CSRF_TRUSTED_ORIGINS)


@sync_to_async
def _look_up(user: Any, topic: topics.Topic) -> tuple[str | None, bool, int | None]:
    close_old_connections()
    dag_id = topics.dag_of(topic) if topic.kind != "dags" else None
    run_pk = TaskInstance.objects.filter(pk=topic.pk).values_list("run_id", flat=True).first() if topic.kind == "task" else None
    return dag_id, topics.may_hear(user, topic, dag_id), run_pk


async def _recheck(scope: dict[str, Any], heard: list[topics.Topic], dags: dict[str, str | None]) -> tuple[Any, list[str], dict[str, int]]:
    user = await get_user({"session": SessionStore(scope["session"].session_key)})

    @sync_to_async
    def looked() -> tuple[list[str], dict[str, int]]:
        gone = [t.key for t in heard if not topics.may_hear(user, t, dags.get(t.key))]
        logs = [k for k in dags if k.startswith("log:")]
        lost = gone + [k for k in logs if not topics.may_hear(user, topics.Topic("log", k), dags[k])]
        return lost, shell.shared_counts(user)

    return user, *(await looked() if user.is_authenticated else ([], {}))
