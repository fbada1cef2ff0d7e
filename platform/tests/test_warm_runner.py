"""`python -m trackside.runner --reuse`: one try after the other in one process, as in warm pods."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from runner_support import FakeServer, alive, environment, until

from trackside.runner import used, warm

TOKEN = "warm.key.pod.0.mac"

TASKS = """
import os, pathlib, signal, subprocess, sys, time
count = 0
def task_count(order, comms):
    global count
    count += 1
    os.environ["LEFT"] = str(count)
    pathlib.Path(os.environ["SCRATCH"], f"left-{order.try_id}").write_text("x")
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    return [count, os.environ.get("LEFT"), os.getppid(), sorted(os.listdir(os.environ["SCRATCH"]))]
def task_dies(order, comms):
    os.kill(os.getpid(), signal.SIGKILL)
def task_wait(order, comms):
    file = pathlib.Path(__file__).with_name("pid")
    file.with_suffix(".tmp").write_text(str(os.getpid()))
    file.with_suffix(".tmp").rename(file)
    time.sleep(600)
"""


class WarmServer(FakeServer):
    """Hands out one try at a time to whoever asks with the token of a warm pod."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = False
        self.seq = 0
        self.verdicts: list[str] = []
        """What happens to the next answers: "drop" sends none."""

    async def _answer(self, method: str, path: str, body: Any, token: str) -> tuple[str | None, int, Any]:
        if path != "/execution/warm/next":
            return await super()._answer(method, path, body, token)
        assert token == TOKEN
        assert body["seq"] > self.seq
        self.seq = body["seq"]
        if self.refused:
            return None, 401, {"detail": "not any more"}
        answer: dict[str, Any] = {}
        if report := body.get("finished"):
            self.handed.pop(report["try_id"], None)
            self.reports.setdefault(report["try_id"], report)
            answer["finished"] = {"status": 200}
        end = asyncio.get_running_loop().time() + body["wait_s"]
        while body.get("take", True) and not (waiting := [t for t in self.queue if t not in self.starts or t in self.handed]):
            if asyncio.get_running_loop().time() >= end:
                break
            await asyncio.sleep(0.02)
        if body.get("take", True) and waiting:
            answer["order"] = self.known[waiting[0]]
            self.handed[waiting[0]] = self.seq
            self.starts[waiting[0]] = self.starts.get(waiting[0], 0) + 1
        verdict = self.verdicts.pop(0) if self.verdicts and "order" in answer else None
        return verdict, 200, answer


async def begin(server: FakeServer, scratch: Path, *options: str) -> asyncio.subprocess.Process:
    settings = "loader=runner_support:load_file,run=runner_support:run_task,cold=yes"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trackside.runner", "--api-url", server.url, "--reuse", "--fork-settings", settings, *options,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        env={**environment(), "SCRATCH": str(scratch)},
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(TOKEN.encode() + b"\n")
    process.stdin.close()
    return process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dag.py").write_text(TASKS)
    (tmp_path / "scratch").mkdir()
    return tmp_path


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def family_of(pid: int) -> set[int]:
    below = set(children_of(pid))
    return below.union(*(family_of(child) for child in below)) if below else below


def test_one_try_after_the_other_each_with_nothing_of_those_before(folder: Path) -> None:
    async def main() -> None:
        async with WarmServer() as server:
            process = await begin(server, folder / "scratch", "--empty", str(folder / "scratch"))
            values = []
            for _ in range(3):
                try_id = server.order(folder / "dag.py", "count")
                report = await server.report_of(try_id)
                assert report["outcome"] == "success"
                values.append(report["xcoms"][0]["value"])
                await server.log_of(try_id)
            assert [v[:2] for v in values] == [[1, "1"]] * 3, "no variable and no environment of a try before"
            assert all(len(v[3]) == 1 for v in values), "no file of a try before"
            assert len({v[2] for v in values}) == 1, "all were forked by the process that imported the file"
            assert all(count == 1 for count in server.starts.values())
            doors = {path.rsplit("/", 1)[1] for _, path, _, _ in server.requests}
            assert not {"start", "finish"} & doors, "the report of one and the order of the next share a call"
            await until(lambda: not _sleepers(process.pid), "what the tries left running was killed")
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0, "nothing was stopped with it"

    asyncio.run(main())


def _sleepers(pid: int) -> list[int]:
    found = []
    for child in family_of(pid):
        try:
            if b"sleep(600)" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
        except OSError:
            continue
    return found


def test_a_try_that_dies_takes_no_other_with_it(folder: Path) -> None:
    async def main() -> None:
        async with WarmServer() as server:
            process = await begin(server, folder / "scratch")
            dead, good = server.order(folder / "dag.py", "dies"), server.order(folder / "dag.py", "count")
            assert (await server.report_of(dead))["signal"] == signal.SIGKILL
            assert (await server.report_of(good))["outcome"] == "success"
            process.kill()
            await process.wait()

    asyncio.run(main())


@pytest.mark.parametrize("options", [("--tries", "1"), ("--idle", "1"), ("--age", "1")])
def test_the_pod_leaves_by_itself(folder: Path, options: tuple[str, str]) -> None:
    async def main() -> None:
        async with WarmServer() as server:
            process = await begin(server, folder / "scratch", *options)
            if options[0] == "--tries":
                await server.report_of(server.order(folder / "dag.py", "count"))
            assert await process.wait() == 0

    asyncio.run(main())


def test_a_pod_that_may_ask_no_more_leaves(folder: Path) -> None:
    async def main() -> None:
        async with WarmServer() as server:
            server.refused = True
            assert await (await begin(server, folder / "scratch")).wait() == 0

    asyncio.run(main())


def test_an_answer_that_is_lost_is_asked_for_again(folder: Path) -> None:
    async def main() -> None:
        async with WarmServer() as server:
            server.verdicts = ["drop", "cut"]
            process = await begin(server, folder / "scratch")
            try_id = server.order(folder / "dag.py", "count")
            assert (await server.report_of(try_id))["outcome"] == "success"
            assert server.starts == {try_id: 3}, "it was handed out again with every lost answer"
            assert server.reports[try_id]["xcoms"][0]["value"][0] == 1
            assert len([r for r in server.requests if r[1].endswith("/warm/next") and (r[2] or {}).get("finished")]) == 1
            process.kill()
            await process.wait()

    asyncio.run(main())


def test_a_pod_that_is_stopped_stops_its_try_and_says_so(folder: Path) -> None:
    async def main() -> None:
        async with WarmServer() as server:
            process = await begin(server, folder / "scratch")
            try_id = server.order(folder / "dag.py", "wait")
            await until((folder / "pid").exists)
            process.send_signal(signal.SIGTERM)
            assert (await server.report_of(try_id))["outcome"] == "lost"
            assert not alive(int((folder / "pid").read_text()))
            assert await process.wait() == 1

    asyncio.run(main())


def test_emptying_a_folder_spares_what_is_mounted_in_it(tmp_path: Path) -> None:
    for name in ("a/b/c", "volume/data", "deep/volume/data"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text("x")
    (tmp_path / "a/b").chmod(0o500)
    (tmp_path / "link").symlink_to("/etc")
    mounts = tmp_path.parent / f"{tmp_path.name}-mounts"
    mounts.write_text("".join(f"36 35 98:0 / {place} rw - x x rw\n" for place in (f"{tmp_path}/volume", f"{tmp_path}/deep/volume", "/")))
    warm.empty(tmp_path, mounts)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "deep", "deep/volume", "deep/volume/data", "deep/volume/data/file", "volume", "volume/data", "volume/data/file",
    ]  # fmt: skip
    assert any(Path("/etc").iterdir())


def test_what_one_of_several_tries_has_used() -> None:
    before = {"memory_bytes": 100, "cpu_seconds": 4.0}
    assert used.since(before, {"memory_bytes": 100, "cpu_seconds": 4.5}) == {"cpu_seconds": 0.5}
    assert used.since(before, {"memory_bytes": 300, "cpu_seconds": 5.0}) == {"cpu_seconds": 1.0, "memory_bytes": 300}
    assert used.since({}, {"memory_bytes": 300, "cpu_seconds": 5.0}) == {"cpu_seconds": 5.0, "memory_bytes": 300}
