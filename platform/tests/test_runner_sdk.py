"""The worker with the real SDK: an Airflow DAG file, run, failed, killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from runner_support import FakeServer, Play, alive, until

RUN = {
    "dag_id": "d", "run_id": "r", "run_type": "manual", "state": "running",
    "run_after": "2026-01-01T00:00:00.000000Z", "start_date": "2026-01-01T00:00:00.000000Z",
}  # fmt: skip

DAG_FILE = """
import datetime, multiprocessing, pathlib, time
from airflow.sdk import BaseOperator, dag, task

HERE = pathlib.Path(__file__).parent

class Stoppable(BaseOperator):
    def execute(self, context):
        below = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        below.start()
        (HERE / "pid.tmp").write_text(str(below.pid))
        (HERE / "pid.tmp").rename(HERE / "pid")
        time.sleep(600)

    def on_kill(self):
        with open(HERE / "killed", "a") as file:
            file.write("on_kill ran\\n")

@dag(schedule=None, start_date=datetime.datetime(2026, 1, 1))
def d():
    @task
    def answer():
        return 42

    @task
    def bad():
        raise ValueError("no")

    answer() >> bad() >> Stoppable(task_id="stoppable")

d()
"""


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Runs a test's body with a server and a worker."""
    return Play(tmp_path / "dag.py")


def test_an_airflow_dag_file_runs_fails_and_is_killed_as_it_should(play: Play, tmp_path: Path) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        good = await server.report_of(server.order(play.file, "answer", run=RUN))
        assert (good["outcome"], good["xcoms"][0]["value"]) == ("success", 42)
        failed = server.order(play.file, "bad", run=RUN)
        report = await server.report_of(failed)
        assert (report["outcome"], report["error"]) == ("failed", "ValueError: no (dag.py:27)")
        assert any("error_detail" in line for line in await server.log_of(failed))
        stopped = server.order(play.file, "stoppable", run=RUN)
        await until((tmp_path / "pid").exists)
        server.kill(stopped, "cleared by ada")
        assert (await server.report_of(stopped))["outcome"] == "killed"
        assert (tmp_path / "killed").read_text() == "on_kill ran\n", "once, and not in the forked process"
        assert not alive(int((tmp_path / "pid").read_text()))

    play(body, DAG_FILE, fork_settings={})
