"""How many requests a person, and a token, may make: a token bucket for each, shared by all web processes.

Asked by the REST view (DRF throttles below) and by the middleware of the pages. The execution API of workers does not come by here.
A bucket holds a minute's worth of requests and refills all the time. Each process counts in memory and settles with the row of the
bucket in PostgreSQL only when it has let a twentieth of it through: the processes together let through no more than a twentieth of
a minute's worth each above the limit, and whoever makes few requests costs no statement. Limits: TRACKSIDE_RATE_LIMIT,
TRACKSIDE_TOKEN_RATE_LIMIT (requests a minute, 0: none).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.deprecation import MiddlewareMixin
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from apps.access import prepared
from apps.access.models import User

log = logging.getLogger(__name__)
MOST_BUCKETS = 10_000
"""Buckets a process remembers; those unused for longest are forgotten, and begin full again."""
APIS = ("/api/v2/", "/api/trackside/v1/")
"""Below these the throttles of the REST view count, which also know tokens."""

_SETTLE = """
INSERT INTO access_ratebucket AS b (key, level, at) VALUES (%(key)s, %(size)s::float - %(spent)s::float, clock_timestamp())
ON CONFLICT (key) DO UPDATE SET at = clock_timestamp(), level = GREATEST(-%(size)s::float, LEAST(%(size)s::float,
    b.level + EXTRACT(epoch FROM clock_timestamp() - b.at)::float * %(size)s::float / 60) - %(spent)s::float)
RETURNING level
"""


class Buckets:
    """All buckets of one process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, float, int]] = OrderedDict()
        """Key → level, when (monotonic seconds), let through since the last settling."""

    def take(self, key: str, size: int, at: float | None = None) -> int:
        """Let one request through: 0, or the seconds after which to try again. `size`: requests a minute, 0 for any number."""
        if size <= 0:
            return 0
        at = time.monotonic() if at is None else at
        with self._lock:
            level, since, spent = self._kept.pop(key, (float(size), at, 0))
            level = min(float(size), level + max(0.0, at - since) * size / 60)
            wait = 0 if level >= 1 else max(1, math.ceil((1 - level) * 60 / size))
            settle = 0
            if wait == 0:
                level, spent = level - 1, spent + 1
                if spent >= max(1, size // 20):
                    settle, spent = spent, 0
            self._kept[key] = (level, at, spent)
            if len(self._kept) > MOST_BUCKETS:
                self._kept.popitem(last=False)
        if settle:
            self._settle(key, size, settle)
        return wait

    def _settle(self, key: str, size: int, spent: int) -> None:
        try:
            shared = prepared.rows(_SETTLE, {"key": key, "size": size, "spent": spent})[0][0]
        except DatabaseError as e:  # the request itself will say it better
            log.warning("rate limits are not shared between processes: %s", e)
            return
        with self._lock:
            if key in self._kept:
                level, at, later = self._kept[key]
                self._kept[key] = (min(level, shared - later), at, later)


buckets = Buckets()


def sentence(seconds: int, of: str) -> str:
    """What the caller is told: on pages in their language."""
    who = _("Too many requests by this token.") if of == "token" else _("Too many requests by this person.")
    again = ngettext(
        "Try again in %(n)s second, or ask an administrator to raise the limit.",
        "Try again in %(n)s seconds, or ask an administrator to raise the limit.",
        seconds,
    )
    return f"{who} {again % {'n': seconds}}"


class PersonThrottle(BaseThrottle):
    """All requests of a person, whatever they show."""

    of = "person"
    _wait = 0

    def allow_request(self, request: Request, view: Any) -> bool:
        """See DRF."""
        key, size = self.bucket(request)
        self._wait = buckets.take(key, size) if key else 0
        return self._wait == 0

    def wait(self) -> float | None:
        """See DRF."""
        return self._wait

    def bucket(self, request: Request) -> tuple[str, int]:
        """Key and size; an empty key is not limited."""
        user: Any = request.user
        return (f"user:{user.pk}", settings.RATE_LIMIT) if user is not None else ("", 0)


class TokenThrottle(PersonThrottle):
    """Requests with one lasting token."""

    of = "token"

    def bucket(self, request: Request) -> tuple[str, int]:
        """Key and size; signed tokens of a sign-in count for their person only."""
        number = getattr(request.user, "token_pk", None)
        return (f"token:{number}", settings.TOKEN_RATE_LIMIT) if number is not None else ("", 0)


class PageRates(MiddlewareMixin):
    """Pages, their data and the administration: 429 above the limit.

    Counts by the person that the session names, also one that a trusted proxy's header began in this request; neither costs a statement.
    """

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """None lets the request through."""
        if request.path_info.startswith(APIS):
            return None
        user = request.user  # a lazy one belongs to the session; the proxy's person without a session is there already
        number = user.pk if type(user) is User else request.session.get("_auth_user_id")
        wait = buckets.take(f"user:{number}", settings.RATE_LIMIT) if number else 0
        if not wait:
            return None
        text = sentence(wait, "person")
        headers = {"Retry-After": str(wait), "Cache-Control": "no-store"}
        if request.path_info.startswith("/ui/"):
            return JsonResponse({"detail": text}, status=429, headers=headers)
        answer = render(request, "429.html", {"text": text}, status=429)
        for name, value in headers.items():
            answer[name] = value
        return answer


def prune() -> int:
    """Forget buckets that are full by now."""
    return prepared.run("DELETE FROM access_ratebucket WHERE at < clock_timestamp() - interval '1 hour'")
