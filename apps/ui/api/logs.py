"""REST: the log of a try by byte range, and followed while it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from django.http import StreamingHttpResponse
from pydantic import Field

from apps.access.rest.errors import not_found
from apps.access.rest.operations import Call
from apps.access.rest.params import Natural, Param
from apps.runs import logs
from apps.runs.api.lookups import the_ti
from apps.runs.models import Try
from apps.ui.api import own, streams
from apps.ui.live import logtail, topics

MAX_LIMIT = 1_000_000
_Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]
_Offset = Annotated[int, Field(ge=0, le=2**53)]
_PIECE = {
    "type": "object",
    "title": "LogPiece",
    "properties": {
        "try_id": {"type": "string", "format": "uuid"},
        "from": {"type": "integer"},
        "to": {"type": "integer"},
        "size": {"type": "integer"},
        "complete": {"type": "boolean"},
        "lines": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["try_id", "from", "to", "size", "complete", "lines"],
}
_PATH = "GET /dags/{dag_id}/runs/{run_id}/tasks/{task_id}/log"
_WHICH = (Param("map_index", int, -1), Param("try_number", Natural, help="The newest one if left out."))


def _try(call: Call, dag_id: str, run_id: str, task_id: str) -> Try:
    ti = the_ti(call, dag_id, run_id, task_id, call.query["map_index"])
    number = call.query["try_number"]
    rows = Try.objects.filter(ti=ti)
    row = (rows.filter(number=min(number, 2**31 - 1)) if number is not None else rows.order_by("-number")).first()
    if row is None:
        raise not_found("This task instance has no such try yet, so there is no log.")
    return row


@own(
    _PATH,
    may=("read", "log"),
    query=(*_WHICH, Param("offset", _Offset, 0, help="Byte to begin at."), Param("limit", _Limit, 65_536, help="Bytes, about.")),
    returns=_PIECE,
)
def log_range(call: Call, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
    """A piece of a log: whole lines from a byte on. `to` is the `offset` of the next piece; `complete` says there is none."""
    row = _try(call, dag_id, run_id, task_id)
    start = call.query["offset"]
    lines, after, complete = logs.read(row, start, call.query["limit"])
    return {"try_id": str(row.pk), "from": start, "to": after, "size": logs.size_of(row.pk), "complete": complete, "lines": lines}


@own(
    f"{_PATH}/follow",
    may=("read", "log"),
    query=(*_WHICH, Param("offset", _Offset, 0, help="Byte to begin at; Last-Event-ID counts more.")),
    returns={"type": "string"},
    media=(streams.SSE,),
    headers={"Last-Event-ID": "The byte after the last piece that was received."},
)
def log_follow(call: Call, dag_id: str, run_id: str, task_id: str) -> StreamingHttpResponse:
    """A log as it is written, from a byte on until its end; come back with Last-Event-ID."""
    row = _try(call, dag_id, run_id, task_id)
    seen = call.request.headers.get("Last-Event-ID", "")
    start = min(int(seen), 2**53) if seen.isdecimal() and len(seen) < 18 else call.query["offset"]
    topic = topics.Topic("log", f"log:{row.pk}", try_id=row.pk)
    return streams.answer(_follow(row, start, streams.still(call, lambda user: topics.may_hear(user, topic, dag_id))))


async def _follow(row: Try, start: int, may: Any) -> AsyncIterator[bytes]:
    frames: asyncio.Queue[str | None] = asyncio.Queue(4)

    async def run() -> None:
        try:
            await logtail.follow(row.pk, start, "log", frames.put)
        finally:
            await frames.put(None)

    tail = asyncio.create_task(run())
    try:
        while True:
            try:
                frame = await asyncio.wait_for(frames.get(), streams.RECHECK)
            except TimeoutError:
                if not await may():
                    yield streams.event("end", {"why": "You may no longer see this."})
                    return
                yield streams.beat()
                continue
            if frame is None:
                yield streams.event("end", {"why": "The log is complete."})
                return
            piece = orjson.loads(frame)["log"]
            yield streams.event("lines", piece, str(piece["to"]))
    finally:
        tail.cancel()
