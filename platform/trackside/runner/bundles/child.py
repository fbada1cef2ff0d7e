"""The process of an own bundle class: makes one, has it fetch files, tells where they are.

Started by `own` as `python -P -m trackside.runner.bundles.child PARENT`, with an environment that names neither the database nor
keys. One line of JSON comes in (the order); connections are asked for by lines out and in; the last line out is the answer.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trackside.runner import procs
from trackside.sdk.bundle import BaseDagBundle, BundleVersion, lie_in
from trackside.sdk.plugins import loading as plugins
from trackside.sdk.plugins.child import answers, told


class _Parent:
    """`Comms` of this process: connections, nothing else."""

    def __init__(self, say: Callable[[Mapping[str, Any]], None]) -> None:
        self._say, self._lock = say, threading.Lock()

    def request(self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None) -> tuple[int, Any]:
        """See `Comms.request`."""
        if method != "GET" or not path.startswith("/connections/"):
            return 403, {"detail": f"{method} {path} is not possible in a DAG bundle: it may read connections."}
        with self._lock:
            self._say({"ask": path.removeprefix("/connections/")})
            found = json.loads(sys.stdin.readline() or "{}")
        return int(found.get("status", 503)), found.get("body")

    def update(self, **fields: Any) -> None:
        """See `Comms.update`: there is no try."""

    def mask(self, secret: str) -> None:
        """See `Comms.mask`."""


def _class(classpath: str) -> type[BaseDagBundle]:
    module, _, name = classpath.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    if not (isinstance(found, type) and issubclass(found, BaseDagBundle)):
        raise TypeError(f"{classpath} is no subclass of airflow.dag_processing.bundles.base.BaseDagBundle")
    return found


def done(order: dict[str, Any]) -> dict[str, Any]:
    """Do what the order says: {"path", "version"}. Raises what the class raises."""
    lie_in(Path(order["storage"]))
    cls = _class(order["classpath"])
    bundle = cls(name=order["name"], version=order["version"], **{"refresh_interval": order["refresh_interval"], **order["kwargs"]})
    bundle.initialize()
    if order["version"] is None:
        bundle.refresh()
    path = Path(bundle.path)
    if not path.is_absolute() or not path.is_dir():
        raise FileNotFoundError(f"{cls.__name__}.path is {str(path)!r}, which is no folder (write an absolute path to one)")
    version: Any = order["version"]
    if version is None and cls.supports_versioning:
        version = bundle.get_current_version()
        version = version.version if isinstance(version, BundleVersion) or hasattr(version, "version") else version
        if version is not None and not (isinstance(version, str) and 0 < len(version) <= 200):
            raise TypeError(f"{cls.__name__}.get_current_version() gave {version!r}; it must give a text of 1 to 200 characters, or None")
    return {"path": str(path), "version": version}


def main() -> None:
    """One order."""
    procs.die_with_parent(int(sys.argv[1]))
    say = answers()
    from trackside import airflow
    from trackside.sdk.execution import current

    try:
        order = json.loads(sys.stdin.readline())
        airflow.install()
        with current.use_comms(_Parent(say)):
            plugins.load()
            said = done(order)
    except BaseException as error:  # also SystemExit of the class
        traceback.print_exc()
        said = {"error": told(error)}
    say(said)
    os._exit(0)  # threads of the class do not keep it


if __name__ == "__main__":
    main()
