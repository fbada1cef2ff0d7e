"""A bundle of the site's own class: a subclass of Airflow's `BaseDagBundle`, named by its class path.

For `open_bundle`. The class is user code, so each question to it is a process (`child`) with a time limit. What it says is kept:
`tracking` is a link to the folder of the newest files, beside it the version that lies there, as with other kinds.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path
from typing import Any

from trackside.core.environment import scrubbed
from trackside.runner.bundles.base import Bundle, BundleError, Lease, remove_tree
from trackside.sdk.plugins.child import Child, ChildGone

NONE = "-"
"""In the marker: the class has no versions."""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class OwnBundle(Bundle):
    """See the module."""

    @property
    def root(self) -> Path:
        return self._path("tracking")

    def version(self) -> str | None:
        found = self._read_marker()
        return None if found == NONE else found

    def refresh(self) -> bool:
        with self._locked():
            before = self._read_marker()
            if before != NONE:
                self._drop_marker()  # the class may change the files in place
            try:
                said = self._ask(None)
            except BundleError:
                if before:
                    self._write_marker(before)
                raise
            moved = not self.root.is_symlink() or str(self.root.readlink()) != said["path"]
            if moved:
                new = self._path("tracking.new")
                new.unlink(missing_ok=True)
                new.symlink_to(said["path"])
                new.replace(self.root)
            self._write_marker(said["version"] or NONE)
            return moved or not said["version"] or said["version"] != before

    def materialise(self, version: str) -> tuple[Path, Lease]:
        mark = version if _PLAIN.fullmatch(version) else hashlib.sha256(version.encode()).hexdigest()
        with self._locked():
            self._path("versions").mkdir(exist_ok=True)
            kept = self._path("versions", f"{mark}.path")
            folder = Path(kept.read_text()) if kept.is_file() else None
            if folder is None or not folder.is_dir() or not self._path("versions", f"{mark}.ready").exists():
                folder = Path(self._ask(version)["path"])
                kept.write_text(str(folder))
            lease = self._lease(mark)
            self._free_old_versions(self._forget)
        return folder, lease

    def _forget(self, folder: Path) -> None:
        """A version nobody uses: its files, if the class keeps them where it should, and what we noted."""
        Path(f"{folder}.path").unlink(missing_ok=True)
        remove_tree(folder)

    def _ask(self, version: str | None) -> dict[str, Any]:
        """Where the class has the files. Raises BundleError with its own words."""
        order = {
            "classpath": self.config.classpath, "name": self.config.name, "version": version, "kwargs": self.config.kwargs,
            "refresh_interval": self.config.refresh_interval, "storage": str(self.home.parent.absolute()),
        }  # fmt: skip
        child = Child("trackside.runner.bundles.child", str(os.getpid()), environment=scrubbed(os.environ))
        try:
            child.say(order)
            give_up = time.monotonic() + self.config.timeout
            while "ask" in (said := child.hear(give_up)):
                child.say(self._connection(said["ask"]))
        except TimeoutError:
            raise self._wrong(f"did not end within {self.config.timeout:g} s and was stopped (TRACKSIDE_BUNDLE_TIMEOUT)") from None
        except ChildGone as gone:
            raise self._wrong(f"ended its process ({gone}); its output is in the log") from None
        finally:
            child.end()
        if "error" in said:
            raise self._wrong(f"failed: {said['error']}")
        return said

    def _connection(self, conn_id: str) -> dict[str, Any]:
        try:
            return {"status": 200, "body": self._secrets_of(conn_id)}
        except BundleError as e:
            return {"status": 404, "body": {"detail": str(e)}}

    def _wrong(self, what: str) -> BundleError:
        return BundleError(f"Bundle {self.config.name}: {self.config.classpath} {what}.")
