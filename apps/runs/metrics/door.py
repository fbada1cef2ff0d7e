"""`/metrics`, `/health`, `/health/live`, `/health/ready` as a bare ASGI application, mounted by `config/asgi.py` before Django.

Before Django, because probes and Prometheus ask by the address of a pod, which is no allowed host name, and because an answer
about a broken database must not need it. `/health…` is for everybody and says nothing secret. `/metrics` names DAGs, pools and
machines: it wants TRACKSIDE_METRICS_TOKEN, or an API token of somebody who may read the monitor pages, unless
TRACKSIDE_METRICS_OPEN says otherwise.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from apps.access import policy, tokens
from apps.runs.metrics import facts, families, health

logger = logging.getLogger(__name__)
Send = Callable[[dict[str, Any]], Awaitable[None]]
PATHS = ("/metrics", "/health", "/health/live", "/health/ready")
_TEXT = b"text/plain; version=0.0.4; charset=utf-8"
_JSON = b"application/json"
_pool = ThreadPoolExecutor(1, thread_name_prefix="monitoring")
"""One thread, one connection: however many ask, they wait for each other and not for the workers' threads."""
disable_created_metrics()
_own = CollectorRegistry()
_process = ProcessCollector(registry=_own)
_requests = Counter("trackside_http_requests", "Requests to this web process.", ("door", "method", "status"), registry=_own)
_seconds = Histogram(
    "trackside_http_request_seconds", "How long they took; parked calls of workers are not among them.", ("door",), registry=_own,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)  # fmt: skip


class _Refused(Exception):
    """Why `/metrics` does not answer, with the status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def count(door: str, method: str, status: int, seconds: float | None) -> None:
    """Note a request that this process answered; `seconds` None: it was parked, so its time says nothing."""
    _requests.labels(door, method if method in _METHODS else "other", str(status)).inc()
    if seconds is not None:
        _seconds.labels(door).observe(seconds)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


async def application(scope: dict[str, Any], receive: Any, send: Send) -> None:
    """The ASGI entry point, for the paths in PATHS."""
    path, loop = scope["path"], asyncio.get_running_loop()
    if scope["method"] not in ("GET", "HEAD"):
        await _answer(send, 405, {"detail": "GET only."})
    elif path == "/health/live":
        await _answer(send, 200, {"status": "alive"})
    elif path == "/health/ready":
        why = await loop.run_in_executor(_pool, health.readiness)
        await _answer(send, 503 if why else 200, {"status": "not ready", "why": why} if why else {"status": "ready"})
    elif path == "/health":
        well, parts = await loop.run_in_executor(_pool, _whole)
        await _answer(send, 200 if well else 503, parts)
    else:
        try:
            await _answer(send, 200, await loop.run_in_executor(_pool, _metrics, _authorization(scope)))
        except _Refused as e:
            await _answer(send, e.status, {"detail": str(e)})


def _whole() -> tuple[bool, dict[str, Any]]:
    try:
        return health.whole()
    except (DatabaseError, InterfaceError) as e:
        connection.close()
        return False, {"status": "unhealthy", "database": {"status": "unhealthy", "why": str(e).strip()}}


async def _answer(send: Send, status: int, body: dict[str, Any] | bytes) -> None:
    kind, payload = (_TEXT, body) if isinstance(body, bytes) else (_JSON, orjson.dumps(body))
    headers = [(b"content-type", kind), (b"content-length", str(len(payload)).encode()), (b"cache-control", b"no-store")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


# --- who may read, and what --------------------------------------------------------------------------------------------
def _authorization(scope: dict[str, Any]) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"), "")


def _metrics(authorization: str) -> bytes:
    try:
        _admit(authorization)
    except (DatabaseError, InterfaceError) as e:
        connection.close()
        raise _Refused(503, "The database does not answer, so the token cannot be checked. TRACKSIDE_METRICS_TOKEN needs none.") from e
    return text()


def _admit(authorization: str) -> None:
    if settings.METRICS_OPEN:
        return
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise _Refused(401, "A token is missing: Authorization: Bearer … with TRACKSIDE_METRICS_TOKEN or an API token.")
    if settings.METRICS_TOKEN and hmac.compare_digest(token.encode(), settings.METRICS_TOKEN.encode()):
        return
    try:
        user = tokens.user_of(token)
    except (tokens.BadToken, tokens.DeadToken) as e:
        raise _Refused(401, f"{e} It must be TRACKSIDE_METRICS_TOKEN, or an API token of a user.") from e
    if not policy.allowed(user, policy.READ, "monitor"):
        raise _Refused(403, "The owner of this token may not read the monitor pages; the role Viewer is enough.")


def text() -> bytes:
    """The answer: the site's metrics and this process's own. Without a database the latter, and that there is none."""
    began = time.perf_counter()
    found: list[Metric] = []
    try:
        found = list(families.families(facts.read()))
    except (DatabaseError, InterfaceError) as e:
        connection.close()
        logger.warning("metrics: the database does not answer: %s", str(e).strip().splitlines()[0] if str(e) else e)
    found.append(GaugeMetricFamily("trackside_database_up", "Whether the database answered this scrape.", float(bool(found))))
    found.append(GaugeMetricFamily("trackside_scrape_seconds", "How long it took to collect all this.", time.perf_counter() - began))
    return generate_latest(_Once(found)) + generate_latest(_own)


class _Once(CollectorRegistry):
    """What `generate_latest` reads, of families that are made already."""

    def __init__(self, found: list[Metric]) -> None:
        super().__init__(auto_describe=False)
        self._found = found

    def collect(self) -> Any:
        """The families."""
        return iter(self._found)
