"""Where the DAG file of a try lies on this machine, fetched if it is not there yet.

For `agent` and `__main__`. A folder's file lies where the server says, or below the worker's own DAG folder. Files of a git
bundle come from a work tree of the run's commit, held by a lease while tries run from it; those of a bucket from a mirror.
Connections are read with the try's own token. Fetching blocks: it runs in a thread, never in the event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from trackside.core.messages import StartOrder
from trackside.runner.bundles import Bundle, BundleConfig, BundleError, Lease, open_bundle
from trackside.runner.client import ControlSocket, TryComms

log = logging.getLogger(__name__)

KEEP_LEASES = 8
"""So many versions stay leased after their last try, which saves looking them up again."""
ASK_FOR_S = 10.0
"""How long a connection is asked for while the server does not answer."""


def storage_folder(environment: Mapping[str, str]) -> Path:
    """TRACKSIDE_BUNDLES_FOLDER, or `bundles` in the home."""
    named = environment.get("TRACKSIDE_BUNDLES_FOLDER")
    return Path(named).expanduser() if named else Path(environment.get("TRACKSIDE_HOME") or "~/.trackside").expanduser() / "bundles"


class LocalFiles:
    """Of one worker. `find` answers at once or not at all, `fetch` answers later."""

    def __init__(self, api_url: str, dags_folder: str | None, storage: Path | None = None) -> None:
        self._api_url = api_url
        self._dags_folder = dags_folder
        self._storage = storage or storage_folder(os.environ)
        self._lock = threading.Lock()
        self._versions: dict[tuple[str, str], tuple[Path, Lease]] = {}
        self._users: dict[str, tuple[str, str]] = {}
        self._mirrored: dict[str, float] = {}
        """Bundle → monotonic moment of its last refresh."""

    def find(self, order: StartOrder) -> str | None:
        """The path, if nothing has to be fetched."""
        if order.bundle is None:
            return self._of_folder(order)
        if order.bundle_version is None:
            return None
        with self._lock:
            held = self._versions.get((order.bundle_name, order.bundle_version))
            if held is None:
                return None
            self._users[order.try_id] = (order.bundle_name, order.bundle_version)
        return in_version(held[0], order)

    async def fetch(self, order: StartOrder) -> str:
        """The path, after the files are there. Raises BundleError."""
        return await asyncio.to_thread(self.fetch_now, order)

    def fetch_now(self, order: StartOrder) -> str:
        """`fetch`, blocking."""
        assert order.bundle is not None
        bundle = open_bundle(BundleConfig.from_wire(order.bundle), self._storage, self._connections(order))
        if order.bundle_version is None:
            return self._of_mirror(bundle, order)
        folder, lease = bundle.materialise(order.bundle_version)
        key = (order.bundle_name, order.bundle_version)
        with self._lock:
            if key in self._versions:
                lease.release()
            else:
                self._versions[key] = (folder, lease)
            self._users[order.try_id] = key
        return in_version(folder, order)

    @staticmethod
    def note(order: dict[str, Any], parsed: StartOrder, path: str) -> None:
        """Write into an order (both forms) where its file lies; the folder tasks import from is what is left of the path."""
        if not path.endswith(f"/{parsed.relative_fileloc}"):
            same = parsed.version_fileloc and path.endswith(f"/{parsed.version_fileloc}")
            parsed.relative_fileloc = order["relative_fileloc"] = parsed.version_fileloc if same else Path(path).name
        parsed.dag_file = order["dag_file"] = path

    def release(self, try_id: str) -> None:
        """The try is over."""
        with self._lock:
            if self._users.pop(try_id, None) is None:
                return
            unused = [key for key in self._versions if key not in self._users.values()]
            for key in unused[: max(0, len(self._versions) - KEEP_LEASES)]:
                self._versions.pop(key)[1].release()

    def _of_folder(self, order: StartOrder) -> str:
        if self._dags_folder and order.relative_fileloc:
            mapped = Path(self._dags_folder, order.relative_fileloc)
            if mapped.exists():
                return str(mapped)
        return order.dag_file

    def _of_mirror(self, bundle: Bundle, order: StartOrder) -> str:
        """A bundle without versions: refreshed when its turn has come or the file is not the one the server parsed."""
        file = bundle.root / order.relative_fileloc
        last = self._mirrored.get(order.bundle_name)
        due = last is None or time.monotonic() - last > bundle.config.refresh_interval
        if due or _hash(_real(file)) != order.file_hash:
            began = time.monotonic()
            try:
                bundle.refresh()
                self._mirrored[order.bundle_name] = began
            except BundleError as e:
                if not _real(file).is_file():
                    raise
                log.warning("%s The files that were fetched before are used.", e)
        if not _real(file).is_file():
            raise BundleError(f"Bundle {order.bundle_name} has no file {order.relative_fileloc}.")
        return str(file)

    def _connections(self, order: StartOrder) -> Callable[[str], dict[str, Any] | None]:
        comms = TryComms(ControlSocket(), self._api_url, order.token, ASK_FOR_S)

        from trackside.runner import lookup

        def ask(conn_id: str) -> dict[str, Any] | None:
            if (kept_elsewhere := lookup.connection(conn_id)) is not None:
                return kept_elsewhere
            status, found = comms.request("GET", f"/connections/{conn_id}")
            if status == 404:
                return None
            if status != 200:
                raise BundleError(f"The server did not give the connection {conn_id} ({status}).")
            return dict(found)

        return ask


def _real(file: Path) -> Path:
    """The archive, for a file in one."""
    text = str(file)
    return Path(text[: text.index(".zip/") + 4]) if ".zip/" in text else file


class Wanted(Protocol):
    """Which file of which version; a start order is one."""

    dag_id: str
    bundle_name: str
    bundle_version: str | None
    relative_fileloc: str
    """Where the file lies now."""
    version_fileloc: str
    """Where it lay in that version; empty: the same."""


def in_version(folder: Path, order: Wanted) -> str:
    """The DAG's file in a version: where it is now, where it was, or wherever its name and DAG are found."""
    for relative in (order.version_fileloc, order.relative_fileloc):
        if relative and _real(folder / relative).is_file():
            return str(folder / relative)
    name = Path(order.relative_fileloc).name
    for found in sorted(folder.rglob(name)):
        if order.dag_id in found.read_text(encoding="utf-8", errors="replace"):
            return str(found)
    raise BundleError(f"Bundle {order.bundle_name} has no file {order.relative_fileloc} in version {order.bundle_version}.")


def _hash(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""
