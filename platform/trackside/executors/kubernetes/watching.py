"""All pods of this executor: a list is the truth, a watch the hint between lists. One thread per namespace.

What is in memory is a copy that is thrown away with every new list: on any trouble, on 410 (the version is too old), and
every `LIST_EVERY_S` anyway. Pods that vanished between two lists are told as gone.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from trackside.executors.kubernetes.api import Api, Refusal, Unreachable

LIST_EVERY_S = 120.0
MAX_PAUSE_S = 15.0

logger = logging.getLogger(__name__)


class Expired(Exception):
    """The version to watch from is too old."""


@dataclass(slots=True)
class Copy:
    """Pods of one namespace as last seen."""

    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    """UID → pod."""
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Changed since they were last taken."""
    gone: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Deleted since they were last taken: their last known state."""
    listed_at: float = 0.0
    """Monotonic moment at which the last complete list was asked for; 0: never."""
    heard_at: float = 0.0
    trouble: str = ""


class Watcher:
    """See the module. `take` is called by the executor's thread, everything else runs in threads of its own."""

    def __init__(self, api: Api, namespaces: list[str], selector: str, wake: Callable[[], None]) -> None:
        self._api = api
        self._selector = selector
        self._wake = wake
        self._lock = threading.Lock()
        self._copies = {namespace: Copy() for namespace in namespaces}
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), name=f"pods-{n}", daemon=True) for n in namespaces]

    def start(self) -> None:
        """Begin to watch."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End with the process at the latest; a watch that waits is not waited for."""
        self._stopping.set()

    def take(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """(changed pods, pods that are gone) since the last call."""
        changed: list[dict[str, Any]] = []
        gone: list[dict[str, Any]] = []
        with self._lock:
            for copy in self._copies.values():
                changed += copy.changed.values()
                gone += copy.gone.values()
                copy.changed, copy.gone = {}, {}
        return changed, gone

    def pods(self) -> list[dict[str, Any]]:
        """All pods as last seen."""
        with self._lock:
            return [pod for copy in self._copies.values() for pod in copy.pods.values()]

    def listed_at(self) -> float:
        """Every pod that was there at this (monotonic) moment is known; 0 as long as that cannot be said."""
        with self._lock:
            return min(copy.listed_at for copy in self._copies.values())

    def trouble(self) -> str:
        """Why the copy may be old; "" if it is not."""
        with self._lock:
            return next((copy.trouble for copy in self._copies.values() if copy.trouble), "")

    def relist(self) -> None:
        """List again now, because something does not add up. Returns when that is done, or cannot be."""
        for namespace in self._copies:
            try:
                self._list(namespace)
            except (Unreachable, Refusal) as error:
                logger.info("pods in %s: %s", namespace, error)

    def _run(self, namespace: str) -> None:
        pause = 0.2
        while not self._stopping.is_set():
            try:
                version = self._list(namespace)
                pause = 0.2
                self._follow(namespace, version)
            except Expired:
                continue
            except (Unreachable, Refusal) as error:
                with self._lock:
                    if not self._copies[namespace].trouble:
                        logger.warning("pods in %s: %s", namespace, error)
                    self._copies[namespace].trouble = str(error)
                self._wake()
                self._stopping.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                pause = min(pause * 2, MAX_PAUSE_S)
            except Exception:
                logger.exception("watching pods in %s failed", namespace)
                self._stopping.wait(pause)
                pause = min(pause * 2, MAX_PAUSE_S)

    def _list(self, namespace: str) -> str:
        asked = time.monotonic()
        pods, version = self._api.list("pods", namespace, self._selector)
        now = {pod["metadata"]["uid"]: pod for pod in pods}
        with self._lock:
            copy = self._copies[namespace]
            copy.gone |= {uid: pod for uid, pod in copy.pods.items() if uid not in now}
            copy.changed = {
                uid: pod for uid, pod in now.items()
                if uid in copy.changed or _version(copy.pods.get(uid)) != _version(pod)
            }  # fmt: skip
            copy.pods, copy.listed_at, copy.heard_at, copy.trouble = now, asked, asked, ""
        self._wake()
        return version

    def _follow(self, namespace: str, version: str) -> None:
        listed = time.monotonic()
        while not self._stopping.is_set():
            for kind, thing in self._api.watch("pods", namespace, self._selector, version):
                if kind == "ERROR":
                    if int(thing.get("code") or 0) == 410:
                        raise Expired
                    raise Refusal(int(thing.get("code") or 500), str(thing.get("reason")), str(thing.get("message")))
                version = str(thing["metadata"]["resourceVersion"])
                self._hear(namespace, kind, thing)
                if self._stopping.is_set() or time.monotonic() - listed > LIST_EVERY_S:
                    return
            if time.monotonic() - listed > LIST_EVERY_S:
                return

    def _hear(self, namespace: str, kind: str, pod: dict[str, Any]) -> None:
        uid = pod["metadata"].get("uid")
        with self._lock:
            copy = self._copies[namespace]
            copy.heard_at = time.monotonic()
            if kind == "BOOKMARK":
                return
            if kind == "DELETED":
                copy.pods.pop(uid, None)
                copy.changed.pop(uid, None)
                copy.gone[uid] = pod
            else:
                copy.pods[uid] = copy.changed[uid] = pod
        self._wake()


def _version(pod: dict[str, Any] | None) -> str:
    return str(pod["metadata"]["resourceVersion"]) if pod else ""
