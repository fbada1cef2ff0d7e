"""A small HTTP server for the http provider to talk to: echoes, pages, answers that take a while to become good."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """`/echo` tells what was asked, `/page/N` is one of three pages, `/count/X` is 404 twice and then 200, the rest is 404."""

    asked: Counter[str] = Counter()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/echo":
            self._answer(200, self._echo())
        elif path.startswith("/page/"):
            number = int(path.rpartition("/")[2])
            self._answer(200, {"number": number, "next": f"page/{number + 1}" if number < 3 else None})
        elif path.startswith("/count/"):
            self.asked[path] += 1
            self._answer(200 if self.asked[path] > 2 else 404, {"asked": self.asked[path]})
        else:
            self._answer(404, {"error": "nothing here"})

    def do_POST(self) -> None:
        self._answer(200, self._echo())

    def _echo(self) -> dict:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        credentials = self.headers.get("Authorization") or ""
        return {
            "path": self.path, "body": body, "run": self.headers.get("X-Run"), "extra": self.headers.get("X-Extra"),
            "authorization": credentials, "sha256": hashlib.sha256(credentials.encode()).hexdigest(),
        }  # fmt: skip

    def _answer(self, status: int, value: dict) -> None:
        data = json.dumps(value).encode()
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
    Handler.asked.clear()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server
