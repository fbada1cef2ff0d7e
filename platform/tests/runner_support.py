"""A small server that plays `/execution`, and stand-ins for the SDK, for the tests of the worker (`test_runner_*.py`).

`FakeServer` keeps the books as the real one does: an order is handed out once, is taken back when it belongs to an older
epoch and the worker does not name it, and a report is settled once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
import types
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from trackside.core.messages import FinishReport, StartOrder
from trackside.runner.agent import Agent, WorkerConfig

TOKEN = "worker.s3cr3t-of-this-worker"
DEADLINE_S = 30.0


# What the fork server imports instead of the SDK


def load_file(path: str, dags_folder: str | None = None) -> Any:
    """A "DAG file" is a module with functions `task_<name>(order, comms)`; its DAG is called "d"."""
    module = types.ModuleType("standin_dag")
    module.__file__ = path
    sys.modules["standin_dag"] = module
    exec(compile(Path(path).read_text(), path, "exec"), module.__dict__)
    tasks = {n.removeprefix("task_"): f for n, f in vars(module).items() if n.startswith("task_")}
    dag = types.SimpleNamespace(dag_id="d", task_dict=tasks)
    return types.SimpleNamespace(dags={"d": dag}, errors=[])


def run_task(order: StartOrder, task: Callable[..., Any], dag: Any, comms: Any, *, report_to: Any) -> FinishReport:
    """Call the function; what it returns is the XCom, what it raises the error."""
    try:
        value = task(order, comms)
    except Exception as error:
        return FinishReport(order.try_id, outcome="failed", error=f"{type(error).__name__}: {error}")
    if isinstance(value, FinishReport):
        return value
    return FinishReport(order.try_id, xcoms=[{"key": "return_value", "value": value}])


STANDIN = {"loader": "runner_support:load_file", "run": "runner_support:run_task", "preload": ["runner_support"], "cold": True}


# The server


class FakeServer:
    """Plays the execution API on a free port."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.queue: list[str] = []
        self.known: dict[str, dict[str, Any]] = {}
        self.handed: dict[str, int] = {}
        """Try id → epoch in which it was handed out, while it runs."""
        self.starts: dict[str, int] = {}
        self.reports: dict[str, dict[str, Any]] = {}
        self.reports_seen = 0
        self.exchanges: list[dict[str, Any]] = []
        self.kills: list[dict[str, Any]] = []
        self.logs: dict[str, bytearray] = {}
        self.log_ended: set[str] = set()
        self.updates: list[dict[str, Any]] = []
        self.goodbyes: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, Any, str]] = []
        self.on_exchange: Callable[[dict[str, Any], dict[str, Any]], str | None] = lambda request, answer: None
        """May change the answer, or return "cut" (send a part of it and close) or "drop" (close without sending it)."""
        self.refuses: Callable[[dict[str, Any]], bool] = lambda request: False
        self.deaf = False
        self.logs_closed = False
        self.variables: dict[str, str] = {}
        self.changed = asyncio.Condition()
        self._conversations: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> FakeServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 26)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for conversation in self._conversations:
            conversation.cancel()
        await asyncio.gather(*self._conversations)

    # For tests

    def order(self, path: str | Path, task_id: str, **more: Any) -> str:
        """Put a try into the queue."""
        try_id = more.pop("try_id", None) or str(uuid.uuid4())
        order = StartOrder(
            try_id, f"{try_id}.{uuid.uuid4().hex}", "d", task_id, more.pop("run", {"dag_id": "d", "run_id": "r"}), dag_file=str(path),
            relative_fileloc=Path(path).name, **{"file_hash": "h", "kill_grace_s": 0.5, **more},
        )  # fmt: skip
        self.known[try_id] = order.to_dict()
        self.queue.append(try_id)
        self.poke()
        return try_id

    def cut_connections(self) -> None:
        """Close every connection without an answer."""
        for conversation in self._conversations:
            conversation.cancel()

    def kill(self, try_id: str, reason: str = "cleared by a person") -> None:
        self.kills.append({"try_id": try_id, "reason": reason})
        self.poke()

    def poke(self) -> None:
        asyncio.get_running_loop().create_task(self._poke())

    async def until(self, true: Callable[[], Any], what: str = "") -> Any:
        """Wait until `true()`, woken by every request; fail after a while."""
        end = time.monotonic() + DEADLINE_S
        while not (value := true()):
            if time.monotonic() > end:
                raise AssertionError(f"waited in vain for {what or true}: reports {self.reports}, logs {self.logs}")
            async with self.changed:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), 0.02)
        return value

    async def report_of(self, try_id: str) -> dict[str, Any]:
        await self.until(lambda: try_id in self.reports, f"the report of {self.known[try_id]['task_id']}")
        return self.reports[try_id]

    async def log_of(self, try_id: str) -> list[dict[str, Any]]:
        await self.until(lambda: try_id in self.log_ended, "the end of a log")
        return [json.loads(line) for line in self.logs[try_id].splitlines()]

    # The doors

    async def _poke(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        assert me is not None
        self._conversations.add(me)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method, path, _ = head.split("\r\n")[0].split(" ")
                headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
                raw = await reader.readexactly(int(headers.get("content-length", 0)))
                token = head.split("Bearer ")[1].split("\r\n")[0]
                body = json.loads(raw) if raw else None
                self.requests.append((method, path, body, token))
                if self.deaf:
                    await asyncio.Event().wait()
                verdict, status, answer = await self._answer(method, path, body, token)
                data = json.dumps(answer).encode()
                text = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
                    status, len(data), data,
                )  # fmt: skip
                if verdict == "cut":
                    text = text[:-1]
                if verdict != "drop":
                    writer.write(text)
                    await writer.drain()
                await self._poke()
                if verdict in ("cut", "drop"):
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self._conversations.discard(me)
            writer.close()

    async def _answer(self, method: str, path: str, body: Any, token: str) -> tuple[str | None, int, Any]:
        assert path.startswith("/execution/")
        door = path.removeprefix("/execution")
        if door == "/exchange":
            return await self._exchange(body)
        if door == "/logs":
            if self.logs_closed:
                return None, 503, {"detail": "log store away"}
            return None, 200, {"settled": [self._log(chunk) for chunk in body["chunks"]]}
        if door == "/goodbye":
            self.goodbyes.append(body)
            return None, 200, {}
        if door.startswith("/variables/"):
            key = door.removeprefix("/variables/")
            return None, *((200, {"key": key, "value": self.variables[key]}) if key in self.variables else (404, {}))
        return self._one_try(door, body)

    def _one_try(self, door: str, body: Any) -> tuple[str | None, int, Any]:
        _, _, try_id, verb = door.split("/")
        match verb:
            case "start":
                self.starts[try_id] = self.starts.get(try_id, 0) + 1
                return None, 200, self.known[try_id]
            case "finish":
                self.reports[try_id] = body
            case "logs":
                return None, 200, self._log(body)
            case "heartbeat":
                if any(kill["try_id"] == try_id for kill in self.kills):
                    return None, 410, {"detail": "superseded"}
            case "update":
                self.updates.append(body)
        return None, 200, {}

    def _log(self, chunk: dict[str, Any]) -> dict[str, Any]:
        kept = self.logs.setdefault(chunk["try_id"], bytearray())
        data = chunk["text"].encode()
        if chunk["offset"] <= len(kept):
            kept += data[len(kept) - chunk["offset"] :]
        if chunk["end"]:
            self.log_ended.add(chunk["try_id"])
        return {"try_id": chunk["try_id"], "status": 200, "size": len(kept)}

    async def _exchange(self, request: dict[str, Any]) -> tuple[str | None, int, Any]:
        self.exchanges.append(request)
        answer: dict[str, Any] = {"start": [], "kill": [], "settled": [], "lease_s": 30}
        if self.refuses(request):
            return None, 413, {"detail": "too large"}
        for report in request["finished"]:
            answer["settled"].append(self._settle(report))
        for try_id, epoch in list(self.handed.items()):
            if epoch < request["epoch"] and try_id not in request["running"]:
                del self.handed[try_id]
                self.queue.append(try_id)
        self.updates += request["updates"]
        end = time.monotonic() + request["wait_s"]
        while not (self._hand_out(request, answer) or answer["settled"]) and time.monotonic() < end:
            async with self.changed:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), end - time.monotonic())
        return self.on_exchange(request, answer), 200, answer

    def _settle(self, report: dict[str, Any]) -> dict[str, Any]:
        try_id = report["try_id"]
        self.reports_seen += 1
        self.handed.pop(try_id, None)
        if try_id in self.reports and self.reports[try_id]["token"] == report["token"]:
            return {"try_id": try_id, "status": 409, "detail": "ended"}
        self.reports[try_id] = report
        return {"try_id": try_id, "status": 200}

    def _hand_out(self, request: dict[str, Any], answer: dict[str, Any]) -> bool:
        if request["epoch"] < max(exchange["epoch"] for exchange in self.exchanges):
            return True  # the worker has hung up on this call
        room = min(request["free"], request["slots"] - len(self.handed))
        for _ in range(room):
            if not self.queue:
                break
            try_id = self.queue.pop(0)
            self.handed[try_id] = request["epoch"]
            self.starts[try_id] = self.starts.get(try_id, 0) + 1
            answer["start"].append(self.known[try_id])
        mine = [kill for kill in self.kills if kill["try_id"] in request["running"]]
        answer["kill"] += mine
        self.kills = [kill for kill in self.kills if kill not in mine]
        return bool(answer["start"] or answer["kill"])


@contextlib.asynccontextmanager
async def worker(server: FakeServer, **more: Any) -> AsyncIterator[Agent]:
    """An agent in this process, with its fork server; stopped at the end."""
    config = WorkerConfig(server.url, TOKEN, **{"slots": 8, "name": "w1", "drain_s": 0.0, "fork_settings": STANDIN, **more})
    agent = Agent(config)
    running = asyncio.ensure_future(agent.run())
    try:
        yield agent
    finally:
        agent.stop()
        agent.stop()
        await running


class Play:
    """Runs the body of a test with a server and a worker around it; `file` is its DAG file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self, body: Callable[[FakeServer, Agent], Awaitable[None]], source: str, **config: Any) -> None:
        self.file.write_text(source)

        async def main() -> None:
            async with FakeServer() as server, worker(server, **config) as agent, asyncio.timeout(2 * DEADLINE_S):
                await body(server, agent)

        asyncio.run(main())


def environment() -> dict[str, str]:
    """For worker processes: where the stand-ins are found."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def until(true: Callable[[], Any], what: str = "") -> Any:
    """Poll for something no request tells about."""
    end = time.monotonic() + DEADLINE_S
    while not (value := true()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        await asyncio.sleep(0.01)
    return value
