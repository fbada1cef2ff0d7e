"""For the end-to-end tests: one whole Trackside per test process, with a copy of the examples as its DAG folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.support import server


@pytest.fixture(scope="session")
def trackside() -> Iterator[server.Server]:
    """A running server, signed in as its administrator; shared by all tests of the session."""
    home = server.temporary_home("trackside-e2e-")
    dags = home / "dags"
    shutil.copytree(server.ROOT / "examples", dags, ignore=shutil.ignore_patterns("__pycache__", "*.md"))
    running = None
    try:
        running = server.start(home, dags)
        yield running
    finally:
        if running is not None:
            running.stop()
        server.remove(home)
