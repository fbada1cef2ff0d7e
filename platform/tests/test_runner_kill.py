"""Stop means stop: whatever a task has started is gone when it is killed, and nothing outlives the worker."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from runner_support import DEADLINE_S, STANDIN, TOKEN, FakeServer, Play, alive, environment, until


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Runs a test's body with a server and a worker."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return Play(tmp_path / "dag.py")


TREE = """
import multiprocessing, os, pathlib, signal, subprocess, sys, time

def note(name, pid=None):
    file = pathlib.Path(__file__).with_name("pid-" + name)
    file.with_suffix(".tmp").write_text(str(pid or os.getpid()))
    file.with_suffix(".tmp").rename(file)

def spawn(name, daemon=False, deaf=False):
    # A grandchild of the task; with daemon=True its parent leaves and it has a session of its own.
    if (pid := os.fork()) == 0:
        if daemon:
            os.setsid()
            if os.fork():
                os._exit(0)
        if deaf:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        note(name)
        while True:
            time.sleep(600)
    if daemon:
        os.waitpid(pid, 0)

def task_tree(order, comms):
    spawn("fork")
    spawn("daemon", daemon=True)
    spawn("deaf", daemon=True, deaf=True)
    note("shell", subprocess.Popen("sleep 600 & sleep 600", shell=True, start_new_session=True).pid)
    note("task")
    time.sleep(600)

def task_deaf(order, comms):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("task")
    while True:
        time.sleep(600)

def task_graceful(order, comms):
    class Stopped(Exception): pass
    def stop(*_):
        raise Stopped
    signal.signal(signal.SIGTERM, stop)
    note("task")
    try:
        time.sleep(600)
    except Stopped:
        print("cleaning up")
        raise

def task_leaves(order, comms):
    spawn("daemon", daemon=True, deaf=True)
    while not pathlib.Path(__file__).with_name("pid-daemon").exists():
        time.sleep(0.01)
    return "done"

def task_one(order, comms):
    return 1
"""
NAMES = ("fork", "daemon", "deaf", "shell", "task")


async def _pids(folder: Path, *names: str) -> dict[str, int]:
    found = {}
    for name in names:
        await until((folder / f"pid-{name}").exists, f"the start of {name}")
        found[name] = int((folder / f"pid-{name}").read_text())
    return found


def test_a_kill_order_ends_the_whole_tree(play: Play, tmp_path: Path) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        try_id = server.order(play.file, "tree")
        pids = await _pids(tmp_path, *NAMES)
        assert all(alive(pid) for pid in pids.values())
        server.kill(try_id, "cleared by ada")
        report = await server.report_of(try_id)
        assert (report["outcome"], report["error"]) == ("killed", "cleared by ada")
        assert [name for name, pid in pids.items() if alive(pid)] == [], "gone when it is reported"
        assert "cleared by ada" in (await server.log_of(try_id))[-1]["event"]

    play(body, TREE)


def test_a_task_that_ignores_sigterm_is_killed_after_the_grace_time(play: Play, tmp_path: Path) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        try_id = server.order(play.file, "deaf")
        await _pids(tmp_path, "task")
        server.kill(try_id)
        report = await server.report_of(try_id)
        assert (report["outcome"], report["signal"]) == ("killed", signal.SIGKILL)

    play(body, TREE)


def test_a_task_may_clean_up_on_sigterm_and_is_still_reported_killed(play: Play, tmp_path: Path) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        try_id = server.order(play.file, "graceful", kill_grace_s=DEADLINE_S)
        await _pids(tmp_path, "task")
        server.kill(try_id)
        assert (await server.report_of(try_id))["outcome"] == "killed"
        assert "cleaning up" in [line["event"] for line in await server.log_of(try_id)]

    play(body, TREE)


def test_what_a_finished_task_leaves_behind_is_killed_and_does_not_hold_up_its_end(play: Play, tmp_path: Path) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        try_id = server.order(play.file, "leaves")
        report = await server.report_of(try_id)
        assert (report["outcome"], report["xcoms"][0]["value"]) == ("success", "done")
        pids = await _pids(tmp_path, "daemon")
        await until(lambda: not alive(pids["daemon"]), "the end of the daemon")

    play(body, TREE)


def test_another_try_of_the_same_file_survives_a_kill(play: Play, tmp_path: Path) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        stays = server.order(play.file, "deaf")
        pids = await _pids(tmp_path, "task")
        (tmp_path / "pid-task").unlink()
        goes = server.order(play.file, "tree")
        await _pids(tmp_path, *NAMES)
        server.kill(goes)
        await server.report_of(goes)
        assert alive(pids["task"])
        assert stays not in server.reports

    play(body, TREE)


def test_a_kill_for_a_try_that_is_not_here_is_ignored(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        agent.kill("no-such-try", "why not")
        assert (await server.report_of(server.order(play.file, "one")))["outcome"] == "success"

    play(body, TREE)


def test_a_worker_without_contact_kills_its_tasks_and_reports_them_lost_later(play: Play, tmp_path: Path) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        try_id = server.order(play.file, "tree", self_fence_s=0.6)
        pids = await _pids(tmp_path, *NAMES)
        server.deaf = True
        await until(lambda: not any(alive(pid) for pid in pids.values()), "the end of the tree")
        assert try_id not in server.reports
        server.deaf = False
        server.cut_connections()
        report = await server.report_of(try_id)
        assert report["outcome"] == "lost"
        assert "lost contact" in report["error"]
        assert (await server.report_of(server.order(play.file, "one")))["outcome"] == "success"

    play(body, TREE, heartbeat_s=0.2)


def _parent(pid: int) -> int:
    return int(_seen(pid, "stat").rpartition(b")")[2].split()[1])


def _seen(pid: int, what: str) -> bytes:
    return Path(f"/proc/{pid}/{what}").read_bytes()


async def _start_worker(server: FakeServer, folder: Path, **more: Any) -> asyncio.subprocess.Process:
    code = (
        "import sys; from trackside.runner.command import run_worker; "
        f"run_worker({server.url!r}, fork_settings={STANDIN!r}, **{more!r})"
    )
    environ = {**environment(), "TRACKSIDE_WORKER_TOKEN": TOKEN}
    return await asyncio.create_subprocess_exec(sys.executable, "-P", "-c", code, env=environ, cwd=folder)


def test_nothing_is_left_after_kill_9_of_the_worker(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "dag.py").write_text(TREE)
        async with FakeServer() as server:
            process = await _start_worker(server, tmp_path)
            server.order(tmp_path / "dag.py", "tree")
            pids = await _pids(tmp_path, *NAMES)
            zygote = _parent(pids["task"])
            forks = _parent(zygote)
            process.kill()
            await process.wait()
            everything = [*pids.values(), zygote, forks]
            await until(lambda: not any(alive(pid) for pid in everything), "the end of everything below the worker")

    asyncio.run(main())


@pytest.mark.parametrize("victim", ["zygote", "forks"])
def test_nothing_is_left_when_the_parent_of_a_task_is_killed(tmp_path: Path, victim: str) -> None:
    async def main() -> None:
        (tmp_path / "dag.py").write_text(TREE)
        async with FakeServer() as server:
            process = await _start_worker(server, tmp_path, drain_s=0.0)
            try_id = server.order(tmp_path / "dag.py", "tree")
            pids = await _pids(tmp_path, *NAMES)
            zygote = _parent(pids["task"])
            forks = _parent(zygote)
            os.kill(zygote if victim == "zygote" else forks, signal.SIGKILL)
            assert (await server.report_of(try_id))["outcome"] == "lost"
            assert [name for name, pid in pids.items() if alive(pid)] == [], "gone when it is reported lost"
            assert (await server.report_of(server.order(tmp_path / "dag.py", "one")))["outcome"] == "success"
            process.terminate()
            assert await process.wait() == 0

    asyncio.run(main())


def test_a_worker_that_is_told_to_stop_waits_for_its_tasks(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "dag.py").write_text(
            "import pathlib, time\n"
            "here = pathlib.Path(__file__).parent\n"
            "def task_wait(order, comms):\n"
            "    (here / 'running').touch()\n"
            "    while not (here / 'go').exists():\n"
            "        time.sleep(0.01)\n"
        )
        async with FakeServer() as server:
            process = await _start_worker(server, tmp_path, drain_s=DEADLINE_S)
            try_id = server.order(tmp_path / "dag.py", "wait")
            await until((tmp_path / "running").exists)
            process.terminate()
            await server.until(lambda: server.exchanges[-1]["free"] == 0, "no more slots on offer")
            late = server.order(tmp_path / "dag.py", "wait")
            (tmp_path / "go").touch()
            assert (await server.report_of(try_id))["outcome"] == "success"
            assert await process.wait() == 0
            assert server.goodbyes == [{"worker_id": server.exchanges[0]["worker_id"], "epoch": 1}]
            assert late not in server.starts
            assert try_id in server.log_ended

    asyncio.run(main())


def test_a_worker_that_is_told_twice_kills_its_tasks_and_says_goodbye(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "dag.py").write_text(TREE)
        async with FakeServer() as server:
            process = await _start_worker(server, tmp_path, drain_s=10 * DEADLINE_S)
            try_id = server.order(tmp_path / "dag.py", "tree")
            pids = await _pids(tmp_path, *NAMES)
            process.terminate()
            await server.until(lambda: server.exchanges[-1]["free"] == 0, "the first signal was seen")
            process.send_signal(signal.SIGINT)
            report = await server.report_of(try_id)
            assert (report["outcome"], report["error"]) == ("lost", "the worker was stopped")
            assert await process.wait() == 0
            assert not any(alive(pid) for pid in pids.values())
            assert server.goodbyes

    asyncio.run(main())


def test_the_tokens_are_nowhere_to_be_seen(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "dag.py").write_text(TREE)
        async with FakeServer() as server:
            process = await _start_worker(server, tmp_path, drain_s=0.0)
            try_id = server.order(tmp_path / "dag.py", "tree")
            pids = await _pids(tmp_path, *NAMES)
            zygote = _parent(pids["task"])
            forks = _parent(zygote)
            secrets = (TOKEN.encode(), server.known[try_id]["token"].encode())
            for pid in (*pids.values(), zygote, forks):
                assert not any(secret in _seen(pid, "cmdline") + _seen(pid, "environ") for secret in secrets)
            assert not any(secret in _seen(process.pid, "cmdline") for secret in secrets)
            process.terminate()
            await process.wait()

    asyncio.run(main())
