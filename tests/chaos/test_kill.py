"""kill -9 of every process in turn while a run of 200 tasks works: it ends right, no try starts twice, nothing stays behind.

Each task writes START and END lines with O_APPEND to a journal that the product knows nothing of. Kill points are
progress in that journal, never a moment in time.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support import server
from tests.support.server import Refused, Server, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), pytest.mark.xdist_group("chaos")]

CHAINS, LENGTH = 20, 10
TASKS = CHAINS * LENGTH
DAG = f"""
import os, time
from datetime import datetime, timedelta
from airflow.sdk import DAG, get_current_context, task

def note(word, ti):
    line = f"{{word}} {{ti.task_id}} {{ti.try_number}} {{os.getpid()}}\\n"
    fd = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line.encode())
    os.fsync(fd)
    os.close(fd)

with DAG("journal", schedule=None, start_date=datetime(2026, 1, 1), max_active_tasks=8):
    for c in range({CHAINS}):
        before = None
        for i in range({LENGTH}):
            @task(task_id=f"c{{c}}_t{{i}}", retries=1, retry_delay=timedelta(0))
            def work():
                ti = get_current_context()["ti"]
                note("START", ti)
                time.sleep(0.05)
                note("END", ti)

            step = work()
            if before is not None:
                before >> step
            before = step
"""
FAST = {
    "TRACKSIDE_HEARTBEAT": "1", "TRACKSIDE_SELF_FENCE": "5", "TRACKSIDE_KILL_GRACE": "1", "TRACKSIDE_LEASE": "8",
    "TRACKSIDE_MAX_INFRA_FAILURES": "20", "TRACKSIDE_DAGS_ARE_PAUSED_AT_CREATION": "0",
}  # fmt: skip


# --- processes, as the kernel knows them -------------------------------------------------------------------------------------
def _stat(pid: int) -> tuple[str, int] | None:
    """(state, parent) of a process, None if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[1])


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None and stat[0] != "Z":
            found.setdefault(stat[1], []).append(int(entry.name))
    return found


def _below(pid: int) -> set[int]:
    children, found, todo = _children(), set(), [pid]
    while todo:
        more = children.get(todo.pop(), [])
        found.update(more)
        todo += more
    return found


def _alive(pid: int) -> bool:
    return (stat := _stat(pid)) is not None and stat[0] != "Z"


def _named(home: Path) -> set[int]:
    """Processes that have this home in their environment or command line: nobody else's."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if any(str(home).encode() in (entry / part).read_bytes() for part in ("environ", "cmdline")):
                    found.add(int(entry.name))
            except OSError:
                continue
    return {pid for pid in found if _alive(pid)}


# --- the journal -----------------------------------------------------------------------------------------------------------------
def _lines(journal: Path) -> list[list[str]]:
    return [line.split() for line in journal.read_text().splitlines()] if journal.exists() else []


def _starts(journal: Path) -> list[tuple[str, int]]:
    return [(task, int(number)) for word, task, number, _ in _lines(journal) if word == "START"]


def _running(journal: Path) -> list[int]:
    """Pids of tasks that have started and not ended."""
    ended = {(task, number) for word, task, number, _ in _lines(journal) if word == "END"}
    return [int(pid) for word, task, number, pid in _lines(journal) if word == "START" and (task, number) not in ended and _alive(int(pid))]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where the tasks write."""
    return tmp_path / "journal"


@pytest.fixture
def trackside(journal: Path) -> Iterator[Server]:
    """A whole Trackside of this test's own, with short leases."""
    home = server.temporary_home("trackside-kill-")
    dags = home / "dags"
    dags.mkdir()
    (dags / "journal.py").write_text(DAG)
    running = None
    try:
        running = server.start(home, dags, environment=FAST | {"JOURNAL": str(journal)})
        yield running
    finally:
        if running is not None:
            running.stop()
        server.remove(home)


def _pid(trackside: Server, name: str) -> int:
    said: int = json.loads((trackside.home / "ready.json").read_text())["pids"][name]
    return said


def _victims(trackside: Server, journal: Path) -> list[tuple[str, Callable[[], int | None]]]:
    """Name and how to find the process, in the order in which they die."""

    def task() -> int | None:
        return next(iter(_running(journal)), None)

    def fork_server() -> int | None:
        """The parent of a running task, unless that is the worker itself."""
        worker = _pid(trackside, "worker")
        parents = [stat[1] for pid in _running(journal) if (stat := _stat(pid)) is not None]
        return next((p for p in parents if p not in (worker, 1)), None)

    def part(name: str) -> Callable[[], int | None]:
        return lambda: _pid(trackside, name)

    named = [(name, part(name)) for name in ("scheduler", "web", "dag_processor")]
    return [*named, ("task", task), ("fork server", fork_server), ("worker", part("worker")), ("postgres", part("postgres"))]


def _run_state(trackside: Server, run_id: str) -> str | None:
    try:
        state: str = trackside.run("journal", run_id)["state"]
        return state
    except (httpx.HTTPError, Refused):
        return None  # web or database are on their way back


def test_a_run_survives_the_death_of_each_process_and_starts_no_try_twice(trackside: Server, journal: Path) -> None:
    trackside.unpause("journal")
    run_id = trackside.trigger("journal")
    killed: dict[str, int] = {}
    for k, (name, find) in enumerate(_victims(trackside, journal)):
        point = 20 + 24 * k
        until(
            lambda point=point: len(_starts(journal)) >= point,
            f"{point} tasks had started (next to die: {name}; {killed})\n{trackside.tail()}",
            90,
        )  # type: ignore[misc]
        pid = until(find, f"there was a {name} to kill", 30, pause=0.002)
        os.kill(pid, signal.SIGKILL)
        killed[name] = pid
    assert len(_starts(journal)) < TASKS, "the last kill came while the run was working"

    state = until(lambda: (s := _run_state(trackside, run_id)) in ("success", "failed") and s, f"the run ended\n{trackside.tail()}", 120)
    states = trackside.states("journal", run_id)
    assert state == "success", {t: s for t, s in states.items() if s != "success"}
    assert len(states) == TASKS and set(states.values()) == {"success"}

    starts = Counter(_starts(journal))
    twice = {what: n for what, n in starts.items() if n > 1}
    assert not twice, twice
    ends = Counter(task for word, task, _, _ in _lines(journal) if word == "END")
    assert len(ends) == TASKS, "every task came to its end"
    # only what died with its process ran again (a task alone; those of the fork server; those of the worker): 8 at a time.
    # One that had written END, but whose worker died before it could report it, is among them: nobody could know.
    repeated = {task for task, n in Counter(task for task, _ in starts).items() if n > 1}
    assert 0 < len(repeated) <= 1 + 2 * 8, sorted(repeated)
    # the order of a chain was kept: a task starts after the end of the one before it
    seen: set[str] = set()
    for word, task, number, _ in _lines(journal):
        chain, _, i = task.partition("_t")
        if word == "END":
            seen.add(task)
        elif int(i) > 0:
            assert f"{chain}_t{int(i) - 1}" in seen, (task, number)

    until(lambda: not _running(journal), "no task was left running", 20)
    family = _below(trackside.process.pid) | {trackside.process.pid}
    mine = _named(trackside.home)
    assert trackside.stop() == 0
    until(lambda: not [pid for pid in family | mine if _alive(pid)], "no process was left behind", 20)
    assert not _named(trackside.home)
