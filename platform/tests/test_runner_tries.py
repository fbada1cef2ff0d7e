"""Tries through a real worker: started once, reported in batches, every way a task process can end."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from runner_support import STANDIN, TOKEN, FakeServer, Play, alive, until


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Runs a test's body with a server and a worker."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return Play(tmp_path / "dag.py")


def test_a_try_is_started_once_and_its_result_reported(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        try_id = server.order(play.file, "answer")
        report = await server.report_of(try_id)
        assert report["outcome"] == "success"
        assert report["xcoms"] == [{"key": "return_value", "value": 42}]
        assert report["token"] == server.known[try_id]["token"]
        assert report["pid"] > 0
        assert report["duration_s"] > 0
        assert server.starts == {try_id: 1}

    play(body, "def task_answer(order, comms):\n    return 42\n")


def test_tries_that_end_together_are_reported_together_and_bring_the_next(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        ids = [server.order(play.file, "one") for _ in range(40)]
        for try_id in ids:
            await server.report_of(try_id)
        assert all(server.starts[try_id] == 1 for try_id in ids)
        reporting = [exchange for exchange in server.exchanges if exchange["finished"]]
        assert len(reporting) < 40
        assert max(len(exchange["running"]) for exchange in server.exchanges) <= 8

    play(body, "def task_one(order, comms):\n    return 1\n")


def test_what_a_task_raises_is_its_report(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        report = await server.report_of(server.order(play.file, "bad"))
        assert (report["outcome"], report["error"]) == ("failed", "ValueError: no")

    play(body, "def task_bad(order, comms):\n    raise ValueError('no')\n")


ENDS = """
import os, signal, ctypes
def task_exit(order, comms):
    os._exit(3)
def task_clean_exit(order, comms):
    os._exit(0)
def task_kill(order, comms):
    os.kill(os.getpid(), signal.SIGKILL)
def task_crash(order, comms):
    ctypes.string_at(0)
"""


@pytest.mark.parametrize(
    ("task", "code", "signum", "words"),
    [
        ("exit", 3, None, "exit code 3"),
        ("clean_exit", 0, None, "before the task was finished"),
        ("kill", None, signal.SIGKILL, "signal 9 (SIGKILL): often out of memory"),
        ("crash", None, signal.SIGSEGV, "signal 11 (SIGSEGV): a crash in native code"),
    ],
)
def test_a_process_that_ends_without_a_report_is_a_failure_that_says_why(
    play: Play, task: str, code: int | None, signum: int | None, words: str
) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        try_id = server.order(play.file, task)
        report = await server.report_of(try_id)
        assert report["outcome"] == "failed"
        assert (report["exit_code"], report["signal"]) == (code, signum)
        assert words in report["error"]
        assert words in (await server.log_of(try_id))[-1]["event"]

    play(body, ENDS)


def test_a_task_that_is_no_longer_in_the_file_fails_with_a_sentence(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        report = await server.report_of(server.order(play.file, "gone"))
        assert report["outcome"] == "failed"
        assert report["error"] == f"Task 'gone' is no longer in DAG 'd' of {play.file}"

    play(body, "def task_other(order, comms):\n    return 1\n")


def test_a_file_that_cannot_be_loaded_fails_the_try_with_its_error(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        try_id = server.order(play.file, "a")
        report = await server.report_of(try_id)
        assert report["outcome"] == "failed"
        assert "ZeroDivisionError: division by zero" in report["error"]
        assert any("line 1" in line["event"] for line in await server.log_of(try_id))

    play(body, "1 / 0\n")


def test_a_file_that_has_gone_fails_the_try(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        report = await server.report_of(server.order("/nowhere/dag.py", "a"))
        assert report["outcome"] == "failed"
        assert "/nowhere/dag.py" in report["error"]

    play(body, "")


IMPORTS = """
import os, pathlib
pathlib.Path(__file__).with_suffix(".imports").open("a").write(f"{os.getpid()}\\n")
def task_parent(order, comms):
    return [os.getppid(), globals().get("CHANGED")]
"""


def test_a_file_is_imported_once_for_many_tries_and_again_when_it_changes(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        first = [(await server.report_of(server.order(play.file, "parent")))["xcoms"][0]["value"] for _ in range(3)]
        assert len({parent for parent, _ in first}) == 1
        imports = play.file.with_suffix(".imports")
        assert imports.read_text().split() == [str(first[0][0])]
        play.file.write_text(IMPORTS + "CHANGED = True\n")
        again = (await server.report_of(server.order(play.file, "parent", file_hash="h2")))["xcoms"][0]["value"]
        assert again[0] != first[0][0]
        assert again[1] is True

    play(body, IMPORTS)


def test_a_newer_dag_version_of_the_same_file_is_imported_again(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        parents = []
        for version in (1, 2, 2):
            report = await server.report_of(server.order(play.file, "parent", dag_version_number=version))
            parents.append(report["xcoms"][0]["value"][0])
        assert parents[0] != parents[1] == parents[2]

    play(body, IMPORTS)


UNFIT = {
    "threads": "import threading, time\nthreading.Thread(target=lambda: time.sleep(600), daemon=True).start()\n",
    "processes": "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\n",
    "questions": "from trackside.sdk.execution.current import comms as c\nvalue = c().request('GET', '/variables/k')\n",
}


@pytest.mark.parametrize("why", UNFIT)
def test_a_file_that_cannot_be_kept_imported_is_imported_by_each_task(play: Play, why: str) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        server.variables["k"] = "v"
        parents, values = set(), []
        for _ in range(2):
            report = await server.report_of(server.order(play.file, "parent"))
            parent, value = report["xcoms"][0]["value"]
            parents.add(parent)
            values.append(value)
        server_pid = agent.forks._process.pid
        assert parents == {server_pid}
        if why == "questions":
            assert values == [[200, {"key": "k", "value": "v"}]] * 2

    source = UNFIT[why] + "value = globals().get('value')\nimport os\n"
    play(body, source + "def task_parent(order, comms):\n    return [os.getppid(), value]\n")


def test_a_task_asks_the_server_with_its_own_token(play: Play) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        server.variables["k"] = "v"
        try_id = server.order(play.file, "ask")
        report = await server.report_of(try_id)
        assert report["xcoms"][0]["value"] == [[200, {"key": "k", "value": "v"}], 404]
        tokens = {token for _, path, _, token in server.requests if "/variables/" in path}
        assert tokens == {server.known[try_id]["token"]}

    play(
        body,
        "def task_ask(order, comms):\n"
        "    return [comms.request('GET', '/variables/k'), comms.request('GET', '/variables/absent')[0]]\n",
    )


def test_early_facts_reach_the_server_while_the_task_runs(play: Play, tmp_path: Path) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        try_id = server.order(play.file, "slow")
        told = await server.until(lambda: [u for u in server.updates if u.get("rendered_fields") == {"a": 1}], "an update")
        assert told[0]["pid"], "who sees the fields also sees the process"
        await server.until(lambda: [u for u in server.updates if u.get("pid")], "the pid")
        (tmp_path / "go").touch()
        report = await server.report_of(try_id)
        assert report["rendered_fields"] == {"a": 1}

    play(
        body,
        "import os, time\n"
        "def task_slow(order, comms):\n"
        "    comms.update(rendered_fields={'a': 1})\n"
        f"    while not os.path.exists({str(tmp_path / 'go')!r}):\n"
        "        time.sleep(0.01)\n",
    )


SANITY = """
import asyncio, concurrent.futures, multiprocessing, os, random, signal, subprocess, sys, threading, time, uuid

def square(x):
    return x * x

def task_look(order, comms):
    result = {}
    result["stdin"] = sys.stdin.read()
    result["cwd"] = os.getcwd()
    result["leader"] = os.getsid(0) == os.getpid() == os.getpgrp()
    result["fds"] = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
    result["main"] = [sys.modules["__main__"].__name__, hasattr(sys.modules["__main__"], "__file__")]
    result["argv"] = sys.argv
    result["environ"] = dict(os.environ)
    result["cmdline"] = open("/proc/self/cmdline").read() + open("/proc/self/environ").read()
    result["random"] = [random.random(), str(uuid.uuid4())]
    result["mask"] = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    result["sigint"] = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    got = []
    signal.signal(signal.SIGUSR1, lambda *_: got.append("usr1"))
    os.kill(os.getpid(), signal.SIGUSR1)
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    except KeyboardInterrupt:
        got.append("int")
    result["signals"] = got
    thread = threading.Thread(target=lambda: got.append("thread"))
    thread.start(); thread.join()
    result["thread"] = got[-1]
    async def later():
        process = await asyncio.create_subprocess_exec("echo", "hi", stdout=subprocess.PIPE)
        return (await process.communicate())[0].decode()
    result["asyncio"] = asyncio.run(later())
    with multiprocessing.Pool(2) as pool:
        result["pool"] = pool.map(square, [1, 2, 3])
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        result["spawn"] = pool.submit(len, "four").result()
    result["popen"] = subprocess.run(["cat"], input="x", text=True, capture_output=True).stdout
    return result
"""


def test_a_task_process_is_an_ordinary_process(play: Play, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secrets = {
        "TRACKSIDE_WORKER_TOKEN": TOKEN,
        "TRACKSIDE_ADMIN_PASSWORD": "hunter2-admin",
        "DATABASE_URL": "postgres://u:hunter2-db@h/d",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW_VAR_X", "kept")

    async def body(server: FakeServer, agent: Any) -> None:
        reports = []
        for _ in range(2):
            try_id = server.order(play.file, "look")
            report = await server.report_of(try_id)
            assert report["outcome"] == "success", report
            reports.append(report["xcoms"][0]["value"])
            token = server.known[try_id]["token"]
            assert token not in reports[-1]["cmdline"] + str(reports[-1]["environ"])
            await server.log_of(try_id)
            assert token.rpartition(".")[2].encode() not in server.logs[try_id]
        look = reports[0]
        assert look["stdin"] == ""
        assert look["cwd"] == str(tmp_path)
        assert look["leader"] is True
        assert look["fds"][:3] == [0, 1, 2]
        assert len(look["fds"]) <= 6, "control socket, its own open folder, and nothing inherited"
        assert look["main"] == ["__main__", False]
        assert look["argv"] == ["trackside-task"]
        assert look["environ"]["AIRFLOW_VAR_X"] == "kept"
        for name, value in secrets.items():
            assert name not in look["environ"]
            assert value not in look["cmdline"]
        assert reports[0]["random"] != reports[1]["random"]
        assert look["mask"] == []
        assert look["sigint"] is True
        assert look["signals"] == ["usr1", "int", "thread"]
        assert look["asyncio"] == "hi\n"
        assert look["pool"] == [1, 4, 9]
        assert look["spawn"] == 4
        assert look["popen"] == "x"

    play(body, SANITY, cwd=str(tmp_path))


def test_the_dags_folder_of_this_machine_wins_over_the_servers_path(play: Play, tmp_path: Path) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        report = await server.report_of(server.order("/somewhere/else/dag.py", "where"))
        assert report["xcoms"][0]["value"] == str(play.file)

    play(body, "def task_where(order, comms):\n    return __file__\n", dags_folder=str(tmp_path))


def test_a_dead_zygote_loses_its_tries_and_the_next_one_works(play: Play, tmp_path: Path) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        lost = server.order(play.file, "wait")
        pid = await until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().split())
        os.kill(int(pid[0]), signal.SIGKILL)
        report = await server.report_of(lost)
        assert report["outcome"] == "lost"
        assert not alive(int(pid[1])), "the task dies with its zygote"
        assert not alive(int(pid[2])), "and so does what it started"
        assert (await server.report_of(server.order(play.file, "one")))["outcome"] == "success"

    play(body, _waiting(tmp_path))


def test_a_dead_fork_server_loses_its_tries_and_is_replaced(play: Play, tmp_path: Path) -> None:
    async def body(server: FakeServer, agent: Any) -> None:
        lost = server.order(play.file, "wait")
        pid = await until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().split())
        os.kill(agent.forks._process.pid, signal.SIGKILL)
        report = await server.report_of(lost)
        assert report["outcome"] == "lost"
        await until(lambda: not alive(int(pid[1])), "the end of the task")
        assert (await server.report_of(server.order(play.file, "one")))["outcome"] == "success"
        os.kill(int(pid[2]), signal.SIGKILL)  # `sweep` is off in this process: pytest has other children

    play(body, _waiting(tmp_path))


def _waiting(tmp_path: Path) -> str:
    return (
        "import os, subprocess, time\n"
        "def task_wait(order, comms):\n"
        "    below = subprocess.Popen(['sleep', '600'])\n"
        f"    with open({str(tmp_path / 'pids.tmp')!r}, 'w') as file:\n"
        "        file.write(f'{os.getppid()} {os.getpid()} {below.pid}')\n"
        f"    os.rename({str(tmp_path / 'pids.tmp')!r}, {str(tmp_path / 'pids')!r})\n"
        "    time.sleep(600)\n"
        "def task_one(order, comms):\n"
        "    return 1\n"
    )


def test_the_stand_ins_are_what_the_fork_server_preloads() -> None:
    assert STANDIN["preload"] == ["runner_support"]
