"""Fixtures for the tests of a whole site in a cluster; see `installed`. They run only where they are asked for (`make test-in-cluster`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.executors import world
from tests.in_cluster import installed

LEFT_OUT = "only make test-in-cluster runs Trackside itself in a cluster: see tools/left-out"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.xdist_group("executors"))
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def release() -> Iterator[installed.Release]:
    """The chart, installed and ready, with its first administrator signed in; taken away at the end."""
    if not installed.is_wanted():
        pytest.skip(LEFT_OUT)
    with world.kubernetes() as cluster, installed.release(cluster) as made:
        yield made
