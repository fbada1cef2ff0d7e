"""REST: the log of a try by bytes or by lines, what it holds, searched, and followed while it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import orjson
from django.http import StreamingHttpResponse
from pydantic import Field

from apps.access.rest.errors import bad_request, not_found
from apps.access.rest.operations import Call
from apps.access.rest.params import Natural, Param
from apps.runs import logs
from apps.runs.api.lookups import the_ti
from apps.runs.models import Try
from apps.ui import logwindow
from apps.ui.api import own, streams
from apps.ui.live import logtail, topics

MAX_LIMIT = 1_000_000
_Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]
_Line = Annotated[int, Field(ge=1, le=2**53)]
_Hits = Annotated[int, Field(ge=1, le=logwindow.MAX_HITS)]
_Pattern = Annotated[str, Field(min_length=1, max_length=logwindow.MAX_PATTERN)]
_Count = Annotated[int, Field(ge=1, le=logwindow.MAX_LINES)]
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
_NUMBERS = {"type": "array", "items": {"type": "integer"}}
_WINDOW = {
    "type": "object",
    "title": "LogWindow",
    "properties": {
        "try_id": {"type": "string", "format": "uuid"},
        "at": {"type": "integer", "description": "Place of the first line among those that show."},
        "numbers": _NUMBERS,
        "lines": {"type": "array", "items": {"type": "object"}},
        "shown": {"type": "integer", "description": "How many lines show."},
        "records": {"type": "integer", "description": "How many lines there are."},
        "complete": {"type": "boolean"},
    },
    "required": ["try_id", "at", "numbers", "lines", "shown", "records", "complete"],
}
_COUNTS = {"type": "object", "additionalProperties": {"type": "integer"}}
_ABOUT = {
    "type": "object",
    "title": "LogContents",
    "properties": {
        "try_id": {"type": "string", "format": "uuid"},
        "records": {"type": "integer"},
        "size": {"type": "integer"},
        "complete": {"type": "boolean"},
        "levels": _COUNTS,
        "sources": _COUNTS,
        "shown": {"type": "integer"},
        "groups": {"type": "array", "items": {"type": "array"}},
        "first_error": {"anyOf": [_NUMBERS, {"type": "null"}]},
    },
    "required": ["try_id", "records", "size", "complete", "levels", "sources", "shown", "groups", "first_error"],
}
_FOUND = {
    "type": "object",
    "title": "LogHits",
    "properties": {
        "hits": {"type": "array", "items": _NUMBERS},
        "next": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "scanned": {"type": "integer"},
        "records": {"type": "integer"},
    },
    "required": ["hits", "next", "scanned", "records"],
}
_PATH = "GET /dags/{dag_id}/runs/{run_id}/tasks/{task_id}/log"
_VIEW = (
    Param("level", Literal["debug", "info", "warning", "error"], many=True, help="Only lines of these levels."),
    Param("source", Literal["log", "stdout", "stderr", "system"], many=True, help="Only lines of these sources."),
)
_WHICH = (Param("map_index", int, -1), Param("try_number", Natural, help="The newest one if left out."))


def _view(call: Call) -> logwindow.View:
    return logwindow.View(frozenset(call.query["level"] or ()), frozenset(call.query["source"] or ()))


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
    query=(
        *_WHICH,
        *_VIEW,
        Param("offset", _Offset, 0, help="Byte to begin at."),
        Param("limit", _Limit, 65_536, help="Bytes, about."),
        Param("line", _Line, help="Instead of bytes: number of the line to begin at, or the next of these levels and sources."),
        Param("count", _Count, 200, help="With `line`: how many lines at most."),
    ),
    returns={"anyOf": [_PIECE, _WINDOW]},
)
def log_range(call: Call, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
    """A piece of a log: whole lines from a byte on. `to` is the `offset` of the next piece; `complete` says there is none.

    With `line`: the lines of these numbers, of chosen levels and sources only; `numbers` says which ones they are.
    """
    row = _try(call, dag_id, run_id, task_id)
    if call.query["line"] is not None:
        try:
            return logwindow.window(row, _view(call), line=call.query["line"], count=call.query["count"])
        except FileNotFoundError:
            raise not_found("The log is not here: it was removed, or kept by another server.") from None
    if call.query["level"] or call.query["source"]:
        raise bad_request("Levels and sources choose among lines: say `line=1` too.")
    start = call.query["offset"]
    lines, after, complete = logs.read(row, start, call.query["limit"])
    return {"try_id": str(row.pk), "from": start, "to": after, "size": logs.size_of(row.pk), "complete": complete, "lines": lines}


@own(f"{_PATH}/about", may=("read", "log"), query=(*_WHICH, *_VIEW), returns=_ABOUT)
def log_about(call: Call, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
    """What a log holds: lines, bytes, levels, sources, groups, and `first_error` as [number, place among those that show]."""
    return logwindow.about(_try(call, dag_id, run_id, task_id), _view(call))


@own(
    f"{_PATH}/search",
    may=("read", "log"),
    query=(
        *_WHICH,
        *_VIEW,
        Param("q", _Pattern, required=True, help="The text, in any case."),
        Param("regex", bool, False, help="`q` is a regular expression (RE2)."),
        Param("after", _Offset, 0, help="Only lines after this number: `next` of the answer before."),
        Param("limit", _Hits, 100),
    ),
    returns=_FOUND,
)
def log_search(call: Call, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
    """Lines that hold a text: `hits` are [number, place among those that show]. It answers after a moment with what it found;
    unless `next` is null, there is more to look through after that number."""
    q = call.query
    try:
        return logwindow.search(
            _try(call, dag_id, run_id, task_id), q["q"], _view(call), regex=q["regex"], after=q["after"], limit=q["limit"]
        )  # fmt: skip
    except logwindow.BadPattern as e:
        raise bad_request(f"q is not a regular expression: {e}") from None


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
                async with asyncio.timeout(streams.RECHECK):
                    frame = await frames.get()
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
