"""A whole Trackside for end-to-end tests and the benchmark: started in a home of its own, spoken to by REST.

`start` runs `manage.py standalone` with its embedded PostgreSQL on a free port and waits for its ready file; `Server`
is the running thing with a small client: unpause, trigger, wait, logs, clear. Nothing here sleeps for a fixed time as a
means of synchronisation: everything polls with a deadline, and says what it saw when the deadline passes.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery staple"
FINISHED = ("success", "failed")
_NOT_INHERITED = ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "PYTHONPATH")
"""A server has its own database; TRACKSIDE_* of the caller would change what is tested."""
_PR_SET_PDEATHSIG = 1
T = TypeVar("T")


class Refused(Exception):
    """The server answered with an error; the message holds request, status and body."""

    def __init__(self, answer: httpx.Response) -> None:
        self.status = answer.status_code
        self.body = answer.text
        super().__init__(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:2000]}")


class TookTooLong(AssertionError):
    """Something awaited did not happen before its deadline."""


def until(condition: Callable[[], T | None], what: str, seconds: float = 60.0, pause: float = 0.05) -> T:
    """Poll until the condition gives something true, and return that. Raises TookTooLong with `what`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TookTooLong(f"waited {seconds:.0f} s in vain until {what}")
        time.sleep(pause)
    return value


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class Server:
    """A running Trackside. `home`, `dags_folder` and `log` are paths; `pids` names its processes."""

    url: str
    user: str
    password: str
    pids: dict[str, int]
    home: Path
    dags_folder: Path
    log: Path
    process: subprocess.Popen[bytes]
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    # REST

    def login(self) -> Self:
        """A bearer token for all further calls."""
        answer = self.http.post("/auth/token", json={"username": self.user, "password": self.password})
        if answer.status_code not in (200, 201):
            raise Refused(answer)
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return self

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """The JSON answer of `/api/v2<path>`; raises Refused."""
        answer = self.http.request(method, f"/api/v2{path}", **arguments)
        if answer.is_error:
            raise Refused(answer)
        return answer.json() if answer.content else None

    def get(self, path: str, **params: Any) -> Any:
        """GET `/api/v2<path>?params`."""
        return self.call("GET", path, params=params)

    # DAGs

    def wait_dag(self, dag_id: str, seconds: float = 60.0) -> dict[str, Any]:
        """The DAG once it is parsed; import errors end the wait at once."""

        def known() -> dict[str, Any] | None:
            try:
                found: dict[str, Any] = self.get(f"/dags/{dag_id}")
                return found
            except Refused as e:
                if e.status != 404:
                    raise
            errors = self.get("/importErrors")["import_errors"]
            mine = [e for e in errors if Path(e["filename"] or "").stem == dag_id]
            assert not mine, f"{dag_id} cannot be parsed: {mine[0]['stack_trace']}"
            return None

        return until(known, f"the DAG {dag_id} was parsed\n{self.tail()}", seconds)

    def unpause(self, dag_id: str) -> None:
        """Wait for the DAG and switch it on."""
        self.wait_dag(dag_id)
        self.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run; its id."""
        body = {"logical_date": None, "conf": conf or {}, **({"dag_run_id": run_id} if run_id else {})}
        made: str = self.call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"]
        return made

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """The run as it is now."""
        found: dict[str, Any] = self.get(f"/dags/{dag_id}/dagRuns/{run_id}")
        return found

    def wait_run(self, dag_id: str, run_id: str, seconds: float = 60.0) -> dict[str, Any]:
        """The run once it is finished; when it does not, what each of its tasks says."""

        def finished() -> dict[str, Any] | None:
            run = self.run(dag_id, run_id)
            return run if run["state"] in FINISHED else None

        try:
            return until(finished, f"{dag_id} {run_id} was finished", seconds)
        except TookTooLong as e:
            raise TookTooLong(f"{e}\n{self.describe(dag_id, run_id)}\n{self.tail()}") from None

    def run_dag(self, dag_id: str, conf: dict[str, Any] | None = None, seconds: float = 60.0) -> dict[str, Any]:
        """Unpause, trigger, wait: the finished run."""
        self.unpause(dag_id)
        return self.wait_run(dag_id, self.trigger(dag_id, conf), seconds)

    # Tasks

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All task instances of the run."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100, offset=len(found))
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """task id → state, with `[map index]` for mapped ones."""
        return {t["task_id"] + (f"[{t['map_index']}]" if t["map_index"] >= 0 else ""): t["state"] for t in self.tasks(dag_id, run_id)}

    def value(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """What the task left."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.get(path)["value"]

    def log_of(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """The events of a try's log, one per line."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        params = {"map_index": map_index, "full_content": "true"}
        answer = self.call("GET", path, params=params, headers={"Accept": "application/json"})
        return "\n".join(_words(entry) for entry in answer["content"])

    def wait_log(self, text: str, dag_id: str, run_id: str, task_id: str, try_number: int = 1, seconds: float = 30.0) -> str:
        """The log once it contains `text`."""

        def said() -> str | None:
            try:
                log = self.log_of(dag_id, run_id, task_id, try_number)
            except Refused as e:
                if e.status != 404:
                    raise
                return None
            return log if text in log else None

        try:
            return until(said, f"the log of {task_id} (try {try_number}) says {text!r}", seconds)
        except TookTooLong as e:
            log = self.log_of(dag_id, run_id, task_id, try_number)
            raise TookTooLong(f"{e}; it says:\n{log[-4000:]}") from None

    def clear(self, dag_id: str, run_id: str, *task_ids: str, downstream: bool = True) -> None:
        """New tries for these tasks and, normally, what comes after them."""
        body = {
            "dry_run": False, "dag_run_id": run_id, "task_ids": list(task_ids), "include_downstream": downstream,
            "only_failed": False, "reset_dag_runs": True,
        }  # fmt: skip
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def add_connection(self, conn_id: str, **fields: Any) -> None:
        """Make (or replace) a connection."""
        try:
            self.call("DELETE", f"/connections/{conn_id}")
        except Refused as e:
            if e.status != 404:
                raise
        self.call("POST", "/connections", json={"connection_id": conn_id, **fields})

    # Diagnosis

    def describe(self, dag_id: str, run_id: str) -> str:
        """State of a run and of each of its tasks, for a failed test."""
        try:
            lines = [f"  {name}: {state}" for name, state in self.states(dag_id, run_id).items()]
            return f"run: {self.run(dag_id, run_id)['state']}\n" + "\n".join(lines[:50])
        except (Refused, httpx.HTTPError) as e:
            return f"(no description: {e})"

    def tail(self, size: int = 4000) -> str:
        """The end of what the processes printed."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"--- {self.log}\n{text[-size:]}"

    def stop(self, seconds: float = 30.0) -> int:
        """End it as Ctrl-C does; kills what does not end. The exit code."""
        self.http.close()
        return _stop(self.process, seconds)


def _words(entry: Any) -> str:
    """One entry of a log as text, with the exceptions it tells of."""
    if isinstance(entry, str):
        return entry
    errors = [f"{e.get('exc_type')}: {e.get('exc_value')}" for e in entry.get("error_detail") or ()]
    return "\n".join([str(entry.get("event", "")), *errors])


def start(
    home: Path,
    dags_folder: Path,
    *,
    environment: dict[str, str] | None = None,
    seconds: float = 90.0,
    login: bool = True,
    python: Path | str = sys.executable,
    port: int | None = None,
) -> Server:
    """A running Trackside with its data in `home`. `environment` is added to a clean one. Raises TookTooLong."""
    home.mkdir(parents=True, exist_ok=True)
    ready, log = home / "ready.json", home / "standalone.log"
    ready.unlink(missing_ok=True)
    clean = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED and not k.startswith(("TRACKSIDE_", "PG"))}
    argv = [
        str(python), str(ROOT / "manage.py"), "standalone", "--home", str(home / "data"), "--port", str(port or free_port()),
        "--dags-folder", str(dags_folder), "--ready-file", str(ready),
    ]  # fmt: skip
    with log.open("ab") as out:
        process = subprocess.Popen(
            argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, preexec_fn=_die_with_parent,
            env={**clean, "TRACKSIDE_ADMIN_PASSWORD": PASSWORD, **(environment or {})},
        )  # fmt: skip

    def told() -> dict[str, Any] | None:
        if process.poll() is not None:
            raise TookTooLong(f"standalone ended with {process.returncode}\n{log.read_text(errors='replace')[-4000:]}")
        return json.loads(ready.read_text()) if ready.exists() else None

    try:
        said = until(told, "the stack was ready", seconds, pause=0.02)
        server = Server(
            url=said["url"], user=said["user"], password=said["password"] or PASSWORD, pids=said["pids"], home=home,
            dags_folder=dags_folder, log=log, process=process,
        )  # fmt: skip
        return server.login() if login else server
    except BaseException as e:
        _stop(process, 10.0)
        if isinstance(e, TookTooLong) and "ended with" not in str(e):
            raise TookTooLong(f"{e}\n{log.read_text(errors='replace')[-4000:]}") from None
        raise


def temporary_home(prefix: str) -> Path:
    """A new folder; short, because PostgreSQL's socket path must fit in 107 bytes."""
    return Path(tempfile.mkdtemp(prefix=prefix))


def remove(home: Path) -> None:
    """Delete a home; files that another account owns may stay."""
    shutil.rmtree(home, ignore_errors=True)


def _stop(process: subprocess.Popen[bytes], seconds: float) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return int(process.returncode)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
