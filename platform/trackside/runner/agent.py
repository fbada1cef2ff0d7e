"""The worker's agent: holds tries, keeps its slots filled, kills what must be killed, stops in order.

One asyncio process. It talks to the server (`exchange`, `logs`), and has tries run by the fork server (`zygotes`, `tries`).
`command.run_worker` is the way in.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import trackside
from trackside.core import logline
from trackside.runner import probes
from trackside.runner.bundles import BundleError
from trackside.runner.exchange import Exchanger, boottime
from trackside.runner.http import AnswerLost, ConnectFailed, Connection
from trackside.runner.local_files import LocalFiles
from trackside.runner.logs import MAX_UNSENT_TOTAL, LogShipper, TryLog, poster
from trackside.runner.tries import HeldTry
from trackside.runner.zygotes import ForkServer

log = logging.getLogger(__name__)

ASK_AGAIN_S = 0.05
"""First pause after which a wanted try that has not come is asked for again."""
TICK_S = 0.5
"""How often the self-fence is checked."""


@dataclass(slots=True)
class WorkerConfig:
    """Who this worker is and where its server is. See `command.run_worker` for the sources."""

    api_url: str
    token: str = field(repr=False)
    slots: int = 32
    queues: list[str] = field(default_factory=lambda: ["default"])
    name: str = ""
    executor: str = "local"
    """Whose tries it runs."""
    cwd: str = field(default_factory=os.getcwd)
    dags_folder: str | None = None
    """Where DAG files lie on this machine, if not where the server says."""
    heartbeat_s: float = 5.0
    self_fence_s: float = 20.0
    kill_grace_s: float = 5.0
    drain_s: float = 10.0
    """How long running tasks may go on after the worker was told to stop."""
    sweep: bool = False
    """The process is a subreaper without other children: kill whatever falls to it."""
    fork_settings: dict[str, Any] = field(default_factory=dict)
    """More settings for the fork server (loader, run, preload): for tests."""


class Agent:
    """See the module. Implements `exchange.Holder` and `tries.Host`."""

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        self.worker_id = str(uuid.uuid4())
        self.hostname = socket.gethostname()
        self.name = config.name or f"{self.hostname}-{os.getpid()}"
        self.tries: dict[str, HeldTry] = {}
        """Every try whose report is not settled."""
        self._wanted: dict[str, None] | None = None
        self.on_done: Callable[[str], None] = lambda try_id: None
        """Called for every try that was asked for by `want`, once it is over or will never come."""
        self._accepted_at = boottime()
        self._fenced = False
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._drained = asyncio.Event()
        connect: Callable[[], Connection] = lambda: Connection(config.api_url, config.token)  # noqa: E731
        self._goodbye = connect()
        self.exchanger = Exchanger(self, connect, self.worker_id)
        self._log_talk = connect()
        self.shipper = LogShipper(poster(self._log_talk, self.worker_id))
        settings = {"api_url": config.api_url, "cwd": config.cwd, **config.fork_settings}
        self.forks = ForkServer(settings, sweep=config.sweep)
        self.files = LocalFiles(config.api_url, config.dags_folder)
        self._fetching: dict[str, asyncio.Future[None]] = {}
        """Tries whose files are being fetched."""
        self._hello = {
            "name": self.name,
            "hostname": self.hostname,
            "pid": os.getpid(),
            "slots": config.slots,
            "queues": config.queues,
            "executor": config.executor,
            "version": getattr(trackside, "__version__", ""),
        }

    async def run(self) -> None:
        """Work until `stop`, then end in order: wait for tasks, kill the rest, report, say goodbye."""
        probes.start()
        self.forks.start_server()
        duties = [
            asyncio.ensure_future(duty) for duty in (self.exchanger.run(), self.shipper.run(), self._watch_the_clock())
        ]
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([stop, *duties], return_when=asyncio.FIRST_COMPLETED)
            for duty in duties:
                if duty.done():
                    duty.result()  # a defect: raise it
            await self._end()
        finally:
            for task in (stop, *duties):
                task.cancel()
            await asyncio.gather(stop, *duties, return_exceptions=True)
            self._log_talk.close()
            await self.forks.stop()

    def stop(self) -> None:
        """End in order; said a second time: kill running tasks at once."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    def take_only_wanted(self) -> None:
        """From now on only what `want` has named."""
        self._wanted = {}

    def want(self, try_id: str) -> None:
        """A message has named this try: ask the server for it."""
        if self._wanted is None or try_id in self._wanted or try_id in self.tries:
            return
        self._wanted[try_id] = None
        self._ask_for(try_id, ASK_AGAIN_S)

    def leave(self, try_id: str) -> bool:
        """Somebody else shall have this try. False if it is here, or was never named."""
        if self._wanted is None or try_id not in self._wanted:
            return False
        del self._wanted[try_id]
        return True

    def _ask_for(self, try_id: str, pause: float) -> None:
        """The server passes over a row that somebody else is just writing to: ask again until it has an answer. While all slots
        are taken there is nothing to ask for: the report that empties one asks by itself."""
        if self._wanted is not None and try_id in self._wanted and not self._stopping.is_set():
            if self.free(parked=False) > 0:
                self.exchanger.ask()
            asyncio.get_running_loop().call_later(pause, self._ask_for, try_id, min(pause * 2, self.config.heartbeat_s))

    # exchange.Holder

    def wanted(self) -> list[str] | None:
        """See `Holder`."""
        return None if self._wanted is None else list(self._wanted)

    def unwanted(self, try_id: str) -> None:
        """See `Holder`."""
        if self._wanted is not None and try_id in self._wanted:
            del self._wanted[try_id]
            self.on_done(try_id)

    @property
    def heartbeat_s(self) -> float:
        """See `Holder`."""
        return self.config.heartbeat_s

    def hello(self) -> dict[str, Any]:
        """See `Holder`."""
        return self._hello

    def free(self, *, parked: bool) -> int:
        """See `Holder`. The parked call outlives changes of what is free, so it offers all slots but those the server has
        written off already: the server never exceeds `slots` minus what it knows to run here."""
        if self._stopping.is_set() or self._fenced or self.shipper.unsent() > MAX_UNSENT_TOTAL:
            return 0
        if parked:
            busy = sum(held.killing is not None and not held.is_over for held in self.tries.values())
        else:
            busy = sum(not held.is_over for held in self.tries.values())
        return max(self.config.slots - busy, 0)

    def running(self) -> list[str]:
        """See `Holder`."""
        return list(self.tries)

    def accepted(self, sent_at: float, lease_s: float) -> None:
        """See `Holder`."""
        self._accepted_at = max(self._accepted_at, sent_at)
        if self._fenced and not self._overdue():
            log.info("the server answers again: taking work")
            self._fenced = False

    def start(self, order: dict[str, Any]) -> None:
        """See `Holder`."""
        before = self.tries.get(order["try_id"])
        if before is not None:
            if not before.is_over:
                log.error("try %s was ordered again while it runs: ignored", before.id)
                return
            # Parked and due again before the answer to its report arrived: the server has the report.
            self.exchanger.forget(before)
        again = bool(order.get("reschedule_count") or order.get("next_method"))
        held = HeldTry(order, self, self.shipper.open(order["try_id"], order["token"], resumed=again))
        parsed = held.order
        logline.step(log, "The try begins.", try_id=held.id, dag_id=parsed.dag_id, task_id=parsed.task_id, run_id=parsed.run.get("run_id"))
        self.tries[held.id] = held
        if self._wanted is not None:
            self._wanted.pop(held.id, None)
        held.log.system(
            f"Try {parsed.try_number} of {parsed.dag_id}.{parsed.task_id} runs on worker {self.name} ({self.hostname}); "
            f"DAG version {parsed.dag_version_number} from {parsed.relative_fileloc or parsed.dag_file}"
        )
        try:
            path = self.files.find(parsed)
        except BundleError as error:
            self._without_files(held, error)
            return
        if path is None:
            self._fetching[held.id] = asyncio.ensure_future(self._fetch(held, order))
        else:
            self._launch(held, order, path)

    def _launch(self, held: HeldTry, order: dict[str, Any], path: str) -> None:
        if path != order.get("dag_file"):
            self.files.note(order, held.order, path)
        try:
            self.forks.start(held)
        except OSError as error:  # no descriptors left, no memory
            held.lost(f"The worker could not start the task: {error}")

    async def _fetch(self, held: HeldTry, order: dict[str, Any]) -> None:
        """Get the files of a bundle, then launch; a try that was killed meanwhile is not launched."""
        version = held.order.bundle_version
        held.log.system(f"Getting bundle {held.order.bundle_name}" + (f" at {version}" if version else ""))
        try:
            path = await self.files.fetch(held.order)
        except BundleError as error:
            self._without_files(held, error)
        except Exception as error:
            log.exception("bundle %s", held.order.bundle_name)
            self._without_files(held, error)
        else:
            if not held.is_over:
                self._launch(held, order, path)
        finally:
            self._fetching.pop(held.id, None)

    def _without_files(self, held: HeldTry, error: Exception) -> None:
        """No fault of the task: somebody else, or we in a while, may get them."""
        if not held.is_over:
            held.log.system(str(error), "error")
            held.lost(f"The worker could not get the DAG's files: {error}")

    def kill(self, try_id: str, reason: str) -> None:
        """See `Holder`."""
        held = self.tries.get(try_id)
        if held is not None:
            held.kill(reason, held.order.kill_grace_s)

    def settled(self, held: HeldTry, status: int, detail: str) -> None:
        """See `Holder`."""
        if status >= 300:
            log.info("the report of try %s was not wanted (%d): %s", held.id, status, detail, extra={"try_id": held.id})
        else:
            logline.step(log, "The try's report was accepted.", try_id=held.id)
        if self.tries.get(held.id) is held:
            del self.tries[held.id]
            if self._wanted is not None:
                self.on_done(held.id)
        self.files.release(held.id)
        if not self.tries:
            self._drained.set()

    # tries.Host

    def log_is_full(self, one: TryLog) -> bool:
        """See `Host`."""
        return self.shipper.is_full(one)

    def kill_process(self, held: HeldTry, grace_s: float) -> bool:
        """See `Host`."""
        return self.forks.kill(held, grace_s)

    def updated(self, held: HeldTry) -> None:
        """See `Host`."""
        self.exchanger.update(held)

    def finished(self, held: HeldTry) -> None:
        """See `Host`."""
        self.exchanger.report(held)

    # Time

    async def _watch_the_clock(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            ticks += 1
            if ticks % 10 == 0:
                self.forks.retire_idle()
            if self._overdue():
                self._fence()
            probes.turn("The server has not answered for too long; it takes no work and has ended what it ran." if self._fenced else "")

    def _overdue(self) -> bool:
        limit = min((h.order.self_fence_s for h in self.tries.values()), default=self.config.self_fence_s)
        return boottime() - self._accepted_at > limit

    def _fence(self) -> None:
        """Nobody has accepted a sign of life for too long: the server may give our tries to others, so end them now."""
        if not self._fenced:
            self._fenced = True
            log.error("no exchange was accepted for too long: killing %d task(s)", len(self.tries))
        for held in list(self.tries.values()):
            if not held.is_over:
                held.kill("the worker lost contact with the server for too long", 0.0, "lost")

    # The end

    async def _end(self) -> None:
        self.exchanger.unpark()
        busy = [held for held in self.tries.values() if not held.is_over]
        log.info("stopping: %d task(s) running", len(busy))
        self._drained.clear()
        if self.tries:
            await self._wait_drained(self.config.drain_s, or_hurry=True)
        for held in list(self.tries.values()):
            held.kill("the worker was stopped", held.order.kill_grace_s, "lost")
        if self.tries:
            await self._wait_drained(self.config.kill_grace_s + 10)
        await self.shipper.drained(5.0)
        try:
            await self._goodbye.post("/goodbye", {"worker_id": self.worker_id, "epoch": self.exchanger.epoch}, 5.0)
        except (AnswerLost, ConnectFailed) as error:
            log.warning("goodbye did not reach the server: %s", error)
        finally:
            self._goodbye.close()

    async def _wait_drained(self, seconds: float, *, or_hurry: bool = False) -> None:
        waits = [asyncio.ensure_future(self._drained.wait())]
        if or_hurry:
            waits.append(asyncio.ensure_future(self._hurry.wait()))
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
