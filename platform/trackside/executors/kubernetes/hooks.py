"""The site's `pod_mutation_hook`: every pod goes through it, in a child of the executor that holds no credentials.

For `creating`. The child (`hookchild`) is started with the first pod, and anew when `airflow_local_settings.py` changes. A site
without such a file and without entry points of group `airflow.policy` has no child.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackside.core.environment import scrubbed
from trackside.sdk.plugins import policies
from trackside.sdk.plugins.child import Child, ChildGone

NOT_FOR_HOOKS = ("KUBECONFIG", "PGPASSWORD", "PGPASSFILE", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CORE__FERNET_KEY")


class HookFailed(RuntimeError):
    """The hook failed, hung or killed its process; the message has its own words."""


class PodHooks:
    """Of one executor; for several threads, which take turns.

    `timeout`: seconds for one pod, and for starting the child: importing what the hook needs is part of it.
    """

    def __init__(self, environment: Mapping[str, str], *, timeout: float = 30.0) -> None:
        kept = scrubbed(environment)
        self._environment = {name: value for name, value in kept.items() if name not in NOT_FOR_HOOKS}
        self._timeout = timeout
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._state: Any = None
        """What the file of the hook looked like when the child was started."""
        self._hooks = 0

    def apply(self, pod: dict[str, Any]) -> dict[str, Any]:
        """The pod as the hooks leave it; the same object without hooks. Blocks. Raises HookFailed."""
        with self._lock:
            state = self._looked()
            if not state:
                self._end()
                return pod
            for attempt in (1, 2):
                try:
                    if state != self._state or (self._hooks and self._child is None):
                        self._start(state)
                    return self._asked(pod) if self._hooks else pod
                except ChildGone as gone:  # once more: somebody may have killed it
                    self._end()
                    if attempt == 2:
                        raise HookFailed(f"pod_mutation_hook ended its process ({gone}).") from None
        return pod

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _looked(self) -> tuple[Any, ...]:
        """The files a hook may be in, as they are now, and the packages that bring policies; empty: there can be none."""
        plugins = Path(self._environment.get("TRACKSIDE_PLUGINS_FOLDER") or "/nowhere")
        places = [plugins, plugins.parent / "config", *(Path(p) for p in (self._environment.get("TRACKSIDE_DAGS_FOLDER"), *sys.path) if p)]
        found: list[Any] = [entry.value for entry in policies.entry_points()]
        for place in places:
            for file in (place / f"{policies.MODULE}.py", place / policies.MODULE / "__init__.py"):
                try:
                    seen = file.stat()
                except OSError:
                    continue
                found.append((str(file), seen.st_mtime_ns, seen.st_size))
        return tuple(found)

    def _start(self, state: Any) -> None:
        self._end()
        self._child = Child("trackside.executors.kubernetes.hookchild", str(int(self._timeout) + 5), environment=self._environment)
        said = self._answer(time.monotonic() + self._timeout)
        if "error" in said:
            self._end()
            raise HookFailed(said["error"])
        self._hooks, self._state = int(said["hooks"]), state
        if not self._hooks:
            self._stop()

    def _asked(self, pod: dict[str, Any]) -> dict[str, Any]:
        assert self._child is not None
        give_up = time.monotonic() + self._timeout
        self._child.say(pod)
        said = self._answer(give_up)
        if "error" in said:
            raise HookFailed(f"pod_mutation_hook failed: {said['error']}")
        return dict(said["pod"])

    def _answer(self, give_up: float) -> dict[str, Any]:
        assert self._child is not None
        try:
            return self._child.hear(give_up)
        except TimeoutError:
            self._end()
            late = f"took longer than {self._timeout:g} s and was stopped (TRACKSIDE_KUBERNETES_HOOK_TIMEOUT)"
            raise HookFailed(f"pod_mutation_hook {late}.") from None

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def _end(self) -> None:
        self._stop()
        self._hooks, self._state = 0, None
