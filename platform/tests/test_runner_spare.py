"""The process forked ahead of the next try: who gets it, and what it must not change."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from runner_support import FakeServer, Play

from trackside.runner import procs

FILE = """
import os
def task_look(order, comms):
    return {"pid": os.getpid(), "parent": os.getppid(), "context": sorted(n for n in os.environ if n.startswith("AIRFLOW_CTX_"))}
"""


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Runs a test's body with a server and a worker."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return Play(tmp_path / "dag.py")


async def look(server: FakeServer, play: Play) -> dict[str, Any]:
    report = await server.report_of(server.order(play.file, "look"))
    assert report["outcome"] == "success"
    return report["xcoms"][0]["value"]


async def spare_after(server: FakeServer, first: dict[str, Any]) -> int:
    """Pid of the spare once the process of the first try has been reaped."""
    [spare] = await server.until(lambda: [pid for pid in below(first) if first["pid"] not in below(first)])
    return spare


def below(first: dict[str, Any]) -> list[int]:
    return procs.children(first["parent"])


def test_the_next_try_is_given_to_the_process_that_was_forked_ahead(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        first = await look(server, play)
        spare = await spare_after(server, first)
        second = await look(server, play)
        assert second["pid"] == spare
        assert second["parent"] == first["parent"]
        assert second["context"] == first["context"]

    play(body, FILE)


def test_a_spare_that_died_is_replaced_by_an_ordinary_fork(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        first = await look(server, play)
        spare = await spare_after(server, first)
        os.kill(spare, signal.SIGKILL)
        await server.until(lambda: not procs.is_running(spare))
        second = await look(server, play)
        assert second["pid"] != spare
        assert second["parent"] == first["parent"]

    play(body, FILE)


def test_a_changed_file_is_read_again_by_the_spare(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        first = await look(server, play)
        await spare_after(server, first)
        play.file.write_text("def task_look(order, comms):\n    return 'changed'\n")
        report = await server.report_of(server.order(play.file, "look"))
        assert report["xcoms"][0]["value"] == "changed"

    play(body, FILE)


def test_the_spare_ends_with_its_zygote(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        first = await look(server, play)
        spare = await spare_after(server, first)
        os.kill(first["parent"], signal.SIGKILL)
        await server.until(lambda: not procs.is_running(spare))

    play(body, FILE)
