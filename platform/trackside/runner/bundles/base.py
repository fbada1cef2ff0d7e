"""What every kind of bundle offers, and what they share on disk: the lock, the marker, leases on versions.

    <storage>/<name>/lock             exclusive while somebody changes anything below
    <storage>/<name>/tracking         the newest files: what the DAG processor parses
    <storage>/<name>/tracking.version which version lies there; missing while it is being changed
    <storage>/<name>/versions/<v>     one version, never changed once <v>.ready lies beside it

Several processes of a machine may share a storage folder. A plain folder is its own tracking folder and has none of this.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from trackside.runner.bundles.config import BundleConfig

Connections = Callable[[str], dict[str, Any] | None]
"""conn_id → {conn_type, host, login, password, port, schema, extra}; None if there is none of that id."""

KEEP_VERSIONS = 10
"""So many versions stay on disk whatever their age."""
KEEP_S = 6 * 3600.0
"""A version that nobody has used for this long may go."""


class BundleError(RuntimeError):
    """The files of a bundle cannot be brought up to date. The message names the bundle and what to do; no secrets."""


class Lease:
    """A shared lock on a version: it stays on disk while somebody holds one."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        """Let the version go; may be called again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Bundle:
    """A plain folder, and the base of the other kinds."""

    def __init__(self, config: BundleConfig, storage: Path, connections: Connections) -> None:
        self.config = config
        self.home = storage / config.name
        self.connections = connections

    @property
    def root(self) -> Path:
        """Where the newest files lie (tracking folder), with the subdir."""
        return Path(self.config.kwargs["path"])

    @property
    def remote(self) -> bool:
        """Whether `refresh` has something to do."""
        return self.config.kind != "local"

    def version(self) -> str | None:
        """The version in `root` at this moment: "" while it is being changed or was never fetched, None for bundles
        without versions."""
        return None

    def refresh(self) -> bool:
        """Bring `root` up to date; True if its files changed. Raises BundleError; then they are what they were."""
        return False

    def materialise(self, version: str) -> tuple[Path, Lease]:
        """The folder of the DAG files of one version, fetched if need be, and a lease on it. Raises BundleError."""
        raise BundleError(f"Bundle {self.config.name} has no versions.")

    # For the other kinds

    def _path(self, *parts: str) -> Path:
        return self.home.joinpath(*parts)

    @contextlib.contextmanager
    def _locked(self, wait_s: float = 600.0) -> Iterator[None]:
        """Alone with the folder, among all processes of the machine."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._path("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as e:
            said = f"{self.home} cannot be written ({e.strerror}). Set TRACKSIDE_BUNDLES_FOLDER."
            raise BundleError(f"Bundle {self.config.name}: {said}") from e
        try:
            give_up = time.monotonic() + wait_s
            while not _try_lock(fd, fcntl.LOCK_EX):
                if time.monotonic() > give_up:
                    raise BundleError(f"Bundle {self.config.name}: another process has kept {self.home} locked for {wait_s:g} s.")
                time.sleep(0.05)
            yield
        finally:
            os.close(fd)

    def _lease(self, version: str) -> Lease:
        """To be called under the lock."""
        marker = self._path("versions", f"{version}.ready")
        fd = os.open(marker, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_SH)
        os.utime(marker)
        return Lease(fd)

    def _free_old_versions(self, remove: Callable[[Path], None]) -> None:
        """Under the lock: delete versions that nobody uses or has used for long."""
        markers = sorted(self._path("versions").glob("*.ready"), key=lambda m: m.stat().st_mtime, reverse=True)
        for marker in markers[KEEP_VERSIONS:]:
            if time.time() - marker.stat().st_mtime < KEEP_S:
                continue
            fd = os.open(marker, os.O_RDWR | os.O_CLOEXEC)
            try:
                if _try_lock(fd, fcntl.LOCK_EX):
                    marker.unlink()
                    remove(marker.with_suffix(""))
            finally:
                os.close(fd)

    def _read_marker(self) -> str:
        try:
            return self._path("tracking.version").read_text()
        except OSError:
            return ""

    def _write_marker(self, version: str) -> None:
        new = self._path("tracking.version.new")
        new.write_text(version)
        new.replace(self._path("tracking.version"))

    def _drop_marker(self) -> None:
        self._path("tracking.version").unlink(missing_ok=True)

    def _secrets_of(self, conn_id: str) -> dict[str, Any]:
        try:
            found = self.connections(conn_id)
        except Exception as e:
            raise BundleError(f"Bundle {self.config.name}: the connection {conn_id} cannot be read ({e}).") from e
        if found is None:
            raise BundleError(f"Bundle {self.config.name}: there is no connection {conn_id}. Create it, or name another one.")
        return found


def remove_tree(folder: Path) -> None:
    """Delete a folder, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
