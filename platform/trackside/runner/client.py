"""The task process's way to the server and to its agent: what the SDK knows as `Comms`.

Questions (connections, variables, XComs …) go straight to the server by HTTP with the token of this one try; early facts
and secrets to hide go to the agent over the control socket. Used from any thread of the task.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from trackside.runner.channel import Kind, write_all
from trackside.runner.jsonio import dumps, loads

if TYPE_CHECKING:
    import http.client

RETRY_STATUS = frozenset({429, 502, 503, 504})
RETRY_FOR_S = 30.0
"""How long a question is repeated while the server cannot be reached."""


class ServerUnreachable(ConnectionError):
    """The Trackside server did not answer for a while; the message names it and the last cause."""


class ControlSocket:
    """The child's end of the control socket: lines to the agent, in order, from any thread."""

    def __init__(self) -> None:
        self.fd = -1
        # Re-entrant: a signal handler may log while the same thread is writing.
        self._lock = threading.RLock()

    def open(self, fd: int) -> None:
        """This process is the task now."""
        self.fd = fd

    def send(self, kind: bytes, value: Any) -> None:
        """Write one line; waits while the agent is behind. Silent if the agent has gone (this process dies with it)."""
        line = kind + dumps(value) + b"\n"
        with self._lock:
            try:
                write_all(self.fd, line)
            except OSError:
                pass

    def log(self, record: dict[str, Any]) -> None:
        """A record in the shape of `core.messages.LOG_FORMAT`; outside a task it goes to stderr."""
        if self.fd >= 0:
            self.send(Kind.LOG, record)
        else:
            print(record["level"].upper(), record["event"], file=sys.stderr)  # noqa: T201

    def close_in_fork(self) -> None:
        """Forks of the task neither keep the socket open nor speak in its name, nor do they run its SIGTERM handler:
        they die of SIGTERM as usual, and the task's on_kill runs in the task only."""
        if self.fd < 0:
            return
        self._lock = threading.RLock()
        try:
            os.close(self.fd)
        except OSError:
            pass
        self.fd = -1
        handler = signal.getsignal(signal.SIGTERM)
        if getattr(handler, "__module__", "").startswith("trackside."):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


class TryComms:
    """`trackside.sdk.execution.comms.Comms` of a running try."""

    def __init__(self, control: ControlSocket, api_url: str, token: str, retry_for_s: float = RETRY_FOR_S) -> None:
        self._url = api_url
        self._token = token
        self._control = control
        self._retry_for_s = retry_for_s
        self._local: threading.local | None = None

    def request(
        self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None
    ) -> tuple[int, Any]:
        """See `Comms.request`. Repeated with growing, jittered pauses while the server is away or overloaded.

        Raises ServerUnreachable when that does not help for half a minute.
        """
        api_url = urlsplit(self._url)
        target = api_url.path.rstrip("/") + "/execution" + path
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
                    where = api_url.netloc.rpartition("@")[2]
                    raise ServerUnreachable(f"the Trackside server at {where} does not answer: {answer}") from answer
                return answer
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause = min(pause * 2, 5.0)

    def update(self, **fields: Any) -> None:
        """See `Comms.update`. Says its own process, too: who sees fields rendered also sees where."""
        self._control.send(Kind.UPDATE, {"pid": os.getpid(), **fields})

    def mask(self, secret: str) -> None:
        """See `Comms.mask`: the agent reads this line before any output written after it."""
        self._control.send(Kind.MASK, secret)

    def _once(self, method: str, target: str, data: bytes | None) -> tuple[int, Any] | Exception:
        import http.client  # many tasks ask nothing

        connection = self._connection()
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        if data is not None:
            headers["Content-Type"] = "application/json"
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
        if self._local is None:
            self._local = threading.local()
        kept = self._local.__dict__
        if kept.get("pid") != os.getpid():  # a fork must not share its parent's connection
            kept.clear()
            kept["pid"] = os.getpid()
            api_url = urlsplit(self._url)
            host, port = api_url.hostname or "127.0.0.1", api_url.port
            import http.client

            if api_url.scheme == "https":
                import ssl

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
