"""Around every request to a web process: its id, its line in the log, its place in the counters.

`X-Request-ID` is taken over if it is harmless, else made; it is in the answer and in every line that is logged meanwhile, as
`request_id`. Calls about one try carry the try's id as well. Requests have a line of their own when the log is JSON (they are
for machines); errors have one always.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings

from apps.runs.metrics.door import count
from trackside.core import logline

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
logger = logging.getLogger("trackside.requests")
HEADER = b"x-request-id"
_TRY = re.compile(r"/execution/tries/([0-9a-fA-F-]{36})/")
_QUIET = frozenset({"static", "monitoring", "execution"})
"""Doors whose successes are not worth a line: they are many and say nothing."""


def observed(application: Application) -> Application:
    """The application, observed."""

    async def around(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        request_id = _given(scope) or uuid.uuid4().hex
        began, status = time.perf_counter(), 500

        async def tell(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (HEADER, request_id.encode())]}
            await send(message)

        found = _TRY.match(scope["path"])
        with logline.about(request_id=request_id, try_id=found[1].lower() if found else None):
            try:
                await application(scope, receive, tell)
            finally:
                _note(scope, status, time.perf_counter() - began)

    return around


def _given(scope: dict[str, Any]) -> str:
    for name, value in scope["headers"]:
        if name == HEADER:
            text: str = value.decode("latin-1")
            return text if logline.is_acceptable(text) else ""
    return ""


def _note(scope: dict[str, Any], status: int, seconds: float) -> None:
    path = scope["path"]
    door = door_of(path)
    count(door, scope["method"], status, None if _is_parked(path) else seconds)
    if settings.LOG_FORMAT == "json" and (door not in _QUIET or status >= 400):
        fields = {"method": scope["method"], "path": path, "status": status, "seconds": round(seconds, 4)}
        logger.info("%s %s %s", scope["method"], path, status, extra={"fields": fields})


def _is_parked(path: str) -> bool:
    """Calls that wait for news: how long they take says nothing about the site."""
    return path in ("/execution/exchange", "/api/trackside/v1/events") or (path.startswith("/api/") and path.endswith(("/wait", "/follow")))


def door_of(path: str) -> str:
    """Which part of the site a path belongs to; few, because each is a label."""
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    return {"execution": "execution", "api": "rest", "auth": "rest", "static": "static", "admin": "admin", "metrics": "monitoring",
            "health": "monitoring"}.get(first, "pages")  # fmt: skip
