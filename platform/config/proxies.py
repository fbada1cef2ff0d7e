"""Who is at the other end: the connection's own address, kept apart from what proxies say in X-Forwarded-For.

For the web process. X-Forwarded-For and -Proto are believed only of TRACKSIDE_TRUSTED_PROXY_ADDRESSES (this machine, if none is
given), and never decide who may name people by a header: `apps.access.outside.proxy` looks at `trackside.peer`.
"""

from __future__ import annotations

from typing import Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

THIS_MACHINE = ("127.0.0.1", "::1")


class BehindProxies:
    """ASGI middleware, outermost."""

    def __init__(self, application: Any, trusted: list[str]) -> None:
        self._inner = ProxyHeadersMiddleware(application, trusted_hosts=trusted or list(THIS_MACHINE))

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Note the peer, then let the forwarded address take its place."""
        if scope["type"] in ("http", "websocket"):
            client = scope.get("client")
            scope["trackside.peer"] = client[0] if client else None
        await self._inner(scope, receive, send)  # type: ignore[arg-type]
