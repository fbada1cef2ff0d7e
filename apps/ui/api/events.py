"""REST: live events as a resumable stream, from the same hub and the same topics as the pages.

Every event carries a cursor. A reader that comes back with it (`Last-Event-ID`, or `cursor`) gets everything since, perhaps
the last moment twice; when that is too much it is told `resync`: load afresh, then go on from the cursor of that event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import StreamingHttpResponse

from apps.access.rest.errors import Problem, flaw, invalid
from apps.access.rest.operations import Call
from apps.access.rest.params import Param
from apps.runs.api.lookups import the_run, the_ti
from apps.ui.api import own, streams
from apps.ui.live import cursor as cursors
from apps.ui.live import hub as hubs
from apps.ui.live import topics
from apps.ui.live.cursor import Cursor

QUEUE = 256
"""Frames that wait for a slow reader; then it is told to load afresh."""
_SCHEMA = {"type": "string"}


def _topic(call: Call) -> tuple[topics.Topic, int | None]:
    """What the query asks to hear, and the run it lies in. 404 for what is not there, 403 for what may not be heard."""
    dag_id, run_id, task_id = (call.query[n] for n in ("dag_id", "run_id", "task_id"))
    if (run_id and not dag_id) or (task_id and not run_id):
        raise invalid(flaw(("query",), "run_id needs dag_id, and task_id needs both"))
    if not dag_id:
        call.require("read", "dag")
        return topics.parse("dags"), None
    call.require("read", "dag", dag_id)
    if task_id:
        ti = the_ti(call, dag_id, run_id, task_id, call.query["map_index"])
        return topics.parse(f"task:{ti.pk}"), ti.run_id
    return topics.parse(f"run:{the_run(call, dag_id, run_id).pk}" if run_id else f"dag:{dag_id}"), None


@own(
    "GET /events",
    may=("read", "dag"),
    errors=(404,),
    query=(
        Param("dag_id", help="Only this DAG; without it short news of all DAGs."),
        Param("run_id", help="Only this run."),
        Param("task_id", help="Only this task of the run."),
        Param("map_index", int, -1),
        Param("cursor", help="Go on after this event, as Last-Event-ID does."),
    ),
    returns=_SCHEMA,
    media=(streams.SSE,),
    headers={"Last-Event-ID": "Cursor of the last event that was received."},
)
def live_events(call: Call) -> StreamingHttpResponse:
    """What happens, as it happens: one `change` per change of a run or of tasks, with a cursor to come back with."""
    topic, run_pk = _topic(call)
    since = call.request.headers.get("Last-Event-ID") or call.query["cursor"]
    try:
        cursor = Cursor.parse(since) if since else None
    except ValueError:
        raise Problem(400, "This is no cursor of this stream: send the id of an event, or nothing.") from None
    dag_id = call.query["dag_id"]
    may = streams.still(call, lambda user: topics.may_hear(user, topic, dag_id))
    return streams.answer(_tell(topic, run_pk, cursor, may))


class _Ear:
    """One stream as the hub sees it."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[str | None] = asyncio.Queue(QUEUE)

    def deliver(self, frame: str) -> None:
        """From the hub; never waits. None in the queue: too slow, load afresh."""
        if self.frames.full():
            while not self.frames.empty():
                self.frames.get_nowait()
            self.frames.put_nowait(None)
        else:
            self.frames.put_nowait(frame)


async def _tell(topic: topics.Topic, run_pk: int | None, cursor: Cursor | None, may: Any) -> AsyncIterator[bytes]:
    hub, ear = hubs.current(), _Ear()
    start = str(cursor) if cursor is not None else await _now()
    try:
        yield streams.event("ready", {"topic": topic.key}, start)
        try:
            for frame in await hub.subscribe(ear, topic, Cursor.parse(start), run_pk):
                for piece in _changes(frame):
                    yield piece
        except hubs.TooFarBehind:
            fresh = await _now()
            await hub.subscribe(ear, topic, None)
            yield streams.event("resync", {"why": "Too much happened since that cursor: load afresh."}, fresh)
        checked = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(min(streams.BEAT, streams.RECHECK)):
                    heard = await ear.frames.get()
            except TimeoutError:
                yield streams.beat()
            else:
                if heard is None:
                    yield streams.event("resync", {"why": "You read too slowly: load afresh."}, await _now())
                else:
                    for piece in _changes(heard):
                        yield piece
            if time.monotonic() - checked > streams.RECHECK:
                checked = time.monotonic()
                if not await may():
                    yield streams.event("end", {"why": "You may no longer see this."})
                    return
    finally:
        hub.unsubscribe(ear, [topic.key])


def _changes(frame: str) -> list[bytes]:
    """The events of a frame, in words; the cursor behind one sees all transactions before its own."""
    out = []
    for xid, _, kind, verb, dag_id, _, run_id, state, tis, at in orjson.loads(frame)["events"]:
        tasks = [{"task_id": t[1], "map_index": t[2], "try_number": t[3]} for t in tis] if isinstance(tis, list) else tis
        change = {"kind": kind, "verb": verb, "dag_id": dag_id, "run_id": run_id, "state": state, "tasks": tasks, "at": at / 1000}
        out.append(streams.event("change", change, f"{xid}:{xid}:"))
    return out


@sync_to_async
def _now() -> str:
    close_old_connections()
    return cursors.take()
