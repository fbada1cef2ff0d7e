"""Which files of the DAG folder may hold DAGs: one walk, the truth of the processor (hints only make it sooner).

For the DAG processor (`apps.dags.processor`) and `trackside dags check`. Works on any file system that has times and
sizes. Nothing is opened but `.airflowignore` files and, once per change, candidates for the look for the words a DAG
file must contain.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trackside.runner.parsing import ignoring
from trackside.runner.parsing.ignoring import IgnoreFile

logger = logging.getLogger(__name__)

MAX_DEPTH = 64
Signature = tuple[int, int, int]
"""(mtime in ns, size, inode): a file whose signature changed is parsed again."""


@dataclass(slots=True, frozen=True)
class Seen:
    """One file."""

    path: str
    relative: str
    signature: Signature

    @property
    def mtime(self) -> float:
        return self.signature[0] / 1e9

    @property
    def size(self) -> int:
        return self.signature[1]


@dataclass(slots=True)
class Scan:
    """What one walk saw."""

    files: dict[str, Seen] = field(default_factory=dict)
    """By path: every .py and .zip that is not ignored."""
    unknown: list[str] = field(default_factory=list)
    """Folders and files that could not be looked at: what lies there is not missing."""
    folder_id: tuple[int, int] = (0, 0)
    """Device and inode of the folder itself, to notice that it was replaced."""

    def is_unknown(self, path: str) -> bool:
        return any(path == u or path.startswith(u + "/") for u in self.unknown)


class Scanner:
    """Walks one folder again and again; remembers what it read from ignore files and candidates."""

    def __init__(self, folder: Path, *, syntax: str = "glob") -> None:
        self.folder = folder
        self.syntax = syntax
        self._ignores: dict[str, tuple[Signature, IgnoreFile]] = {}
        self._words: dict[str, tuple[Signature, bool]] = {}
        self._told: set[str] = set()

    def scan(self) -> Scan:
        """Raises OSError when the folder itself cannot be looked at: then nothing is known about any file."""
        info = self.folder.stat()
        found = Scan(folder_id=(info.st_dev, info.st_ino))
        with os.scandir(self.folder):  # unreadable: raise, do not call everything missing
            pass
        for seen in self._walk(str(self.folder), "", [], [found.folder_id], found):
            found.files[seen.path] = seen
        self._words = {path: value for path, value in self._words.items() if path in found.files}
        return found

    def may_hold_dags(self, seen: Seen) -> bool:
        """The words every DAG file contains, in a .py; archives always may. Unreadable files may: parsing says why."""
        if seen.path.endswith(".zip"):
            return True
        known = self._words.get(seen.path)
        if known is None or known[0] != seen.signature:
            known = self._words[seen.path] = (seen.signature, _has_words(seen.path))
        return known[1]

    def _walk(
        self, folder: str, base: str, ignores: list[IgnoreFile], above: list[tuple[int, int]], found: Scan
    ) -> Iterator[Seen]:
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda e: e.name)
        except OSError:
            found.unknown.append(folder)
            return
        own = next((e for e in entries if e.name == ignoring.FILE_NAME), None)
        ignores = [*ignores, rules] if own is not None and (rules := self._read_ignore(own, base)) else ignores
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__pycache__" or not self._storable(entry):
                continue
            relative = f"{base}/{entry.name}" if base else entry.name
            try:
                if entry.is_dir():
                    info = entry.stat()
                    identity = (info.st_dev, info.st_ino)
                    loop = identity in above or len(above) > MAX_DEPTH
                    if not loop and not ignoring.is_ignored(ignores, relative, folder=True):
                        yield from self._walk(entry.path, relative, ignores, [*above, identity], found)
                elif _is_source(entry) and not ignoring.is_ignored(ignores, relative, folder=False) and entry.is_file():
                    info = entry.stat()
                    yield Seen(entry.path, relative, (info.st_mtime_ns, info.st_size, info.st_ino))
            except OSError:
                yield from _unreadable(entry, relative, found)

    def _read_ignore(self, entry: os.DirEntry[str], base: str) -> IgnoreFile | None:
        try:
            info = entry.stat()
            signature = (info.st_mtime_ns, info.st_size, info.st_ino)
            known = self._ignores.get(entry.path)
            if known is None or known[0] != signature:
                text = Path(entry.path).read_text(encoding="utf-8", errors="replace")
                known = self._ignores[entry.path] = (signature, ignoring.read(text, base, self.syntax))
            return known[1]
        except OSError:
            return None

    def _storable(self, entry: os.DirEntry[str]) -> bool:
        """Names that are not text cannot be shown or stored."""
        try:
            entry.name.encode()
            return True
        except UnicodeEncodeError:
            if entry.path not in self._told:
                self._told.add(entry.path)
                logger.warning("%r is passed over: its name is not UTF-8; rename it", entry.path)
            return False


def _unreadable(entry: os.DirEntry[str], relative: str, found: Scan) -> Iterator[Seen]:
    """A link that leads in a circle is shown as a file that cannot be read; anything else is not known."""
    if entry.is_symlink() and _is_source(entry):
        info = entry.stat(follow_symlinks=False)
        yield Seen(entry.path, relative, (info.st_mtime_ns, 0, info.st_ino))
    else:
        found.unknown.append(entry.path)


def _is_source(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith((".py", ".zip"))


def _has_words(path: str) -> bool:
    try:
        text = Path(path).read_bytes().lower()
    except OSError:
        return True
    if b"dag" not in text and b"asset" not in text:
        return False
    return b"airflow" in text or b"trackside" in text


def signature_of(path: str) -> Signature | None:
    """The signature now; None if the file is gone or cannot be looked at."""
    try:
        info = Path(path).stat()
    except OSError:
        return None
    return (info.st_mtime_ns, info.st_size, info.st_ino)
