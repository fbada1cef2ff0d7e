"""`python -m trackside.runner`: one try per process, as in pods and Celery messages."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from runner_support import FakeServer, alive, environment, until

START_TOKEN = "start.only-once"

TASKS = """
import os, pathlib, time
def task_answer(order, comms):
    print("working")
    return 42
def task_wait(order, comms):
    file = pathlib.Path(__file__).with_name("pid")
    file.with_suffix(".tmp").write_text(str(os.getpid()))
    file.with_suffix(".tmp").rename(file)
    time.sleep(600)
"""


async def _run(server: FakeServer, try_id: str) -> asyncio.subprocess.Process:
    settings = "loader=runner_support:load_file,run=runner_support:run_task,cold=yes"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trackside.runner", "--api-url", server.url, "--try-id", try_id, "--fork-settings", settings,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        env=environment(),
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(START_TOKEN.encode() + b"\n")
    process.stdin.close()
    return process


def test_a_single_try_is_started_run_and_finished(tmp_path: Path) -> None:
    (tmp_path / "dag.py").write_text(TASKS)

    async def main() -> None:
        async with FakeServer() as server:
            try_id = server.order(tmp_path / "dag.py", "answer")
            process = await _run(server, try_id)
            report = await server.report_of(try_id)
            assert (report["outcome"], report["xcoms"][0]["value"]) == ("success", 42)
            assert await process.wait() == 0
            assert "working" in [line["event"] for line in await server.log_of(try_id)]
            assert server.starts[try_id] == 1
            tokens = {path.rsplit("/", 1)[1]: token for _, path, _, token in server.requests}
            assert tokens["start"] == START_TOKEN
            assert tokens["finish"] == tokens["logs"] == server.known[try_id]["token"]

    asyncio.run(main())


def test_a_superseded_single_try_is_killed(tmp_path: Path) -> None:
    (tmp_path / "dag.py").write_text(TASKS)

    async def main() -> None:
        async with FakeServer() as server:
            try_id = server.order(tmp_path / "dag.py", "wait", heartbeat_s=0.1)
            process = await _run(server, try_id)
            await until((tmp_path / "pid").exists)
            pid = int((tmp_path / "pid").read_text())
            server.kill(try_id)
            assert (await server.report_of(try_id))["outcome"] == "killed"
            assert not alive(pid)
            await process.wait()

    asyncio.run(main())


def test_a_stopped_runner_reports_its_try_lost(tmp_path: Path) -> None:
    (tmp_path / "dag.py").write_text(TASKS)

    async def main() -> None:
        async with FakeServer() as server:
            try_id = server.order(tmp_path / "dag.py", "wait")
            process = await _run(server, try_id)
            await until((tmp_path / "pid").exists)
            process.send_signal(signal.SIGTERM)
            assert (await server.report_of(try_id))["outcome"] == "lost"
            assert await process.wait() == 1, "the pod of a task that was stopped is no success"

    asyncio.run(main())
