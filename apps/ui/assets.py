"""Where the browser finds styles, icons and built islands.

Hand-written files carry `?v=<hash>`, built ones have it in their name (Vite's manifest). Read once per process and
again when the manifest changes, so that a build shows up without a restart.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.templatetags.static import static

STATIC = Path(settings.ROOT) / "static"
MANIFEST = STATIC / "dist" / ".vite" / "manifest.json"


@dataclass(frozen=True, slots=True)
class Built:
    """One island: its script, the chunks it imports and its styles, relative to static/dist."""

    file: str
    imports: list[str] = field(default_factory=list)
    css: list[str] = field(default_factory=list)


@cache
def url(path: str) -> str:
    """URL of a file in static/ that changes with its content."""
    file = Path(f"{STATIC}/{path}")  # not "/": template text is no plain str
    version = hashlib.sha256(file.read_bytes()).hexdigest()[:10] if file.is_file() else "0"
    return f"{static(path)}?v={version}"


def island(name: str) -> Built | None:
    """The island's files, None when the front end was not built."""
    try:
        stamp = MANIFEST.stat().st_mtime_ns
    except OSError:
        return None
    return _islands(stamp).get(name)


@cache
def _islands(stamp: int) -> dict[str, Built]:
    manifest: dict[str, Any] = json.loads(MANIFEST.read_text())
    found = {}
    for source, entry in manifest.items():
        if entry.get("isEntry"):
            found[Path(source).parent.name] = Built(entry["file"], _imports(manifest, entry), entry.get("css", []))
    return found


def _imports(manifest: dict[str, Any], entry: dict[str, Any]) -> list[str]:
    files: list[str] = []
    for key in entry.get("imports", []):
        chunk = manifest[key]
        files += [chunk["file"], *_imports(manifest, chunk)]
    return list(dict.fromkeys(files))
