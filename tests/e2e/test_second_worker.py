"""A worker started by hand with the worker token, as on another machine, takes its share of the work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import server
from tests.support.server import until

pytestmark = pytest.mark.e2e
COMMAND = str(Path(sys.executable).parent / "trackside")
DAG = """
import os, time
from airflow.sdk import dag, task

@dag(schedule=None, max_active_tasks=100)
def shared_work():
    @task
    def who(number):
        time.sleep(0.3)
        return os.environ.get("WORKER_MARK", "embedded")

    for i in range(24):
        who.override(task_id=f"t{i}")(i)

shared_work()
"""


@pytest.fixture
def small_server() -> Iterator[server.Server]:
    """A server whose own worker has two slots only."""
    home = server.temporary_home("trackside-two-")
    (home / "dags").mkdir()
    (home / "dags" / "shared_work.py").write_text(DAG)
    running = server.start(home, home / "dags", environment={"TRACKSIDE_PARALLELISM": "2"})
    try:
        yield running
    finally:
        running.stop()
        server.remove(home)


@pytest.fixture
def second_worker(small_server: server.Server, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`trackside worker` with nothing but the address and the token."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TRACKSIDE_API_URL": small_server.url,
        "TRACKSIDE_WORKER_TOKEN_FILE": str(small_server.home / "data" / "keys" / "worker.token"),
        "TRACKSIDE_PARALLELISM": "4",
        "WORKER_MARK": "second",
    }
    worker = subprocess.Popen([COMMAND, "worker"], env=environment, cwd=tmp_path)

    try:
        yield worker
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)


@pytest.mark.timeout(180)
def test_a_second_worker_takes_its_share(small_server: server.Server, second_worker: subprocess.Popen[bytes]):
    small_server.unpause("shared_work")
    who: Counter[str] = Counter()
    for _ in range(5):  # the second worker may still be starting while the first run goes by
        run_id = small_server.trigger("shared_work")
        assert small_server.wait_run("shared_work", run_id, 120)["state"] == "success"
        who = Counter(small_server.value("shared_work", run_id, f"t{i}") for i in range(24))
        if who["second"]:
            break
    assert who["second"] >= 1
    assert who["embedded"] >= 1
    assert sum(who.values()) == 24
    assert second_worker.poll() is None


@pytest.mark.timeout(180)
def test_a_worker_with_a_wrong_token_says_so_and_takes_nothing(small_server: server.Server, tmp_path: Path):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TRACKSIDE_API_URL": small_server.url,
        "TRACKSIDE_WORKER_TOKEN": "wrong",
    }
    log = tmp_path / "worker.log"
    with log.open("wb") as out:
        worker = subprocess.Popen([COMMAND, "worker"], env=environment, cwd=tmp_path, stdout=out, stderr=out)
    try:
        until(lambda: "token" in log.read_text(), "the worker says what is wrong with its token", 30)
    finally:
        worker.terminate()
        worker.wait(30)
