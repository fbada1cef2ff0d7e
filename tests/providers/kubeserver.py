"""As much of a Kubernetes API as a pod needs that runs at once and succeeds: for the operator of the kubernetes provider."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PODS = "/api/v1/namespaces/default/pods"


class Handler(BaseHTTPRequestHandler):
    """Keeps pods by name; a pod that was made has succeeded, and its log says what its command was."""

    pods: dict[str, dict[str, Any]] = {}

    def do_POST(self) -> None:
        pod = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = pod["spec"]["containers"][0]["name"]
        ended = {"exitCode": 0, "finishedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        status = {"name": name, "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": {"terminated": ended}}
        self.pods[pod["metadata"]["name"]] = {**pod, "status": {"phase": "Succeeded", "containerStatuses": [status]}}
        self._answer(pod)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        name, _, what = path.removeprefix(f"{PODS}/").partition("/")
        if name not in self.pods:
            kind = "EventList" if path.endswith("/events") else "PodList"
            self._answer({"apiVersion": "v1", "kind": kind, "items": [], "metadata": {}})
        elif what == "log":
            words = " ".join(self.pods[name]["spec"]["containers"][0]["command"])
            self._send(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} ran {words}\n".encode(), "text/plain")
        else:
            self._answer(self.pods[name])

    def do_PATCH(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(self.pods.pop(self.path.partition("?")[0].rpartition("/")[2]))

    def _answer(self, value: dict[str, Any]) -> None:
        self._send(json.dumps(value).encode(), "application/json")

    def _send(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def start() -> ThreadingHTTPServer:
    """A running one on a free port; end it with `shutdown` and `server_close`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.pods.clear()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


def kubeconfig(port: int) -> dict[str, Any]:
    """A configuration of clients for it."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "it", "user": "me"}}],
        "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "me", "user": {}}],
    }
