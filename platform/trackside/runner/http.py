"""A small asyncio HTTP/1.1 client for one server: one keep-alive connection, one request at a time, JSON both ways.

For `exchange` and `logs`. It tells apart what the epoch protocol needs to know: the connection was found closed before
anything was sent (harmless, a new one is made) and the answer did not arrive in full (`AnswerLost`).
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any
from urllib.parse import urlsplit

from trackside.runner.jsonio import dumps, loads

MAX_ANSWER = 256 * 1024 * 1024


class ConnectFailed(ConnectionError):
    """The server cannot be reached; nothing was sent."""


class AnswerLost(ConnectionError):
    """The request may have reached the server, but its answer was not fully received."""


class Connection:
    """One keep-alive connection. Not for concurrent requests: each conversation of the worker has its own."""

    def __init__(self, base_url: str, token: str, connect_timeout_s: float = 5.0) -> None:
        url = urlsplit(base_url)
        self._host = url.hostname or "127.0.0.1"
        self._tls = ssl.create_default_context() if url.scheme == "https" else None
        self._port = url.port or (443 if self._tls else 80)
        self._prefix = url.path.rstrip("/") + "/execution"
        self._connect_timeout_s = connect_timeout_s
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._head = (
            f"Host: {host}:{self._port}\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\n"
            "Content-Type: application/json\r\nUser-Agent: trackside-worker\r\n"
        ).encode()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    def close(self) -> None:
        """Drop the connection at once; the next request makes a new one."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def post(self, path: str, body: Any, timeout_s: float) -> tuple[int, Any]:
        """POST JSON to `/execution{path}`: status and JSON of the answer.

        Raises ConnectFailed (nothing sent) or AnswerLost (sent, perhaps received; the connection is closed). Also when
        cancelled the connection is closed.
        """
        if self._reader is None or self._writer is None or self._reader.at_eof() or self._writer.is_closing():
            self.close()
            await self._connect()
        data = dumps(body)
        request = b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (
            (self._prefix + path).encode(), self._head, len(data),
        )  # fmt: skip
        complete = False
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._ask(request + data)
            complete = True
            return answer
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError) as error:
            raise AnswerLost(f"{type(error).__name__}: {error}") from error
        finally:
            if not complete:
                self.close()

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                self._reader, self._writer = await asyncio.open_connection(
                    self._host, self._port, ssl=self._tls, limit=1 << 20
                )
        except (OSError, TimeoutError) as error:
            raise ConnectFailed(f"{self._host}:{self._port}: {str(error) or 'timed out'}") from error

    async def _ask(self, request: bytes) -> tuple[int, Any]:
        assert self._reader is not None and self._writer is not None
        self._writer.write(request)
        if len(request) > 65536:
            await self._writer.drain()
        while True:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status_line, _, rest = head.partition("\r\n")
            status = int(status_line.split(" ", 2)[1])
            if status >= 200:
                break
        headers = {}
        for line in rest.split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                headers[name.strip().lower()] = value.strip()
        body = await self._body(status, headers)
        if headers.get("connection", "").lower() == "close":
            self.close()
        try:
            return status, loads(body) if body else {}
        except ValueError:
            if status < 300:
                raise
            return status, {"detail": body[:300].decode(errors="replace")}

    async def _body(self, status: int, headers: dict[str, str]) -> bytes:
        assert self._reader is not None
        if status in (204, 304):
            return b""
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return await self._chunks()
        if "content-length" not in headers:
            headers["connection"] = "close"
            return await self._reader.read()
        size = int(headers["content-length"])
        if size > MAX_ANSWER:
            raise ValueError(f"an answer of {size} bytes")
        return await self._reader.readexactly(size)

    async def _chunks(self) -> bytes:
        assert self._reader is not None
        parts: list[bytes] = []
        while True:
            size = int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16)
            if size:
                parts.append(await self._reader.readexactly(size))
            line = await self._reader.readuntil(b"\r\n")
            if not size:
                while line != b"\r\n":  # trailers
                    line = await self._reader.readuntil(b"\r\n")
                return b"".join(parts)
