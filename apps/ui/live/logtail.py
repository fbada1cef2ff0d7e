"""Follow one try's log for one socket: what is stored from an offset on, then every growth until the log is complete.

Growth is announced by the store when the chunk arrived in this process, and found by its size every quarter second
otherwise. Frames carry byte offsets, so a page that reconnects asks for `to` and nothing is lost or repeated.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import orjson
from asgiref.sync import sync_to_async
from django.db import close_old_connections

from apps.runs import logs
from apps.runs.models import Try
from apps.ui import logwindow

CHUNK = 32_000
"""Bytes of log per frame; JSON escapes may double them (a frame stays below 64 KiB)."""
POLL = 0.25
BEHIND = 1_000_000
"""Bytes; a page that is further behind the end asks for windows instead of having everything in between streamed."""
ROW_AGE = 1.0
"""Seconds for which the try's row may be old: it only says that the log has ended."""

_waiting: dict[UUID, set[Callable[[], None]]] = {}
_waiting_lock = threading.Lock()
_subscribed = False


def _heard(try_id: UUID, size: int) -> None:
    with _waiting_lock:
        callbacks = list(_waiting.get(try_id, ()))
    for callback in callbacks:
        callback()


def _wait_for(try_id: UUID, callback: Callable[[], None]) -> None:
    global _subscribed
    with _waiting_lock:
        if not _subscribed:
            logs.subscribe(_heard)
            _subscribed = True
        _waiting.setdefault(try_id, set()).add(callback)


def _forget(try_id: UUID, callback: Callable[[], None]) -> None:
    with _waiting_lock:
        callbacks = _waiting.get(try_id, set())
        callbacks.discard(callback)
        if not callbacks:
            _waiting.pop(try_id, None)


async def follow(try_id: UUID, offset: int, key: str, push: Callable[[str], Awaitable[None]], *, behind: int | None = None) -> None:
    """Push frames {"topic", "log": {"from", "to", "lines", "complete"}} until the log is complete.

    With `behind`: a reader that is more bytes than this behind the end gets {"behind": true} as its last frame.
    """
    news = asyncio.Event()
    loop = asyncio.get_running_loop()

    def heard() -> None:
        try:
            loop.call_soon_threadsafe(news.set)
        except RuntimeError:  # the socket's loop is gone
            pass

    _wait_for(try_id, heard)
    try:
        row, fetched, first = await _row(try_id), time.monotonic(), True
        while row is not None:
            if behind is not None and await asyncio.to_thread(logs.size_of, try_id) - offset > behind:
                await push(orjson.dumps({"topic": key, "log": {"behind": True, "from": offset, "to": offset, "lines": []}}).decode())
                return
            lines, after, complete = await asyncio.to_thread(_read, row, offset, behind is not None)
            if after != offset or complete or first:
                await push(frame(key, offset, after, lines, complete))
                first = False
            grew, offset = after != offset, after
            if complete:
                return
            if not grew:
                try:
                    async with asyncio.timeout(POLL):
                        await news.wait()
                except TimeoutError:
                    pass
                news.clear()
                if time.monotonic() - fetched > ROW_AGE:
                    row, fetched = await _row(try_id), time.monotonic()
    finally:
        _forget(try_id, heard)


def frame(key: str, start: int, end: int, lines: list[Any], complete: bool) -> str:
    """One frame of the stream."""
    return orjson.dumps({"topic": key, "log": {"from": start, "to": end, "lines": lines, "complete": complete}}).decode()


def _read(row: Try, offset: int, clipped: bool) -> tuple[list[dict[str, Any]], int, bool]:
    lines, after, complete = logs.read(row, offset, CHUNK)
    return ([logwindow.clip(line) for line in lines] if clipped else lines), after, complete


@sync_to_async
def _row(try_id: UUID) -> Try | None:
    close_old_connections()
    return Try.objects.filter(pk=try_id).only("id", "log_ended", "log_size").first()
