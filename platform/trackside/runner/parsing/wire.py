"""Frames between processor, parse server and file: a kind, a JSON header and bytes that nobody in between looks into.

For `client`, `server` and `child`. Layout: kind (1 byte), lengths of header (4) and body (8), header, body.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any, NamedTuple

_HEAD = struct.Struct("!cIQ")

MAX_JOB = 1 << 26
"""Bytes of a request's header: what a callback is told may hold a large conf."""

PARSE = b"P"  # processor → server: {"id", "path", "plan"}
ANSWER = b"A"  # processor → server → file: {"id", "status"}, body: JSON
READY = b"Y"  # server → processor: {}
ASK = b"Q"  # file → server → processor: {"id", "method", "path", "params"}
LIMIT = b"L"  # file → server: {"seconds"}, the time it may take by the site's policy
RESULT = b"R"  # file → server: {}, body: JSON
DONE = b"D"  # server → processor: see results.ParseReply, body: the result


class Frame(NamedTuple):
    kind: bytes
    header: dict[str, Any]
    body: bytes


class Broken(ValueError):
    """The other side does not speak this protocol (user code wrote into our pipe)."""


def pack(kind: bytes, header: dict[str, Any], body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return _HEAD.pack(kind, len(text), len(body)) + text + body


def send(fd: int, kind: bytes, header: dict[str, Any], body: bytes = b"") -> None:
    """Write one frame to a blocking descriptor. Raises OSError when nobody reads any more."""
    view = memoryview(pack(kind, header, body))
    while view:
        view = view[os.write(fd, view) :]


class Reader:
    """Collects what arrives on one descriptor and cuts it into frames."""

    def __init__(self, max_bytes: int, *, header_limit: int = 1 << 20) -> None:
        self.max_bytes, self.header_limit = max_bytes, header_limit
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Frames that `data` completes. Raises Broken."""
        self._data += data
        frames = []
        while len(self._data) >= _HEAD.size:
            kind, header_size, body_size = _HEAD.unpack_from(self._data)
            if header_size > self.header_limit or body_size > self.max_bytes:
                raise Broken(f"a frame of {header_size} + {body_size} bytes")
            end = _HEAD.size + header_size + body_size
            if len(self._data) < end:
                break
            header = self._header(bytes(self._data[_HEAD.size : _HEAD.size + header_size]))
            frames.append(Frame(kind, header, bytes(self._data[_HEAD.size + header_size : end])))
            del self._data[:end]
        return frames

    @staticmethod
    def _header(text: bytes) -> dict[str, Any]:
        try:
            header = json.loads(text)
        except ValueError as e:
            raise Broken(f"a header that is no JSON: {e}") from e
        if not isinstance(header, dict):
            raise Broken("a header that is no object")
        return header
