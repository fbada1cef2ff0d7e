"""Frames on Unix sockets: JSON lines between agent and fork server (with file descriptors), and between agent and task.

Agent and forkers (fork server, zygotes) exchange `{"op": …}` lines; descriptors travel by SCM_RIGHTS in the order of the
lines that announce them (`"fds": n`). A task writes lines that begin with one letter saying what follows, see `Kind`.
"""

from __future__ import annotations

import array
import os
import socket
from collections import deque
from typing import Any

from trackside.runner.jsonio import dumps, loads

MAX_FDS = 200


class Kind:
    """First byte of a line from the task: what the rest of it is."""

    LOG = b"L"
    """A log record, see `core.messages.LOG_FORMAT`."""
    MASK = b"M"
    """A JSON string to be hidden from now on."""
    UPDATE = b"U"
    """Fields of TryUpdate."""
    FINISH = b"F"
    """The FinishReport."""


class BlockingChannel:
    """The forker's end: waits for messages, answers at once."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._data = bytearray()
        self._fds: deque[int] = deque()
        self._messages: deque[dict[str, Any]] = deque()

    def receive(self) -> bool:
        """Read what is there (waits if nothing is); False when the other end has closed."""
        data, ancillary, _flags, _address = self.sock.recvmsg(65536, socket.CMSG_SPACE(MAX_FDS * 4))
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
                self._fds.extend(numbers)
        if not data:
            return False
        self._data += data
        *lines, rest = self._data.split(b"\n")
        self._data = rest
        self._messages.extend(loads(line) for line in lines)
        return True

    def next(self) -> tuple[dict[str, Any], list[int]] | None:
        """The next complete message with its descriptors."""
        if not self._messages:
            return None
        message = self._messages.popleft()
        return message, [self._fds.popleft() for _ in range(message.get("fds", 0))]

    def send(self, message: dict[str, Any]) -> None:
        """Send one line; nothing happens if the other end is gone (its EOF will be read)."""
        try:
            self.sock.sendall(dumps(message) + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            pass

    def close(self) -> None:
        """Close the socket and every descriptor received but not handed out (a forked child must not keep them)."""
        self.sock.close()
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()


def write_all(fd: int, data: bytes) -> None:
    """Write everything, waiting as long as the reader needs."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_frame(fd: int) -> bytes:
    """One frame with a length of 8 bytes in front: how the order reaches a task. EOFError if the writer has gone."""
    data = os.read(fd, 65536)
    parts = [data]
    missing = 8 + int.from_bytes(data[:8], "big") - len(data)
    while missing > 0 and data:
        data = os.read(fd, min(missing, 1 << 20))
        parts.append(data)
        missing -= len(data)
    if not data:
        raise EOFError("the agent closed the control socket")
    return b"".join(parts)[8:]


def frame(data: bytes) -> bytes:
    """The inverse of `read_frame`."""
    return len(data).to_bytes(8, "big") + data
