"""`python -m config.web`: one web process (pages, REST, sockets, execution API) under uvicorn.

Alone (`trackside web`) it listens on TRACKSIDE_HOST:TRACKSIDE_PORT; in a standalone stack it inherits the supervisor's
listening socket (`--fd`), so that connections wait instead of failing while it is started again.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence

import uvicorn

from config.env import env_int, env_str
from config.manage import ROOT
from trackside.core import logline


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; open requests and sockets then have five seconds."""
    parser = argparse.ArgumentParser(prog="trackside web", description="Serve pages and APIs.")
    parser.add_argument("--host", default=env_str("TRACKSIDE_HOST", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=env_int("TRACKSIDE_PORT", 8080, low=1, high=65535))
    parser.add_argument("--fd", type=int, help="an inherited listening socket to use instead")
    given = parser.parse_args(argv)
    os.environ["TRACKSIDE_HOST"], os.environ["TRACKSIDE_PORT"] = given.host, str(given.port)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    config = uvicorn.Config(
        "config.asgi:application",
        host=given.host,
        port=given.port,
        access_log=False,
        log_config=None,  # Django's LOGGING decides
        log_level="warning",
        timeout_graceful_shutdown=5,
        ws_per_message_deflate=False,  # costs 46 KB a socket and half as much CPU again
        server_header=False,
        proxy_headers=False,  # `config.proxies` does that
    )
    logline.name_process("web")
    sockets = [socket.socket(fileno=given.fd)] if given.fd is not None else None
    uvicorn.Server(config).run(sockets=sockets)


if __name__ == "__main__":
    main()
