"""Imports from DAG folders that never believe a `.pyc`: an edit of the same size in the same second counts, too.

For `parsing.py`. Python takes a `.pyc` for current when the source's size and whole second are those noted in it, so one that
was written between two quick saves hides the second of them for good. What lies in a DAG folder is therefore compiled from
its source at every import and leaves no `.pyc` behind; libraries elsewhere keep theirs.
"""

from __future__ import annotations

import importlib.machinery as machinery
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

_folders: set[str] = set()


class SourceOnly(machinery.SourceFileLoader):
    """Compiles the source, whatever lies in `__pycache__`."""

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def read_from_source(folder: str | Path) -> None:
    """Have everything that is imported from below `folder` compiled from its source. Said again, it does nothing."""
    name = str(folder).rstrip("/")
    if not name or name in _folders:
        return
    if _hook not in sys.path_hooks:
        # before the default hook for folders, after the one for archives
        sys.path_hooks.insert(1 if sys.path_hooks else 0, _hook)
    _folders.add(name)
    for path in list(sys.path_importer_cache):
        if path == name or path.startswith(name + "/"):
            del sys.path_importer_cache[path]


_finder: Callable[[str], Any] = machinery.FileFinder.path_hook(
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (SourceOnly, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
)


def _hook(path: str) -> Any:
    if any(path == folder or path.startswith(folder + "/") for folder in _folders):
        return _finder(path)
    raise ImportError
