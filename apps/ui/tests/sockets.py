"""A WebSocket client for tests, straight on the ASGI application (Channels' own needs daphne)."""

from __future__ import annotations

from typing import Any

from asgiref.testing import ApplicationCommunicator


class Socket(ApplicationCommunicator):
    """One connection to `application` at `path`."""

    def __init__(self, application: Any, path: str, headers: list[tuple[bytes, bytes]]):
        scope = {"type": "websocket", "path": path, "query_string": b"", "headers": headers, "subprotocols": [], "client": ("127.0.0.1", 1)}
        super().__init__(application, scope)

    async def connect(self, seconds: float = 10) -> bool:
        """Whether the server took the connection."""
        await self.send_input({"type": "websocket.connect"})
        return bool((await self.receive_output(seconds))["type"] == "websocket.accept")

    async def send_text(self, text: str) -> None:
        """One message from the page."""
        await self.send_input({"type": "websocket.receive", "text": text})

    async def receive_text(self, seconds: float = 20) -> str:
        """The next message to the page; an AssertionError when the server closed instead."""
        message = await self.receive_output(seconds)
        assert message["type"] == "websocket.send", message
        return str(message["text"])

    async def disconnect(self) -> None:
        """The page goes away."""
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(10)
