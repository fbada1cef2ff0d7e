"""DAG folders as content-addressed archives: what a pod fetches that shares no file system with the server.

For `processor`, and only where some executor has its files shipped. Whenever a folder has changed, its files become one
archive (`FilesArchive`, named by its SHA-256), and every current DAG version whose own file is in it just so points there:
a pod runs exactly the file its version was parsed from, with the helpers that lay beside it then. Remote bundles need none of this,
because every worker fetches their versions itself.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
import os
import tarfile
from datetime import timedelta
from pathlib import Path

from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from apps.dags.models import DagVersion, FilesArchive

logger = logging.getLogger(__name__)

MAX_BYTES = 100 * 1_048_576
"""A folder larger than this is not shipped."""
LEFT_OUT = frozenset({"__pycache__", ".git", ".hg", ".svn", "node_modules", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
KEEP_UNUSED = timedelta(days=1)

Signature = tuple[tuple[str, int, int], ...]


class Shipper:
    """Of one folder. `run_once` is cheap while nothing changes."""

    def __init__(self, bundle_name: str, folder: Path) -> None:
        self.bundle_name = bundle_name
        self.folder = folder
        self._signature: Signature | None = None
        self._hash = ""
        self._hashes: dict[str, str] = {}
        """Relative path → SHA-256 of what is in the archive."""

    def run_once(self) -> None:
        """Make a new archive if a file has changed, and point versions at it. Raises nothing but database errors."""
        try:
            signature = tuple(_walk(self.folder))
        except OSError as e:
            logger.warning("the DAG folder %s cannot be shipped: %s", self.folder, e)
            return
        if signature != self._signature:
            if (size := sum(s for _, _, s in signature)) > MAX_BYTES:
                if self._signature is None or not self._hash:
                    logger.warning(
                        "the DAG folder %s has %d MB and is not shipped to pods (limit %d): take what is no code out of it, use a git "
                        "bundle, or TRACKSIDE_KUBERNETES_DAG_FILES=shared", self.folder, size >> 20, MAX_BYTES >> 20,
                    )  # fmt: skip
                self._signature = signature
                return
            content, self._hashes = archive(self.folder, [relative for relative, _, _ in signature])
            self._hash = hashlib.sha256(content).hexdigest()
            FilesArchive.objects.get_or_create(hash=self._hash, defaults={"bundle_name": self.bundle_name, "content": content})
            self._signature = signature
            self._forget_unused()
        if self._hash:
            self._stamp()

    def _stamp(self) -> None:
        current = DagVersion.objects.filter(dag__bundle_name=self.bundle_name, dag__current_version__isnull=False, dag__is_stale=False)
        rows = current.filter(dag__current_version__id=F("id")).exclude(files_hash=self._hash)
        found = rows.values_list("id", "dag__relative_fileloc", "file_hash")
        mine = [pk for pk, relative, digest in found if self._holds(relative, digest)]
        if mine:
            DagVersion.objects.filter(pk__in=mine).update(files_hash=self._hash)

    def _holds(self, relative: str, digest: str) -> bool:
        if ".zip/" in relative:  # the version knows a hash of what lies inside
            return relative[: relative.index(".zip/") + 4] in self._hashes
        return self._hashes.get(relative) == digest

    def _forget_unused(self) -> None:
        used = DagVersion.objects.filter(files_hash=OuterRef("hash"))
        FilesArchive.objects.filter(created_at__lt=timezone.now() - KEEP_UNUSED).exclude(Exists(used)).delete()


def archive(folder: Path, relatives: list[str]) -> tuple[bytes, dict[str, str]]:
    """A gzipped tar that is the same for the same files, and the hash of each file. Files that vanish meanwhile are left out."""
    raw, hashes = io.BytesIO(), {}
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for relative in relatives:
            try:
                data = (folder / relative).read_bytes()
            except OSError:
                continue
            hashes[relative] = hashlib.sha256(data).hexdigest()
            info = tarfile.TarInfo(relative)
            info.size, info.mode = len(data), 0o755 if os.access(folder / relative, os.X_OK) else 0o644
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), compresslevel=6, mtime=0), hashes


def _walk(folder: Path) -> list[tuple[str, int, int]]:
    found = []
    for here, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if f not in LEFT_OUT)
        for name in files:
            if name.endswith((".pyc", ".pyo")):
                continue
            path = os.path.join(here, name)  # noqa: PTH118 - for every file, every two seconds
            try:
                info = os.stat(path)  # noqa: PTH116
            except OSError:
                continue
            found.append((os.path.relpath(path, folder), info.st_mtime_ns, info.st_size))
    return sorted(found)
