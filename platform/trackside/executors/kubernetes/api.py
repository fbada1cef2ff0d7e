"""The few calls to the API server, in plain JSON: pods and secrets by name, lists in pages, watches, events, logs.

The official client finds the cluster and keeps the credentials fresh; its models are left out, because making and checking
thousands of them costs more than everything else together. A watch always has a read timeout: `timeoutSeconds` alone does
not end one whose connection has died silently.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from kubernetes import config
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration
from urllib3.exceptions import HTTPError

from trackside.executors.base import ExecutorProblem
from trackside.executors.kubernetes.settings import PodSettings

CONNECT_S = 5.0
READ_S = 30.0
WATCH_S = 240
"""Seconds after which the API server ends a watch; the next one begins where it stopped."""
QUIET_S = 75.0
"""A watch without any byte for this long is dead: bookmarks come about once a minute."""
PAGE = 500
MERGE = "application/merge-patch+json"


class Unreachable(Exception):
    """No answer from the API server."""


class Refusal(Exception):
    """The API server said no: `status`, its own words, and what it says about when to come back."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        super().__init__(f"{status} {reason}: {message}")


class Api:
    """Callable from any thread."""

    def __init__(self, settings: PodSettings) -> None:
        self._configuration = Configuration()
        try:
            if settings.config_file or settings.context:
                config.load_kube_config(settings.config_file or None, settings.context or None, client_configuration=self._configuration)
            else:
                try:
                    config.load_incluster_config(client_configuration=self._configuration)
                except config.ConfigException:
                    config.load_kube_config(client_configuration=self._configuration)
        except (config.ConfigException, OSError) as error:
            text = (
                f"No Kubernetes cluster is configured ({error}). Run in a cluster, or set KUBECONFIG or TRACKSIDE_KUBERNETES_CONFIG_FILE."
            )
            raise ExecutorProblem(text) from error
        self._lock = threading.Lock()
        self._configuration.connection_pool_maxsize = 64
        self._client = ApiClient(self._configuration)
        self._pool: urllib3.PoolManager = self._client.rest_client.pool_manager
        self.host = str(self._configuration.host).rstrip("/")

    def close(self) -> None:
        """Drop the connections."""
        self._pool.clear()

    def create(self, kind: str, namespace: str, body: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """POST an object."""
        return self._json("POST", _path(kind, namespace), body, {"dryRun": "All"} if dry_run else {})

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """One object."""
        return self._json("GET", _path(kind, namespace, name))

    def patch(self, kind: str, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge into an object."""
        return self._json("PATCH", _path(kind, namespace, name), body, content=MERGE)

    def delete(self, kind: str, namespace: str, name: str, *, uid: str | None = None, grace_s: int | None = None) -> bool:
        """Delete; False if it is not there (any more)."""
        body: dict[str, Any] = {"propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            self._json("DELETE", _path(kind, namespace, name), body)
        except Refusal as error:
            if error.status in (404, 409):  # 409: another one of that name
                return False
            raise
        return True

    def list(self, kind: str, namespace: str | None, selector: str = "", fields: str = "") -> tuple[list[dict[str, Any]], str]:
        """All objects, read in pages, and the version at which a watch goes on."""
        items: list[dict[str, Any]] = []
        query = {"limit": str(PAGE), "labelSelector": selector, "fieldSelector": fields}
        while True:
            answer = self._json("GET", _path(kind, namespace), query={k: v for k, v in query.items() if v})
            items += answer.get("items") or []
            if not (more := answer["metadata"].get("continue")):
                return items, str(answer["metadata"]["resourceVersion"])
            query["continue"] = more

    def watch(self, kind: str, namespace: str | None, selector: str, version: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Changes from a version on: (ADDED | MODIFIED | DELETED | BOOKMARK | ERROR, object). Ends by itself after a while."""
        query = {
            "watch": "1", "allowWatchBookmarks": "true", "labelSelector": selector, "resourceVersion": version,
            "timeoutSeconds": str(WATCH_S),
        }  # fmt: skip
        answer = self._send("GET", _path(kind, namespace), query=query, read_s=QUIET_S, stream=True)
        try:
            rest = b""
            for chunk in answer.stream(65536, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line:
                        event = json.loads(line)
                        yield event["type"], event["object"]
        except (HTTPError, OSError, ValueError) as error:
            raise Unreachable(f"the watch broke: {error}") from error
        finally:
            answer.close()

    def log(self, namespace: str, pod: str, container: str, *, tail: int = 100) -> str:
        """The last lines a container wrote; "" if there are none to be had."""
        try:
            answer = self._send("GET", f"{_path('pods', namespace, pod)}/log", query={"container": container, "tailLines": str(tail)})
        except (Refusal, Unreachable):
            return ""
        return answer.data.decode("utf-8", "replace")

    def _json(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
    ) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._send(method, path, body, query, content).data)
        return found

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, query: Mapping[str, str] | None = None,
        content: str = "application/json", read_s: float = READ_S, stream: bool = False,
    ) -> Any:  # fmt: skip
        url = f"{self.host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "User-Agent": "trackside-executor", **self._credentials()}
        if body is not None:
            headers["Content-Type"] = content
        try:
            answer = self._pool.request(
                method, url, body=json.dumps(body) if body is not None else None, headers=headers,
                preload_content=not stream, retries=False,
                timeout=urllib3.Timeout(connect=CONNECT_S, read=read_s),
            )  # fmt: skip
        except (HTTPError, OSError) as error:
            raise Unreachable(f"{self.host} does not answer ({type(error).__name__})") from error
        if answer.status >= 400:
            raise _refusal(answer, stream)
        return answer

    def _credentials(self) -> dict[str, str]:
        with self._lock:  # tokens of plugins and of pods run out and are refreshed here
            found: Mapping[str, Any] = self._configuration.auth_settings()
        return {s["key"]: s["value"] for s in found.values() if s.get("in") == "header" and s.get("value")}


def _path(kind: str, namespace: str | None, name: str | None = None) -> str:
    base = "/api/v1" if kind not in ("leases",) else "/apis/coordination.k8s.io/v1"
    inside = f"/namespaces/{quote(namespace)}" if namespace and kind not in ("nodes", "namespaces") else ""
    return f"{base}{inside}/{kind}" + (f"/{quote(name)}" if name else "")


def _refusal(answer: Any, stream: bool) -> Refusal:
    try:
        raw = answer.read() if stream else answer.data
        said = json.loads(raw)
    except (ValueError, HTTPError, OSError):
        said = {}
    if not isinstance(said, dict):
        said = {}
    text = answer.headers.get("Retry-After") or (said.get("details") or {}).get("retryAfterSeconds")
    try:
        retry_after = float(text) if text else None
    except (TypeError, ValueError):
        retry_after = None
    return Refusal(answer.status, str(said.get("reason") or ""), str(said.get("message") or f"HTTP {answer.status}"), retry_after)
