"""What installed packages announce to Python, looked up without `importlib.metadata` as long as none says the word.

That module and its parsing of every package's files cost a process that runs one task more than its DAG file does.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def entry_points(group: str) -> tuple[EntryPoint, ...]:
    """`importlib.metadata.entry_points(group=group)`."""
    if not mentioned(group):
        return ()
    import importlib.metadata

    return tuple(importlib.metadata.entry_points(group=group))


def mentioned(group: str) -> bool:
    """Whether any installed package may have entry points of that group."""
    if any(hasattr(finder, "find_distributions") and finder.__module__ != "_frozen_importlib_external" for finder in _finders()):
        return True
    for entry in sys.path:
        try:
            changed = os.stat(entry or ".").st_mtime_ns  # noqa: PTH116 - in every pod's start
        except OSError:
            continue
        said = _said(entry or ".", changed)
        if said is None or f"[{group}]" in said:
            return True
    return False


def _finders() -> list[type]:
    return [finder if isinstance(finder, type) else type(finder) for finder in sys.meta_path]


@lru_cache(maxsize=64)
def _said(folder: str, changed: int) -> str | None:
    """All entry points of the packages in a folder of the path; None if only `importlib.metadata` can tell (archives, eggs)."""
    texts = []
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return None
    for name in names:
        if name.endswith(".egg"):
            return None
        if not name.endswith((".dist-info", ".egg-info")):
            continue
        try:
            with open(f"{folder}/{name}/entry_points.txt", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                texts.append(file.read())
        except OSError:
            continue
    return "\n".join(texts)
