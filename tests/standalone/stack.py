"""A real standalone stack for tests: started as a person would, watched through its ready file."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 120.0
"""Seconds until waiting has failed; never a measure of speed."""
PARTS = ("web", "scheduler", "dag_processor", "triggerer", "worker")


def until(what: str, condition: Callable[[], Any], explain: Callable[[], str] = str) -> Any:
    """Polls until the condition is true and returns its value; fails with what was awaited."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}\n{explain()}"
        time.sleep(0.02)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> set[int]:
    """All processes below this one."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = set(), [pid]
    while todo:
        for child in parents.get(todo.pop(), ()):
            found.add(child)
            todo.append(child)
    return found


def _hear_ctrl_c() -> None:
    """Whoever runs the tests in the background of a shell passes on an ignored SIGINT; a terminal does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class StandaloneStack:
    """`trackside standalone` in a home of its own. `environment` is added to a clean one without DATABASE_URL."""

    def __init__(self, folder: Path, *, port: int | None = None, **environment: str) -> None:
        self.home = folder / "home"
        self.port = port or free_port()
        self.ready_file = folder / "ready.json"
        self.output_file = folder / "output"
        dags = folder / "dags"
        dags.mkdir(parents=True, exist_ok=True)
        clean = {k: v for k, v in os.environ.items() if k != "DATABASE_URL" and not k.startswith("TRACKSIDE_")}
        self.environment = clean | {"TRACKSIDE_DAGS_FOLDER": str(dags), "PYTHONWARNINGS": "default"} | environment
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> subprocess.Popen[bytes]:
        """Starts it without waiting."""
        command = [sys.executable, "-m", "trackside.cli", "standalone", "--home", str(self.home)]
        command += ["--port", str(self.port), "--ready-file", str(self.ready_file)]
        with self.output_file.open("ab") as output:
            self.process = subprocess.Popen(
                command, cwd="/", env=self.environment, stdout=output, stderr=output, start_new_session=True, preexec_fn=_hear_ctrl_c
            )
        return self.process

    def start(self) -> dict[str, Any]:
        """Starts it and returns the ready file's content."""
        process = self.launch()
        until("the ready file", lambda: self.ready_file.exists() or process.poll() is not None, self.output)
        assert process.poll() is None, self.output()
        return self.ready()

    def ready(self) -> dict[str, Any]:
        return json.loads(self.ready_file.read_text())

    def pids(self) -> dict[str, int]:
        return self.ready()["pids"]

    def output(self) -> str:
        return self.output_file.read_text(errors="replace")

    def everything(self) -> set[int]:
        assert self.process is not None
        return {self.process.pid} | descendants(self.process.pid)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v2/version", timeout=10) as answer:
                return answer.status == 200
        except urllib.error.HTTPError as error:
            return error.code < 500
        except OSError:
            return False

    def stop(self, signum: int = signal.SIGINT) -> int:
        assert self.process is not None
        self.process.send_signal(signum)
        return self.process.wait(PATIENCE)

    def clean_up(self) -> None:
        """For the end of a test, whatever happened in it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
