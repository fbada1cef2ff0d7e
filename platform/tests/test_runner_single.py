"""`python -m trackside.runner`: one try per process, as in pods and Celery messages."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from runner_support import FakeServer, alive, environment, until

from trackside.core.environment import DROPPED
from trackside.runner.http import ConnectFailed, Connection

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
def task_look(order, comms):
    import sys
    parent = pathlib.Path(f"/proc/{os.getppid()}")
    return {"environ": pathlib.Path("/proc/self/environ").read_text() + str(dict(os.environ)), "path": sys.path,
            "open": [os.readlink(fd) for fd in map("/proc/self/fd/{}".format, os.listdir("/proc/self/fd")) if os.path.lexists(fd)],
            "stdin": os.readlink("/proc/self/fd/0"), "session": os.getsid(os.getppid()) == os.getppid(),
            "parent": parent.joinpath("cmdline").read_bytes().decode().split("\\0")}
"""


class Refusing(FakeServer):
    """Somebody else has every try."""

    def _one_try(self, door: str, body: Any) -> tuple[str | None, int, Any]:
        return None, 409, {"detail": "claimed"}


async def _run(server: FakeServer, try_id: str, **more: str) -> asyncio.subprocess.Process:
    settings = "loader=runner_support:load_file,run=runner_support:run_task,cold=yes"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trackside.runner", "--api-url", server.url, "--try-id", try_id, "--fork-settings", settings,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        env={name: value for name, value in environment().items() if name not in DROPPED and not name.startswith("TRACKSIDE_")} | more,
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


@pytest.mark.parametrize(
    ("hidden", "module"), [({}, "trackside.runner"), ({"DATABASE_URL": "postgresql://s3cr3t"}, "trackside.runner.forkserver")]
)
def test_a_task_cannot_tell_more_of_its_runner_when_it_was_forked_ahead(tmp_path: Path, hidden: dict[str, str], module: str) -> None:
    """What may not be seen keeps its runner from forking ahead, because the kernel would go on showing it."""
    (tmp_path / "dag.py").write_text(TASKS)

    async def main() -> None:
        async with FakeServer() as server:
            try_id = server.order(tmp_path / "dag.py", "look")
            process = await _run(server, try_id, **hidden)
            report = await server.report_of(try_id)
            assert report["outcome"] == "success", report
            seen = report["xcoms"][0]["value"]
            assert seen["parent"][seen["parent"].index("-m") + 1] == module
            assert "s3cr3t" not in seen["environ"]
            assert START_TOKEN not in str(seen)
            assert "" not in seen["path"] and str(Path.cwd()) not in seen["path"], "as with python -P"
            assert (seen["stdin"], seen["session"]) == ("/dev/null", True)
            assert len([name for name in seen["open"] if name.startswith("socket:")]) == 1, "its control socket and nothing of the runner's"
            assert await process.wait() == 0

    asyncio.run(main())


@pytest.mark.parametrize("hidden", [{}, {"DATABASE_URL": "x"}])
def test_a_try_that_somebody_else_has_leaves_no_process_behind(tmp_path: Path, hidden: dict[str, str]) -> None:
    (tmp_path / "dag.py").write_text(TASKS)

    async def main() -> None:
        async with Refusing() as server:
            process = await _run(server, server.order(tmp_path / "dag.py", "answer"), MARK=str(tmp_path), **hidden)
            assert await process.wait() == 2

    asyncio.run(main())
    assert not [one for one in Path("/proc").iterdir() if one.name.isdigit() and _mentions(one, f"MARK={tmp_path}")]


def _mentions(process: Path, text: str) -> bool:
    try:
        return text.encode() in (process / "environ").read_bytes()
    except OSError:
        return False


def test_a_claim_whose_answer_is_lost_is_repeated_as_the_same_claim(tmp_path: Path) -> None:
    (tmp_path / "dag.py").write_text(TASKS)

    class Losing(FakeServer):
        def _one_try(self, door: str, body: Any) -> tuple[str | None, int, Any]:
            verdict, status, answer = super()._one_try(door, body)
            return ("drop" if door.endswith("/start") and sum(self.starts.values()) < 3 else verdict), status, answer

    async def main() -> None:
        async with Losing() as server:
            try_id = server.order(tmp_path / "dag.py", "answer")
            process = await _run(server, try_id)
            assert (await server.report_of(try_id))["outcome"] == "success"
            assert await process.wait() == 0
            secrets = [body["secret"] for _, path, body, _ in server.requests if path.endswith("/start")]
            assert (len(secrets), len(set(secrets))) == (3, 1)

    asyncio.run(main())


def test_a_runner_without_contact_ends_its_task_and_says_what_it_met(tmp_path: Path) -> None:
    (tmp_path / "dag.py").write_text(TASKS)

    class Troubled(FakeServer):
        def _one_try(self, door: str, body: Any) -> tuple[str | None, int, Any]:
            if door.endswith(("/heartbeat", "/update")):
                return None, 503, {"detail": "The database is unavailable."}
            return super()._one_try(door, body)

    async def main() -> None:
        async with Troubled() as server:
            try_id = server.order(tmp_path / "dag.py", "wait", heartbeat_s=0.1, self_fence_s=0.6)
            process = await _run(server, try_id)
            report = await server.report_of(try_id)
            said = "the runner lost contact with the server for too long: The database is unavailable."
            assert (report["outcome"], report["error"]) == ("lost", said)
            await process.wait()

    asyncio.run(main())


def test_a_server_that_takes_no_connection_is_named_with_what_happened() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            queued = []
            for _ in range(3):  # more than its queue takes, so that nobody gets an answer any more
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(full.getsockname())
                queued.append(one)
            port = full.getsockname()[1]
            with pytest.raises(ConnectFailed, match=f"^127.0.0.1:{port}: timed out$"):
                await Connection(f"http://127.0.0.1:{port}", "token", connect_timeout_s=0.3).post("/x", {}, 5.0)
            for one in queued:
                one.close()

    asyncio.run(main())
