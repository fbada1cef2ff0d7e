"""`/health/live` and `/health/ready` of a process that serves no HTTP otherwise, on TRACKSIDE_HEALTH_PORT: for Kubernetes' probes.

Whoever runs a loop calls `turn` once per pass, from the loop itself, so that a stuck loop does not look alive. Alive: the loop
went round within `STUCK_S`, with or without a database, because a restart would not bring that back. Ready: the last pass did
what it is there for; if not, the answer says why. Nothing else is told here: facts and metrics go through the ledger.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

logger = logging.getLogger(__name__)

STUCK_S = 120.0
"""Longer than any honest pass."""
SETTING = "TRACKSIDE_HEALTH_PORT"


class Probes:
    """What a loop last said of itself."""

    def __init__(self) -> None:
        self.turned_at: float | None = None
        self.why = "It has not finished its first pass yet."
        self.server: ThreadingHTTPServer | None = None

    def turn(self, why: str = "") -> None:
        """The loop went round; `why` it could not do its work, empty if it could."""
        self.turned_at, self.why = time.monotonic(), why

    def judge(self, path: str, now: float) -> tuple[int, dict[str, str]]:
        """Status and body for a path."""
        silent = None if self.turned_at is None else now - self.turned_at
        stuck = f"Its loop has not gone round for {silent:.0f} s." if silent is not None and silent > STUCK_S else ""
        if path == "/health/live":
            return (503, {"status": "stuck", "why": stuck}) if stuck else (200, {"status": "alive"})
        if path in ("/health", "/health/ready"):
            why = stuck or self.why
            return (503, {"status": "not ready", "why": why}) if why else (200, {"status": "ready"})
        return 404, {"detail": "There are /health/live and /health/ready."}

    def serve(self, port: int) -> int:
        """Answer on this port (0: any free one) of all addresses, from a thread; the port."""
        probes = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = probes.judge(self.path.partition("?")[0], time.monotonic())
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                """Probes are no news."""

        self.server = ThreadingHTTPServer(("0.0.0.0", port), Handler)  # noqa: S104 - the kubelet asks from outside
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, name="probes", daemon=True).start()
        return int(self.server.server_address[1])

    def close(self) -> None:
        """Answer no more."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


_own = Probes()
turn = _own.turn


def start(environment: Mapping[str, str] = os.environ) -> None:
    """Serve this process's probes if TRACKSIDE_HEALTH_PORT says so; a port that is taken is said and does not stop it."""
    text = environment.get(SETTING, "").strip()
    if not text or text == "0" or _own.server is not None:
        return
    if not text.isdigit() or int(text) > 65535:
        raise SystemExit(f"{SETTING}={text!r} is not a port.")
    try:
        _own.serve(int(text))
    except OSError as error:
        logger.error("%s=%s: %s. No probes are answered; give each process on a machine a port of its own.", SETTING, text, error)
