"""Which plugins there are, as a child process said: read by REST and by whoever asks for listeners' errands.

The runner (`service`) has it written when the folder changes. Reading is cached for a moment: events are many.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.dags.models import DagFile, PluginReport

KEEP_S = 2.0
_kept: tuple[float, dict[str, Any]] = (-1e9, {})


def read() -> dict[str, Any]:
    """The report: {"plugins", "errors", "listens", "policies"}; {} before the first."""
    row = PluginReport.objects.filter(key="plugins").first()
    return row.data if row is not None else {}


def listens(event: str) -> bool:
    """Whether a plugin listens to this event of the server."""
    global _kept
    at, known = _kept
    if time.monotonic() - at > KEEP_S:
        known = read()
        _kept = (time.monotonic(), known)
    return event in known.get("listens", ())


def forget() -> None:
    """Read anew when next asked (tests, and the runner after it wrote)."""
    global _kept
    _kept = (-1e9, {})


def fingerprint() -> str:
    """Of everything a plugin or policy may come from: equal as long as nothing changed. Nothing is imported."""
    folder = Path(settings.PLUGINS_FOLDER)
    seen = [str(folder)]
    for root in (folder, folder.parent / "config"):
        try:
            paths = sorted(p for p in root.rglob("*") if p.suffix == ".py" or p.name == ".airflowignore")
            seen += [f"{p}:{p.stat().st_size}:{p.stat().st_mtime_ns}" for p in paths if "__pycache__" not in p.parts]
        except OSError:
            continue
    seen += _installed()
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()


def is_empty() -> bool:
    """Whether there is nothing to load at all, so that no child has to be asked."""
    folder = Path(settings.PLUGINS_FOLDER)
    found = any(next(root.rglob("*.py"), None) for root in (folder, folder.parent / "config") if root.is_dir())
    return not found and not _installed()


@functools.cache
def _installed() -> tuple[str, ...]:
    """Entry points of installed packages: read once, because that is dear, and a package comes with a restart."""
    groups = ("airflow.plugins", "airflow.policy")
    return tuple(f"{group}:{e.name}={e.value}" for group in groups for e in importlib.metadata.entry_points(group=group))


EMPTY: dict[str, Any] = {"plugins": [], "errors": {}, "listens": [], "policies": []}


def write(mark: str, data: dict[str, Any], now: datetime) -> bool:
    """Keep what the child said; True if it is news. DAG files are parsed again then: plugins change what they give."""
    before = PluginReport.objects.filter(key="plugins").first()
    is_news = before is None or before.fingerprint != mark or before.data != data
    if is_news:
        with transaction.atomic():
            PluginReport.objects.update_or_create(key="plugins", defaults={"fingerprint": mark, "data": data, "at": now})
            if before is not None or data != EMPTY:
                DagFile.objects.update(reparse_requested_at=now)
        forget()
    return is_news
