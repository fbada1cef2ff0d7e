"""Streams of the API in the form browsers and scripts know (`text/event-stream`): writing them, and who may go on reading.

A stream ends when its reader's right ends: it is looked at every few seconds, as on the pages' sockets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import StreamingHttpResponse

from apps.access import tokens
from apps.access.models import User
from apps.access.rest.operations import Call

SSE = "text/event-stream"
BEAT = 10.0
"""Seconds after which a silent stream gets a comment, so that both sides notice a dead line."""
RECHECK = 5.0
"""Seconds between two looks at the reader's rights."""


def event(kind: str, data: Any, cursor: str | None = None) -> bytes:
    """One event; `cursor` is what a reader that comes back sends as Last-Event-ID."""
    head = f"id: {cursor}\n" if cursor is not None else ""
    return f"{head}event: {kind}\n".encode() + b"data: " + orjson.dumps(data) + b"\n\n"


def beat() -> bytes:
    """Nothing happened."""
    return b": beat\n\n"


def answer(chunks: AsyncIterator[bytes], media: str = SSE) -> StreamingHttpResponse:
    """A response that is sent piece by piece, by proxies too."""
    return StreamingHttpResponse(chunks, content_type=media, headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})


def still(call: Call, may: Callable[[User], bool]) -> Callable[[], Any]:
    """An awaitable question: is the caller still somebody, and may they still?"""
    pk, token = call.person.pk, call.request.auth

    def look() -> bool:
        close_old_connections()
        try:
            user = tokens.user_of(token) if isinstance(token, str) else User.objects.filter(pk=pk, is_active=True).first()
        except (tokens.BadToken, tokens.DeadToken):
            return False
        return user is not None and may(user)

    return sync_to_async(look)
