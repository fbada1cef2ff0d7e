"""Stacks that end with their test, and what they left behind is an error of that test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.standalone.stack import StandaloneStack


@pytest.fixture
def make_stack(tmp_path: Path) -> Iterator[Callable[..., StandaloneStack]]:
    stacks: list[StandaloneStack] = []

    def make(name: str = "one", **environment: str) -> StandaloneStack:
        stacks.append(StandaloneStack(tmp_path / name, **environment))
        return stacks[-1]

    yield make
    for stack in stacks:
        stack.clean_up()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandaloneStack]:
    """One running stack for all tests that leave it running."""
    running = StandaloneStack(tmp_path_factory.mktemp("stack"), TRACKSIDE_ADMIN_PASSWORD="a password for tests")
    try:
        running.start()
        yield running
    finally:
        running.clean_up()
