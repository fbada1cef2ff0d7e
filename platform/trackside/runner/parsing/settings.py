"""Limits and names the parse server needs, and the environment it may see.

For `client` (makes both) and `server` (reads them from its argument).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from trackside.core.environment import KEPT_PREFIXES, completed

OUTPUT_CAP = 64 * 1024
"""Bytes of output kept per file."""
MAX_PROCESSES = 64
"""Processes one file may have running at a time while it is parsed."""
MAX_FILES = 4096
"""File descriptors one file may have open."""
MAX_RESULT = 128 * 1024 * 1024
"""Bytes of JSON one file may give."""

_SECRET = re.compile(
    r"(DATABASE_URL(_FILE)?|PG[A-Z]+|DJANGO_[A-Z_]+|AIRFLOW__DATABASE__.*|AIRFLOW__CORE__FERNET_KEY.*)$"
)
_HARMLESS = frozenset(
    {
        "TRACKSIDE_DAGS_FOLDER", "TRACKSIDE_PLUGINS_FOLDER", "TRACKSIDE_CREATE_CRON_DATA_INTERVALS", "TRACKSIDE_PARSE_TIMEOUT",
        "TRACKSIDE_LOG_LEVEL",
    }
)
"""Of Trackside's own variables these alone (and connections and variables) are handed on; the rest are keys, tokens or ways to them."""


PRELOAD = (
    "trackside.sdk", "trackside.sdk.parsing", "trackside.sdk.serialization", "trackside.airflow", "pendulum",
    "jinja2.sandbox", "jsonschema", "csv", "logging.handlers", "tempfile", "uuid", "subprocess", "zoneinfo", "asyncio",
    "urllib.request", "http.client", "email.message",
)  # fmt: skip


@dataclass(slots=True)
class ParseSettings:
    """How files are parsed."""

    dags_folder: str
    plugins_folder: str = ""
    """Folder of plugins, loaded by every child before it loads a file; "" for none."""
    timeout: float = 30.0
    """Seconds until a file is stopped (TRACKSIDE_PARSE_TIMEOUT)."""
    memory_mb: int = 1024
    """Memory a file may take on top of the warm parent's (TRACKSIDE_PARSE_MEMORY_MB)."""
    max_processes: int = MAX_PROCESSES
    loader: str = "trackside.sdk.parsing:load_file"
    """"module:function" of `load_file(path, dags_folder=…)`."""
    encoder: str = "trackside.sdk.serialization:to_spec"
    """"module:function" that makes a DagSpec of a DAG."""
    preload: list[str] = field(default_factory=lambda: list(PRELOAD))
    """Modules the warm parent imports, so that no file has to."""
    preload_below: list[str] = field(default_factory=lambda: ["trackside.core", "trackside.sdk", "trackside.airflow"])
    """Packages of which it imports every module."""
    primer: bool = True
    """Whether it reads a sample file before it forks."""
    bridge: str | None = "trackside.airflow:install"
    """"module:function" called once, which makes `import airflow` work."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ParseSettings:
        return cls(**json.loads(text))


def clean_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without what leads to the database or to keys."""
    source = os.environ if environment is None else environment
    kept = {
        name: value
        for name, value in source.items()
        if not _SECRET.match(name) and (not name.startswith("TRACKSIDE_") or name in _HARMLESS or name.startswith(KEPT_PREFIXES))
    }
    return completed(kept, source)
