"""kill -9 of triggerer, worker, scheduler and web while hundreds of deferred tasks wait, and again while they fire: each goes on, once.

Tasks note with O_APPEND that they go on, in a journal that the product knows nothing of. Kill points are progress, never a
moment in time.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support import server
from tests.support.server import Refused, Server, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420), pytest.mark.xdist_group("chaos")]

NUMBER = int(os.environ.get("TRACKSIDE_CHAOS_TASKS", "500"))
TRIGGER = '''
import asyncio, os
from airflow.triggers.base import BaseTrigger, TriggerEvent

class Gate(BaseTrigger):
    def __init__(self, path):
        super().__init__()
        self.path = path
    def serialize(self):
        return "gate_trigger.Gate", {"path": self.path}
    async def run(self):
        while not os.path.exists(self.path):
            await asyncio.sleep(0.2)
        yield TriggerEvent("open")
'''
DAG = f'''
import os
from datetime import datetime
from airflow.sdk import DAG, BaseOperator
from gate_trigger import Gate

class Waits(BaseOperator):
    def __init__(self, number, **kwargs):
        super().__init__(**kwargs)
        self.number = number
    def execute(self, context):
        self.defer(trigger=Gate(os.environ["GATE"]), method_name="go_on")
    def go_on(self, context, event):
        fd = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"{{context['ti'].map_index}} {{context['ti'].try_number}} {{event}}\\n".encode())
        os.close(fd)

with DAG("deferred", schedule=None, start_date=datetime(2026, 1, 1), max_active_tasks=64):
    Waits.partial(task_id="wait").expand(number=list(range({NUMBER})))
'''
FAST = {"TRACKSIDE_HEARTBEAT": "1", "TRACKSIDE_MAX_INFRA_FAILURES": "20", "TRACKSIDE_DAGS_ARE_PAUSED_AT_CREATION": "0"}


@pytest.fixture
def trackside(tmp_path: Path) -> Iterator[Server]:
    """A whole Trackside of this test's own."""
    home = server.temporary_home("trackside-deferred-")
    dags = home / "dags"
    dags.mkdir()
    (dags / "gate_trigger.py").write_text(TRIGGER)
    (dags / "deferred.py").write_text(DAG)
    running = None
    try:
        running = server.start(home, dags, environment=FAST | {"JOURNAL": str(tmp_path / "journal"), "GATE": str(tmp_path / "gate")})
        yield running
    finally:
        if running is not None:
            running.stop()
        server.remove(home)


def _pid(trackside: Server, name: str) -> int:
    said: int = json.loads((trackside.home / "ready.json").read_text())["pids"][name]
    return said


def _kill(trackside: Server, name: str) -> None:
    """Kill a process that stands at the time; standalone starts it again."""
    pid = _pid(trackside, name)
    os.kill(pid, signal.SIGKILL)
    until(lambda: True if _pid(trackside, name) != pid else None, f"a new {name}")


def _deferred(trackside: Server, run_id: str) -> int:
    try:
        path = f"/dags/deferred/dagRuns/{run_id}/taskInstances"
        return int(trackside.get(path, state="deferred", limit=1)["total_entries"])
    except (httpx.HTTPError, Refused):  # web is just being started again
        return -1


def _resumed(journal: Path) -> list[list[str]]:
    return [line.split() for line in journal.read_text().splitlines()] if journal.exists() else []


def test_every_trigger_fires_once_whoever_is_killed(trackside: Server, tmp_path: Path) -> None:
    journal, gate = tmp_path / "journal", tmp_path / "gate"
    trackside.wait_dag("deferred")
    run_id = trackside.trigger("deferred")
    until(lambda: _deferred(trackside, run_id) > NUMBER // 2 or None, "half of them deferred", 120)
    _kill(trackside, "triggerer")
    until(lambda: _deferred(trackside, run_id) == NUMBER or None, "all of them deferred", 120)
    for name in ("worker", "scheduler", "web", "triggerer"):
        _kill(trackside, name)
    until(lambda: _deferred(trackside, run_id) == NUMBER or None, "web again")
    gate.touch()
    until(lambda: len(_resumed(journal)) > NUMBER // 10 or None, "some of them go on", 120)
    for name in ("triggerer", "scheduler", "web"):
        _kill(trackside, name)
    until(lambda: len(_resumed(journal)) >= NUMBER or None, "all of them go on", 120)

    def ended() -> str | None:
        try:
            state: str = trackside.run("deferred", run_id)["state"]
        except (httpx.HTTPError, Refused):
            return None
        return state if state in ("success", "failed") else None

    assert until(ended, "the end of the run", 60) == "success"
    times = Counter((int(index), number) for index, number, _ in _resumed(journal))
    assert {index for index, _ in times} == set(range(NUMBER))
    assert set(times.values()) == {1}  # of a try; only on a machine that stalls for long a worker gives tries up
