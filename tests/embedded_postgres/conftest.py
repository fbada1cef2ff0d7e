"""Real servers for these tests, each under a supervisor process of its own, as root and as an unprivileged user.

Every test runs once per account: as root where the tests run as root, and unprivileged everywhere.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from config.embedded_postgres import ServerInfo

PROGRAM = Path(__file__).with_name("supervise.py")
PLATFORM = Path(__file__).parents[2] / "platform"
AS_ROOT = os.geteuid() == 0
PATIENCE = 40.0


def until(condition: Callable[[], Any], what: str) -> Any:
    """Polls until the condition holds and returns its value."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s in vain until {what}"
        time.sleep(0.01)
    return value


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@dataclass
class Supervisor:
    """A running `supervise.py`."""

    process: subprocess.Popen[str]
    answer: dict[str, Any]

    @property
    def server(self) -> ServerInfo:
        assert "server" in self.answer, self.answer
        return ServerInfo(**self.answer["server"])

    def order(self, word: str) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def restart(self) -> None:
        self.answer = self.order("restart")

    def stop(self) -> None:
        assert self.order("stop") == {"stopped": True}
        assert self.process.wait(PATIENCE) == 0

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@dataclass
class Home:
    """A home and the account whose processes use it."""

    path: Path
    prefix: list[str]
    environment: dict[str, str]
    started: list[Supervisor] = field(default_factory=list)
    clients: list[psycopg.Connection[Any]] = field(default_factory=list)

    def start(self, how: str = "plain") -> Supervisor:
        process = subprocess.Popen(
            [*self.prefix, str(PROGRAM), str(self.path), how],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment, cwd="/",
        )  # fmt: skip
        assert process.stdout is not None
        supervisor = Supervisor(process, {})
        self.started.append(supervisor)
        supervisor.answer = json.loads(process.stdout.readline() or "{}")
        return supervisor

    def kill_all(self) -> None:
        for client in self.clients:
            client.close()
        for supervisor in self.started:
            if supervisor.process.poll() is None:
                supervisor.kill()
            if "server" in supervisor.answer:
                until(lambda pid=supervisor.server.pid: not is_alive(pid), "the server died with its supervisor")
            for stream in (supervisor.process.stdin, supervisor.process.stdout):
                if stream is not None:
                    stream.close()


def connect(server: ServerInfo, *, tcp: bool = True, **other: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(server.url(tcp=tcp), autocommit=True, **other)


def unprivileged() -> tuple[list[str], str]:
    """How to run Python as `nobody` (command, PYTHONPATH), or as ourselves when we are not root."""
    paths = os.pathsep.join([str(PLATFORM), sysconfig.get_path("purelib")])
    if not AS_ROOT:
        return [sys.executable], paths
    become = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    version = f"python3.{sys.version_info.minor}"
    # setpriv itself may still run what nobody may not: the interpreter has to be able to run itself
    test = "import psycopg, subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', '']))"
    for candidate in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        command = [*become, candidate]
        if (
            subprocess.run([*command, "-c", test], env={"PYTHONPATH": paths}, cwd="/", capture_output=True).returncode
            == 0
        ):
            return command, paths
    pytest.skip(
        f"no {version} and checkout that the user nobody may read: the unprivileged half of this test did not run"
    )


@pytest.fixture(scope="session", params=["as root", "unprivileged"] if AS_ROOT else ["unprivileged"])
def account(request: pytest.FixtureRequest) -> tuple[str, list[str], dict[str, str]]:
    command, paths = unprivileged() if request.param == "unprivileged" else ([sys.executable], str(PLATFORM))
    return request.param, command, {"PATH": os.environ["PATH"], "PYTHONPATH": paths}


def make_home(account: tuple[str, list[str], dict[str, str]], parent: Path) -> Home:
    """An absent home in a folder of its own; for root below a folder that nobody else may enter, as /root is."""
    name, command, environment = account
    if AS_ROOT and name == "unprivileged":
        shutil.chown(parent, "nobody")
    return Home(parent / ".trackside", command, environment)


@pytest.fixture
def parent() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="trackside-home-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def fresh(account: tuple[str, list[str], dict[str, str]], parent: Path) -> Iterator[Home]:
    """A home in which nothing was ever started."""
    home = make_home(account, parent)
    yield home
    home.kill_all()


@pytest.fixture(scope="session")
def used(account: tuple[str, list[str], dict[str, str]]) -> Iterator[Path]:
    """The folder of `home`: a server was started there once and stopped."""
    folder = Path(tempfile.mkdtemp(prefix="trackside-home-"))
    first = make_home(account, folder)
    first.start().stop()
    first.kill_all()
    yield first.path
    shutil.rmtree(folder)


@pytest.fixture
def home(account: tuple[str, list[str], dict[str, str]], used: Path) -> Iterator[Home]:
    """A home whose server has run before. The tests share the folder, as initdb is slow, not the processes."""
    home = make_home(account, used.parent)
    yield home
    home.kill_all()
