"""The task process's way to the server and to its agent: what the SDK knows as `Comms`.

Questions (connections, variables, XComs …) go straight to the server by HTTP with the token of this one try; early facts
and secrets to hide go to the agent over the control socket. Used from any thread of the task.
"""

from __future__ import annotations

import http.client
import os
import random
import ssl
import threading
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

from trackside.runner.channel import Kind, write_all
from trackside.runner.jsonio import dumps, loads

RETRY_STATUS = frozenset({429, 502, 503, 504})
RETRY_FOR_S = 30.0
"""How long a question is repeated while the server cannot be reached."""


class ServerUnreachable(ConnectionError):
    """The Trackside server did not answer for a while; the message names it and the last cause."""


class ControlSocket:
    """The child's end of the control socket: lines to the agent, in order, from any thread."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        # Re-entrant: a signal handler may log while the same thread is writing.
        self._lock = threading.RLock()

    def send(self, kind: bytes, value: Any) -> None:
        """Write one line; waits while the agent is behind. Silent if the agent has gone (this process dies with it)."""
        line = kind + dumps(value) + b"\n"
        with self._lock:
            try:
                write_all(self.fd, line)
            except OSError:
                pass

    def close_in_forks(self) -> None:
        """Forks of the task must neither keep the control socket open nor speak in its name."""

        def close() -> None:
            self._lock = threading.RLock()
            try:
                os.close(self.fd)
            except OSError:
                pass
            self.fd = -1

        os.register_at_fork(after_in_child=close)


class TryComms:
    """`trackside.sdk.execution.comms.Comms` of a running try."""

    def __init__(self, control: ControlSocket, api_url: str, token: str, retry_for_s: float = RETRY_FOR_S) -> None:
        url = urlsplit(api_url)
        self._secure = url.scheme == "https"
        self._address = (url.hostname or "127.0.0.1", url.port)
        self._prefix = url.path.rstrip("/") + "/execution"
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._control = control
        self._retry_for_s = retry_for_s
        self._local = threading.local()

    def request(
        self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None
    ) -> tuple[int, Any]:
        """See `Comms.request`. Repeated with growing, jittered pauses while the server is away or overloaded.

        Raises ServerUnreachable when that does not help for half a minute.
        """
        target = self._prefix + path
        if params:
            target += "?" + urlencode({k: _param(v) for k, v in params.items()}, doseq=True)
        data = None if body is None else dumps(body)
        give_up = time.monotonic() + self._retry_for_s
        pause = 0.05
        while True:
            answer = self._once(method, target, data)
            if not isinstance(answer, Exception) and answer[0] not in RETRY_STATUS:
                return answer
            if time.monotonic() + pause > give_up:
                if isinstance(answer, Exception):
                    where = f"{self._address[0]}:{self._address[1] or ''}"
                    raise ServerUnreachable(f"the Trackside server at {where} does not answer: {answer}") from answer
                return answer
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause = min(pause * 2, 5.0)

    def update(self, **fields: Any) -> None:
        """See `Comms.update`."""
        self._control.send(Kind.UPDATE, fields)

    def mask(self, secret: str) -> None:
        """See `Comms.mask`: the agent reads this line before any output written after it."""
        self._control.send(Kind.MASK, secret)

    def log(self, record: dict[str, Any]) -> None:
        """A record in the shape of `core.messages.LOG_FORMAT`."""
        self._control.send(Kind.LOG, record)

    def _once(self, method: str, target: str, data: bytes | None) -> tuple[int, Any] | Exception:
        connection = self._connection()
        headers = self._headers if data is None else {**self._headers, "Content-Type": "application/json"}
        try:
            connection.request(method, target, body=data, headers=headers)
            response = connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return error
        try:
            return response.status, loads(raw) if raw else {}
        except ValueError:
            return response.status, {"detail": raw[:500].decode(errors="replace")}

    def _connection(self) -> http.client.HTTPConnection:
        kept = self._local.__dict__
        if kept.get("pid") != os.getpid():  # a fork must not share its parent's connection
            kept.clear()
            kept["pid"] = os.getpid()
            host, port = self._address
            if self._secure:
                kept["connection"] = http.client.HTTPSConnection(
                    host, port, timeout=30, context=ssl.create_default_context()
                )
            else:
                kept["connection"] = http.client.HTTPConnection(host, port, timeout=30)
        return kept["connection"]


def _param(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value
