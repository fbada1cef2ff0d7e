"""Fixtures for the tests of executors; see `world`. All of them run in one process of the suite, because they share a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.executors import world

NO_REDIS = "no redis-server here: see tools/left-out"
NO_CLUSTER = "no Kubernetes here: see tools/left-out"


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups; which of the two is asked first depends on the arguments otherwise
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.xdist_group("executors"))
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    if not world.can_have_redis():
        pytest.skip(NO_REDIS)
    with world.redis() as url:
        yield url


@pytest.fixture(scope="session")
def cluster() -> Iterator[world.Cluster]:
    if not world.can_have_kubernetes():
        pytest.skip(NO_CLUSTER)
    with world.kubernetes() as found:
        yield found
