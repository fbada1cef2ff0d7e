"""As much of HashiCorp Vault's HTTP API as its clients need to read: tokens, and a key/value store of version 2 at `secret/`.

Written after Vault's published API documentation; the client (hvac) and the provider package that talk to it are the real ones.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "a-vault-token"
KEPT = {
    "connections/shop": {"conn_uri": "postgres://ann:s3cret@db.example/shop"},
    "connections/parts": {"conn_type": "http", "host": "parts.example", "login": "bob", "password": "pa55", "port": 8443},
    "variables/region": {"value": "north"},
}


class Handler(BaseHTTPRequestHandler):
    """Answers like Vault."""

    def do_GET(self) -> None:
        if self.headers.get("X-Vault-Token") != TOKEN:
            self._answer(403, {"errors": ["permission denied"]})
        elif self.path == "/v1/auth/token/lookup-self":
            self._answer(200, {"data": {"id": TOKEN, "policies": ["read"], "ttl": 0}})
        elif (secret := KEPT.get(self.path.removeprefix("/v1/secret/data/"))) is not None:
            self._answer(200, {"data": {"data": secret, "metadata": {"version": 1, "destroyed": False, "deletion_time": ""}}})
        else:
            self._answer(404, {"errors": []})

    def _answer(self, status: int, value: dict) -> None:
        data = json.dumps({"request_id": "r", "lease_id": "", "renewable": False, "lease_duration": 0, **value}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def start() -> ThreadingHTTPServer:
    """A running one on a free port; end it with `shutdown` and `server_close`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server
