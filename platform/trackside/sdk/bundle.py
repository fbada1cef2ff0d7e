"""`BaseDagBundle`: what an own kind of DAG bundle is a subclass of (rows 2.108, 2.109), and the version it tells.

Own bundles are user code: `trackside.runner.bundles.child` makes and asks them, in a process of its own. Their files lie below
`base_dir`; which folder that is, the process says with `lie_in`.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_root = Path(tempfile.gettempdir()) / "trackside" / "dag_bundles"


def lie_in(root: Path) -> None:
    """The folder of all bundles, for this process."""
    global _root
    _root = root


@dataclass(frozen=True)
class BundleVersion:
    """A version and what else a bundle knows of it (`data` is not kept)."""

    version: str
    data: dict[str, Any] | None = None


def get_bundle_storage_root_path() -> Path:
    """The folder of all bundles."""
    return _root


def get_bundle_base_folder(bundle_name: str) -> Path:
    """The folder of one bundle."""
    return get_bundle_storage_root_path() / bundle_name


def get_bundle_versions_base_folder(bundle_name: str) -> Path:
    """Where its versions lie."""
    return get_bundle_base_folder(bundle_name) / "versions"


def get_bundle_version_path(bundle_name: str, version: str) -> Path:
    """Where one version should lie: it is deleted from there when nobody has used it for long."""
    return get_bundle_versions_base_folder(bundle_name) / version


class BaseDagBundle(ABC):
    """Where DAG files come from. `version` None: the newest files, kept up to date by `refresh`; else exactly that version."""

    supports_versioning: bool = False

    def __init__(
        self, *, name: str, refresh_interval: float = 300, version: str | None = None, view_url_template: str | None = None
    ) -> None:
        self.name, self.version, self.refresh_interval = name, version, refresh_interval
        self.is_initialized = False
        self.base_dir = get_bundle_base_folder(name)
        self.versions_dir = get_bundle_versions_base_folder(name)
        self._view_url_template = view_url_template

    def initialize(self) -> None:
        """Have the files at `path`; called before the bundle is used. Subclasses call this at the end of theirs."""
        self.is_initialized = True

    @property
    @abstractmethod
    def path(self) -> Path:
        """The folder of the DAG files."""

    @abstractmethod
    def get_current_version(self) -> str | BundleVersion | None:
        """The version that lies at `path`; None without versions."""

    @abstractmethod
    def refresh(self) -> None:
        """Bring `path` up to date."""

    def view_url(self, version: str | None = None) -> str | None:
        """Not asked: see `view_url_template`."""
        return None

    def view_url_template(self) -> str | None:
        """Where people can look at a version; Trackside reads it from `kwargs` of the setting."""
        return self._view_url_template

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Alone among all processes of the machine that use this bundle's lock."""
        self.base_dir.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.base_dir / "own.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(name={self.name})>"
