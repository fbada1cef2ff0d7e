"""How a function in another interpreter reaches the server: through the task that started it.

For `virtualenv.py`. The task keeps its token; the other process gets one end of a socket pair and asks the task, line by
line, what to ask the server (connections, variables, XComs). `join` is the other process's side; it needs Trackside there.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

from trackside.sdk.execution.comms import Comms


@contextlib.contextmanager
def serving(comms: Comms | None) -> Iterator[int | None]:
    """Answer questions inside the block; the descriptor to hand to the other process, None outside tasks."""
    if comms is None:
        yield None
        return
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=_serve, args=(ours, comms), name="trackside-relay", daemon=True)
    thread.start()
    try:
        yield theirs.fileno()
    finally:
        theirs.close()
        with contextlib.suppress(OSError):
            ours.shutdown(socket.SHUT_RDWR)
        thread.join()
        ours.close()


def _serve(ours: socket.socket, comms: Comms) -> None:
    with contextlib.suppress(OSError, ValueError), ours.makefile("rw", encoding="utf-8") as lines:
        for line in lines:
            name, arguments = json.loads(line)
            lines.write(json.dumps(_answer(comms, name, arguments)) + "\n")
            lines.flush()


def _answer(comms: Comms, name: str, arguments: dict[str, Any]) -> Any:
    try:
        if name == "mask":  # answered when it is done: nothing printed afterwards may show the secret
            return comms.mask(**arguments)
        return comms.request(**arguments)
    except Exception as error:
        return 503, {"detail": f"{type(error).__name__}: {error}"}


class RelayedComms:
    """`Comms` of the other process."""

    def __init__(self, fd: int) -> None:
        self._lines = socket.socket(fileno=fd).makefile("rw", encoding="utf-8")
        self._lock = threading.Lock()

    def _ask(self, name: str, arguments: dict[str, Any]) -> Any:
        with self._lock:
            self._lines.write(json.dumps([name, arguments]) + "\n")
            self._lines.flush()
            line = self._lines.readline()
        if not line:
            raise ConnectionError("the task that started this process does not answer any more")
        return json.loads(line)

    def request(self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None) -> tuple[int, Any]:
        """See `Comms.request`."""
        status, answer = self._ask("request", {"method": method, "path": path, "params": params, "body": body})
        return status, answer

    def update(self, **fields: Any) -> None:
        """Rendered fields are those of the task that started this; there is nothing to add here."""

    def mask(self, secret: str) -> None:
        """See `Comms.mask`."""
        self._ask("mask", {"secret": secret})


def join(fd: int | None) -> None:
    """In the other process: what is asked goes through `fd`. The script has made `airflow` importable before."""
    from trackside.sdk.execution import current

    if fd is not None:
        current._comms = RelayedComms(fd)
