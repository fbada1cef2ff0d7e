"""`/execution` as a bare ASGI application: no middleware, JSON in, JSON out, long polls parked without a thread.

Mounted by `config/asgi.py` before Django. Database work runs in a small pool of threads whose connections stay open.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs

from django.conf import settings
from django.db import DataError, InterfaceError, OperationalError, close_old_connections, connection

from apps.runs import wake
from apps.runs.execution import checking, data, doors, exchange, stores, tokens, warm
from apps.runs.execution.refusal import Refused
from trackside.core import logline
from trackside.core.messages import ExchangeRequest
from trackside.executors.base import Grant
from trackside.runner.jsonio import exact_dumps, exact_loads

logger = logging.getLogger(__name__)

Handler = Callable[..., Any]
THREADS = 6
MAX_WAIT = 25.0
MAX_BODY = settings.MAX_XCOM_BYTES + 4 * 1_048_576

_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="execution")


class Answer(Protocol):
    """What a parked call waits for."""

    @property
    def empty(self) -> bool:
        """Nothing to tell yet."""


Found = TypeVar("Found", bound=Answer)


class _Parking:
    """Parked calls of this process; every wake-up on WORK lets all of them look again."""

    def __init__(self) -> None:
        self._parked: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._listener: wake.Listener | None = None

    def ring(self) -> None:
        """Callable from any thread."""
        for event, loop in list(self._parked.items()):
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # that loop is closed
                self._parked.pop(event, None)

    async def wait(self, gone: asyncio.Event, seconds: float, look: Callable[[], Awaitable[Found]]) -> Found | None:
        """Look again at every wake-up until there is something, the time is over (None) or the caller went away (None)."""
        if self._listener is None or not self._listener.is_alive():
            self._listener = wake.Listener({wake.WORK: [self.ring]}, name="work-listener")
            self._listener.start()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        event = asyncio.Event()
        self._parked[event] = loop
        try:
            while not gone.is_set():
                # look before the first wait too: work may have come between the exchange and the parking
                outcome = await look()
                if not outcome.empty:
                    return outcome
                try:
                    async with asyncio.timeout_at(end):
                        await event.wait()
                except TimeoutError:
                    return None
                event.clear()
        finally:
            self._parked.pop(event, None)
        return None


_parking = _Parking()


async def application(
    scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    """The ASGI entry point."""
    if scope["type"] != "http":
        return
    try:
        status, body = await _respond(scope, receive)
    except Refused as e:
        status, body = e.status, {"detail": e.detail}
    except DataError as e:
        # the checks at the door know the columns; this is what they overlook (U+0000 in a key, a number too large)
        logger.warning("execution API: %s %s: %s", scope["method"], scope["path"], e)
        status, body = 422, {"detail": f"A value cannot be stored: {e}"}
    except (OperationalError, InterfaceError) as e:
        logger.warning("execution API: database unavailable: %s", e)
        status, body = 503, {"detail": "The database is unavailable; repeat the call."}
    except Exception:
        logger.exception("execution API: %s %s", scope["method"], scope["path"])
        status, body = 500, {"detail": "The server made a mistake; its log says which. Repeat the call."}
    payload = exact_dumps(body, default=str)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


async def _respond(scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]]) -> tuple[int, Any]:
    path = scope["path"].removeprefix("/execution") or "/"
    token = _bearer(scope)
    body = await _read(receive)
    if path == "/exchange":
        _need_worker(token, scope)
        return await _exchange(checking.message(ExchangeRequest, body), receive)
    if path == "/warm/next" and scope["method"] == "POST":
        return await _next(warm.grant_of(token), body, receive)
    if "\x00" in path or b"%00" in scope["query_string"]:
        raise Refused(422, "U+0000 cannot be part of an address.")
    for method, pattern, handler in ROUTES:
        if method == scope["method"] and (match := pattern.fullmatch(path)):
            query = {k: v[0] for k, v in parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).items()}
            return 200, await _in_thread(handler, token=token, body=body, query=query, **match.groupdict())
    raise Refused(404, f"There is no {scope['method']} {path} in the execution API.")


async def _exchange(request: ExchangeRequest, receive: Callable[[], Awaitable[dict[str, Any]]]) -> tuple[int, Any]:
    try:
        outcome = await _in_thread(exchange.serve, request)
    except exchange.UnknownWorker as e:
        raise Refused(422, f"worker_id {e} is not a UUID.") from e
    if outcome.more_work:
        _parking.ring()
    for report in request.finished:
        logline.step(logger, "A try's report came.", try_id=report.get("try_id") if isinstance(report, dict) else None)
    if outcome.empty and request.wait_s > 0:
        gone = asyncio.Event()
        watcher = asyncio.ensure_future(_watch(receive, gone))
        try:
            later = await _parking.wait(gone, min(request.wait_s, MAX_WAIT), lambda: _in_thread(exchange.look_again, request))
        finally:
            watcher.cancel()
        outcome = later or outcome
    for order in outcome.response.start:
        ids = {name: order.get(name) for name in ("try_id", "dag_id", "task_id")}
        logline.step(logger, "A try was handed out.", **ids, run_id=order["run"].get("run_id"))
    return 200, outcome.response.to_dict()


async def _next(grant: Grant, body: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]]) -> tuple[int, Any]:
    seconds = checking.field(body, "wait_s", int, default=0) or 0
    found: warm.HandOut | None = await _in_thread(warm.serve, grant, body)
    if found is not None and found.empty and seconds > 0 and body.get("take", True):
        gone = asyncio.Event()
        watcher = asyncio.ensure_future(_watch(receive, gone))
        try:
            found = await _parking.wait(gone, min(seconds, MAX_WAIT), lambda: _in_thread(warm.serve, grant, body))
        finally:
            watcher.cancel()
    if found is not None and (order := found.body.get("order")):
        ids = {name: order.get(name) for name in ("try_id", "dag_id", "task_id")}
        logline.step(logger, f"A try was handed to warm pod {grant.place}.", **ids, run_id=order["run"].get("run_id"))
    return 200, found.body if found is not None else {}


async def _watch(receive: Callable[[], Awaitable[dict[str, Any]]], gone: asyncio.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()
    _parking.ring()


def _bearer(scope: dict[str, Any]) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].decode("latin-1").strip()
    raise Refused(401, "A token is missing: Authorization: Bearer …")


def _need_worker(token: str, scope: dict[str, Any]) -> None:
    if scope["method"] != "POST":
        raise Refused(405, "POST only.")
    if not tokens.is_worker(token):
        raise Refused(401, "The worker token is wrong. It is in <home>/keys/worker.token of the server, or in TRACKSIDE_WORKER_TOKEN.")


async def _read(receive: Callable[[], Awaitable[dict[str, Any]]]) -> Any:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "The body ended early.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            raise Refused(413, f"The body is larger than {MAX_BODY:,} bytes.")
        if not message.get("more_body"):
            break
    raw = b"".join(parts)
    try:
        body = exact_loads(raw) if raw else {}
    except ValueError as e:
        raise Refused(400, f"The body is not JSON: {e}") from e
    if not isinstance(body, dict):
        raise Refused(422, "The body must be a JSON object.")
    return body


async def _in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(_pool, contextvars.copy_context().run, lambda: _with_connection(function, *args, **kwargs))


def _with_connection(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except (OperationalError, InterfaceError):
        connection.close()
        close_old_connections()
        raise


def _route(method: str, path: str, handler: Handler) -> tuple[str, re.Pattern[str], Handler]:
    return method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), handler


ROUTES = [
    _route("POST", "/logs", doors.worker_logs),
    _route("POST", "/goodbye", doors.goodbye),
    _route("POST", "/tries/{try_id}/start", doors.start),
    _route("POST", "/tries/{try_id}/heartbeat", doors.heartbeat),
    _route("POST", "/tries/{try_id}/update", doors.update),
    _route("POST", "/tries/{try_id}/finish", doors.finish),
    _route("POST", "/tries/{try_id}/logs", doors.try_logs),
    _route("POST", "/tries/{try_id}/files", doors.files),
    _route("GET", "/connections/{conn_id}", data.get_connection),
    _route("GET", "/variables", data.list_variables),
    _route("GET", "/variables/{key}", data.get_variable),
    _route("PUT", "/variables/{key}", data.put_variable),
    _route("DELETE", "/variables/{key}", data.delete_variable),
    _route("GET", "/xcoms", data.get_xcoms),
    _route("POST", "/xcoms", data.push_xcom),
    _route("DELETE", "/xcoms/{key}", data.delete_xcom),
    _route("GET", "/runs/previous", data.previous_run),
    _route("GET", "/runs/count", data.count_runs),
    _route("GET", "/runs/state", data.run_state),
    _route("POST", "/runs", data.trigger_run),
    _route("GET", "/asset-events", data.asset_events),
    _route("GET", "/task-instances/count", data.count_task_instances),
    _route("GET", "/task-instances/states", data.task_states),
    _route("GET", "/dags/{dag_id}", data.get_dag),
    _route("GET", "/assets", stores.assets),
    *(_route(method, "/state/task", stores.task(method)) for method in ("GET", "PUT", "DELETE")),
    *(_route(method, "/state/asset", stores.asset(method)) for method in ("GET", "PUT", "DELETE")),
]
