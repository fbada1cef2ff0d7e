"""REST of the installation on this machine without a network: `trackside runs list` beside the server needs no address and no token.

For `trackside.cli.connecting`, when no server is named. Whoever may read the settings may read the database they name, so there is
nothing to sign in to: as with `trackside users` and `trackside db` the operator of the machine is trusted, and stands in the audit trail
under the name of the account there, by the command line. Requests are answered in this process by the same operations, rights and
checks; only what browsers and crowds need is left out. No process that listens on a socket imports this module: the operator cannot
be claimed from outside. Next door: `manage` (commands of the server's own), `asgi` (the same for the network).
"""

from __future__ import annotations

import getpass
import os
import sys
from io import BytesIO
from typing import Any
from urllib.parse import unquote

import django
import httpx
import orjson

from config.manage import ROOT

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("TRACKSIDE_LOG_LEVEL", "CRITICAL")  # a refusal is told once, by the command
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
django.setup()

from django.conf import settings  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest  # noqa: E402
from django.db import DatabaseError, connection  # noqa: E402
from django.db.migrations.executor import MigrationExecutor  # noqa: E402
from rest_framework.authentication import BaseAuthentication  # noqa: E402
from rest_framework.request import Request  # noqa: E402

from apps.access import schema  # noqa: E402
from apps.access.models import User  # noqa: E402
from apps.access.rest.routes import OperationView  # noqa: E402
from apps.runs import wake  # noqa: E402
from apps.runs.metrics import health  # noqa: E402


class NotReady(Exception):
    """The database of this installation is away or of another version; the message says what to do."""


class Operator(BaseAuthentication):
    """Whoever runs the command: may everything, is no row of the table of accounts."""

    def authenticate(self, request: Request) -> tuple[User, None]:
        """Always the same one."""
        try:
            name = getpass.getuser()
        except (KeyError, OSError):  # an account without a name, as in containers
            name = str(os.getuid())
        user = User(pk=0, username=name[:150], is_active=True, is_superuser=True)
        user.acts_by = "cli"  # type: ignore[attr-defined]
        return user, None


OperationView.authentication_classes = (Operator,)  # the views, made when the first request comes, inherit it
OperationView.throttle_classes = ()  # type: ignore[assignment]


class Here(httpx.BaseTransport):
    """Sends the requests of an `httpx.Client` through the operations of this installation. Raises NotReady when made."""

    def __init__(self) -> None:
        try:
            pending = MigrationExecutor(connection).migration_plan(MigrationExecutor(connection).loader.graph.leaf_nodes())
            why = schema.newer()
        except DatabaseError as error:
            reason = str(error).strip().partition("\n")[0]
            raise NotReady(
                "no server is named, and the database of this installation does not answer. Start it (`trackside standalone`, or what"
                f" DATABASE_URL names), or name a server with --server URL or --profile NAME: {reason}"
            ) from error
        if why or pending:
            raise NotReady(why or "the database is of an older version: `trackside db migrate` brings it up to date")
        settings.MIDDLEWARE = []  # hosts, sessions, CSRF, frames: what browsers need
        self._handler = WSGIHandler()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The answer of one operation."""
        if request.url.path == "/health":  # answered before Django in a web process, too
            well, parts = health.whole()
            return httpx.Response(200 if well else 503, headers={"content-type": "application/json"}, content=orjson.dumps(parts))
        answered = self._handler.get_response(WSGIRequest(_environ(request)))
        content = b"".join(getattr(answered, "streaming_content", None) or [getattr(answered, "content", b"")])
        return httpx.Response(answered.status_code, headers=dict(answered.items()), content=content)

    def close(self) -> None:
        """Before the process ends: who waits for a change is woken."""
        wake.flush()


def _environ(request: httpx.Request) -> dict[str, Any]:
    host = next((name.lstrip(".") for name in settings.ALLOWED_HOSTS if name != "*"), "localhost")
    body = request.read()
    path = unquote(request.url.raw_path.partition(b"?")[0].decode("ascii"))
    found = {
        "REQUEST_METHOD": request.method, "PATH_INFO": path.encode().decode("latin-1"), "QUERY_STRING": request.url.query.decode("ascii"),
        "SERVER_NAME": host, "SERVER_PORT": "443", "HTTP_HOST": host, "wsgi.url_scheme": "https",
        "wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": request.headers.get("content-type", ""),
    }  # fmt: skip
    for name in ("accept", "idempotency-key", "range", "last-event-id"):
        if name in request.headers:
            found[f"HTTP_{name.upper().replace('-', '_')}"] = request.headers[name]
    return found
