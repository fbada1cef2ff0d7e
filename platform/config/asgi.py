"""The web process: execution API, pages and REST over HTTP, the live stream over WebSocket, static files.

`/execution` is served by an ASGI application of its own, before Django: workers call it thousands of times a second.
"""

from __future__ import annotations

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402
from django.contrib.staticfiles.finders import get_finders  # noqa: E402
from django.urls import path  # noqa: E402
from servestatic import ServeStaticASGI  # noqa: E402

from apps.access import audit  # noqa: E402
from apps.runs.metrics import door as monitoring  # noqa: E402
from apps.ui.live.consumer import LiveConsumer  # noqa: E402
from config.observing import observed  # noqa: E402
from config.proxies import BehindProxies  # noqa: E402

try:
    from apps.runs.execution.asgi import application as execution  # type: ignore[import-not-found,unused-ignore]
except ModuleNotFoundError as e:
    if not (e.name or "").startswith("apps.runs.execution"):
        raise
    execution = None  # type: ignore[assignment]

websockets = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter([path("ws", LiveConsumer.as_asgi())])))
YEAR = 31_536_000


def _with_static_files(application: Any) -> Any:
    """Our files carry their version in the URL and may be kept for ever; those of Django and DRF are asked for again."""
    served = ServeStaticASGI(application, max_age=3600, immutable_file_test=lambda file, url: _is_ours(file), allow_all_origins=False)
    for finder in get_finders():
        for storage in getattr(finder, "storages", {}).values():
            prefix = f"{storage.prefix}/" if getattr(storage, "prefix", None) else ""
            served.add_files(storage.location, prefix=f"{settings.STATIC_URL.lstrip('/')}{prefix}")
    return served


def _is_ours(file: str) -> bool:
    return str(file).startswith(str(settings.ROOT / "static"))


http = _with_static_files(django_application)


@observed
async def _dispatch(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Dispatch on the kind of connection and the first part of the path."""
    if scope["type"] == "websocket":
        await websockets(scope, receive, send)
    elif execution is not None and scope["type"] == "http" and scope["path"].startswith("/execution"):
        await execution(scope, receive, send)
    elif scope["type"] == "http" and scope["path"] in monitoring.PATHS:
        await monitoring.application(scope, receive, send)
    elif scope["type"] == "lifespan":
        await _lifespan(receive, send)
    else:
        audit.note_address(scope=scope)  # in this task, from which the views inherit it
        await http(scope, receive, send)


async def _lifespan(receive: Any, send: Any) -> None:
    """Nothing to prepare; at the end the live hub stops reading."""
    from apps.ui.live import hub

    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await hub.current().close()
            await send({"type": "lifespan.shutdown.complete"})
            return


application = BehindProxies(_dispatch, [str(network) for network in settings.TRUSTED_PROXY_ADDRESSES])
