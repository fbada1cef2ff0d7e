"""What provider packages beside this server announce: packages and types of connections, told by a child process.

For the connection form (`provider_types`) and REST (`GET /providers`). Code of packages never runs in the server: a child
without secrets or database reads it, once for each set of installed packages; the answer is kept in this process.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import subprocess
import sys
import threading
import time
from typing import Any

from trackside.core.environment import scrubbed

GROUP = "apache_airflow_provider"
LOOK_S = 30.0
"""How long it is taken for granted that nobody installed or removed a package."""
CHILD_S = 30.0
"""How long the child may take; an unfinished one counts as an empty answer, and is asked again after `LOOK_S`."""
NOTHING: dict[str, Any] = {"packages": [], "types": []}
log = logging.getLogger(__name__)

_lock = threading.Lock()
_looked_at = float("-inf")
_known: tuple[tuple[str, str], ...] = ()
_answer = NOTHING


def read() -> dict[str, Any]:
    """`{"packages": [...], "types": [...]}` as `trackside.airflow.announce` writes them; empty lists if there are none."""
    global _looked_at, _known, _answer
    with _lock:
        if time.monotonic() - _looked_at < LOOK_S:
            return _answer
        found = installed()
        if found != _known:
            told = _ask() if found else NOTHING
            _answer = told or NOTHING
            _known = found if told is not None else ()
        _looked_at = time.monotonic()
        return _answer


def installed() -> tuple[tuple[str, str], ...]:
    """(name, version) of the provider packages here, read from their metadata files only."""
    return tuple(
        sorted(
            (dist.metadata["Name"], dist.version)
            for dist in importlib.metadata.distributions()
            if any(point.group == GROUP for point in dist.entry_points)
        )
    )


def forget() -> None:
    """Look again at the next call (tests)."""
    global _looked_at, _known, _answer
    with _lock:
        _looked_at, _known, _answer = float("-inf"), (), NOTHING


def _ask() -> dict[str, Any] | None:
    """The child's answer; None if it gave none."""
    environment = {name: value for name, value in scrubbed(os.environ).items() if not name.startswith("PG")}
    command = [sys.executable, "-m", "trackside.airflow.announce"]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=CHILD_S, check=True, stdin=subprocess.DEVNULL, text=True
        )
        told = json.loads(done.stdout)
        return {"packages": list(told["packages"]), "types": list(told["types"])}
    except subprocess.CalledProcessError as error:
        log.warning("provider packages could not be read: %s", error.stderr[-2000:])
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        log.warning("provider packages could not be read: %s", error)
    return None
