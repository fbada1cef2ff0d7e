"""The agent's side of the fork server: which process forks which try, and what happens when one of them dies.

For `agent` and the single runner. `ForkServer.start` hands a try to the zygote of its DAG file, making one if needed; the
least recently used ones are let go. The other side of the sockets is `forkserver`.
"""

from __future__ import annotations

import array
import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trackside.core.environment import scrubbed
from trackside.runner import procs
from trackside.runner.jsonio import dumps, loads
from trackside.runner.tries import HeldTry

if TYPE_CHECKING:
    from trackside.runner.ahead import Ahead

MAX_ZYGOTES = 128
KEEP_ZYGOTES = 8
"""So many may stay for `LONG_IDLE_S`; the others go after `SHORT_IDLE_S` without work."""
SHORT_IDLE_S = 30.0
LONG_IDLE_S = 600.0
LOAD_TIMEOUT_S = 30.0
"""A file that takes longer to import is imported by the task processes themselves."""
UNFIT_FOR_S = 60.0
"""How long the verdict on a file that could not be kept imported holds."""

log = logging.getLogger(__name__)


class AgentChannel:
    """The event loop's end of a channel to a forker (`channel.BlockingChannel` is the other)."""

    def __init__(
        self, on_message: Callable[[dict[str, Any]], None], on_eof: Callable[[], None],
        pair: tuple[socket.socket, socket.socket] | None = None,
    ) -> None:  # fmt: skip
        self._sock, self.theirs = pair or socket.socketpair()
        self._sock.setblocking(False)
        self._on_message = on_message
        self._on_eof = on_eof
        self._data = bytearray()
        self._queue: deque[tuple[bytes, list[int]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), self._read)
        self.closed = False

    def send(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        """Send one line; `fds` go with it and are closed here."""
        fds = fds or []
        if fds:
            message["fds"] = len(fds)
        self._queue.append((dumps(message) + b"\n", fds))
        self._push()

    def close(self) -> None:
        """Hang up: the forker kills what it still has and ends."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self.theirs.close()
        for _, fds in self._queue:
            _close_all(fds)
        self._queue.clear()

    def _push(self) -> None:
        while self._queue and not self.closed:
            data, fds = self._queue[0]
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                sent = self._sock.sendmsg([data], ancillary)
            except BlockingIOError:
                self._loop.add_writer(self._sock.fileno(), self._push)
                return
            except OSError:
                sent = len(data)  # the forker is gone; its EOF tells what that means
            _close_all(fds)
            self._queue.popleft()
            if sent < len(data):
                self._queue.appendleft((data[sent:], []))
        if not self.closed:
            self._loop.remove_writer(self._sock.fileno())

    def _read(self) -> None:
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            self._on_eof()
            return
        self._data += data
        *lines, self._data = self._data.split(b"\n")
        for line in lines:
            self._on_message(loads(line))


@dataclass(eq=False, slots=True)
class Forker:
    """The fork server itself (number 0) or one zygote."""

    number: int
    channel: AgentChannel
    key: tuple[Any, ...] = ()
    ready: bool = False
    retired: bool = False
    """Takes no more tries; hung up as soon as the last one has ended."""
    waiting: list[HeldTry] = field(default_factory=list)
    running: dict[str, HeldTry] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    """dag id → DAG version number it was first used for: a newer one may come from data the file reads."""
    used: float = field(default_factory=time.monotonic)
    timeout: asyncio.TimerHandle | None = None


class ForkServer:
    """Starts tries in processes. `settings`: api_url, cwd, and optionally loader, run, preload, cold (see `forkserver`), and
    single: it is for one try, whose process imports the DAG file itself."""

    def __init__(self, settings: dict[str, Any], *, sweep: bool = False) -> None:
        self.settings = settings
        self._sweep = sweep
        """This process is a subreaper with no children of its own: what falls to it is killed."""
        self._base: Forker | None = None
        self._process: subprocess.Popen[bytes] | Ahead | None = None
        self._zygotes: OrderedDict[tuple[Any, ...], Forker] = OrderedDict()
        self._by_number: dict[int, Forker] = {}
        self._homes: dict[str, Forker] = {}
        """Try id → who forked it."""
        self._unfit: dict[tuple[Any, ...], float] = {}
        self._numbers = 0
        self._stopping = False
        self._restarts = 0

    def start_server(self, ahead: Ahead | None = None) -> None:
        """Start the fork server: a fresh interpreter with a clean environment, or what was forked `ahead`."""
        channel = AgentChannel(self._from_base, self._base_gone, ahead.pair if ahead is not None else None)
        self._process = ahead or _fresh(channel.theirs.fileno())
        channel.theirs.close()
        self._base = Forker(0, channel, ready=True)
        self._by_number = {0: self._base}
        channel.send(dict(self.settings))

    async def stop(self, timeout_s: float = 15.0) -> None:
        """Hang up and wait until the fork server has killed everything and left."""
        self._stopping = True
        for forker in list(self._by_number.values()):
            forker.channel.close()
        if self._process is not None:
            try:
                await asyncio.to_thread(self._process.wait, timeout_s)
            except (subprocess.TimeoutExpired, TimeoutError):
                self._process.kill()
                self._process.wait()
        self._sweep_orphans()

    async def abandon(self) -> None:
        """`stop` for one that was given nothing to do, however far it has come with its imports."""
        self._stopping = True
        if self._process is not None:
            self._process.kill()
        await self.stop()

    # Tries

    def start(self, held: HeldTry) -> None:
        """Have a process forked for this try by whoever is right for its file."""
        forker = self._forker_for(held)
        if forker.ready:
            self._hand_over(forker, held)
        else:
            forker.waiting.append(held)
            self._homes[held.id] = forker

    def kill(self, held: HeldTry, grace_s: float) -> bool:
        """Kill its process tree. False if it waits for its zygote: then it is forgotten."""
        forker = self._homes.get(held.id)
        if forker is None or held in forker.waiting:
            if forker is not None:
                forker.waiting.remove(held)
                del self._homes[held.id]
            return False
        forker.channel.send({"op": "kill", "try": held.id, "grace": grace_s})
        return True

    def retire_idle(self) -> None:
        """Let zygotes go that had nothing to do for a while; called every few seconds."""
        now = time.monotonic()
        idle = [z for z in self._zygotes.values() if not z.running and not z.waiting]
        for position, zygote in enumerate(reversed(idle)):
            if now - zygote.used > (LONG_IDLE_S if position < KEEP_ZYGOTES else SHORT_IDLE_S):
                self._retire(zygote)

    def _hand_over(self, forker: Forker, held: HeldTry) -> None:
        forker.used = time.monotonic()
        forker.running[held.id] = held
        self._homes[held.id] = forker
        forker.channel.send({"op": "start", "try": held.id}, held.open())

    def _forker_for(self, held: HeldTry) -> Forker:
        assert self._base is not None
        order = held.order
        if self.settings.get("single"):  # a process that is kept with the file imported pays from the second try on
            return self._base
        key = (order.dag_file, order.file_hash, *_fingerprint(order.dag_file))
        if not self._base.ready or self._unfit.get(key, 0.0) > time.monotonic():
            return self._base
        zygote = self._zygotes.get(key)
        if zygote is not None and order.dag_version_number > zygote.versions.get(order.dag_id, order.dag_version_number):
            self._retire(zygote)
            zygote = None
        if zygote is None:
            zygote = self._new_zygote(key, order.dag_file, order.relative_fileloc)
        zygote.versions.setdefault(order.dag_id, order.dag_version_number)
        self._zygotes.move_to_end(key)
        return zygote

    def _new_zygote(self, key: tuple[Any, ...], path: str, relative: str) -> Forker:
        assert self._base is not None
        while len(self._zygotes) >= MAX_ZYGOTES:
            self._retire(next(iter(self._zygotes.values())))
        self._numbers += 1
        number = self._numbers
        channel = AgentChannel(lambda message: self._from_zygote(number, message), lambda: None)
        zygote = self._zygotes[key] = self._by_number[number] = Forker(number, channel, key)
        from trackside.runner.loading import dags_folder_of  # brings the SDK, which a single try needs in its fork server only

        message = {"op": "zygote", "id": number, "path": path, "dags_folder": dags_folder_of(path, relative)}
        self._base.channel.send(message, [channel.theirs.detach()])
        zygote.timeout = asyncio.get_running_loop().call_later(LOAD_TIMEOUT_S, self._too_slow, zygote)
        return zygote

    def _retire(self, zygote: Forker) -> None:
        zygote.retired = True
        if self._zygotes.get(zygote.key) is zygote:
            del self._zygotes[zygote.key]
        if not zygote.running and not zygote.waiting:
            zygote.channel.close()

    # News from forkers

    def _from_zygote(self, number: int, message: dict[str, Any]) -> None:
        zygote = self._by_number[number]
        match message["op"]:
            case "ready":
                zygote.ready = True
                self._loaded(zygote)
                waiting, zygote.waiting = zygote.waiting, []
                for held in waiting:
                    self._hand_over(zygote, held)
            case "unfit":
                log.info("%s is imported anew for each task: %s", zygote.key[0], message["reason"])
                self._without_zygote(zygote)
            case "stale":
                self._retire(zygote)
            case _:
                self._about_try(zygote, message)

    def _from_base(self, message: dict[str, Any]) -> None:
        assert self._base is not None
        number = message.get("id")
        if message["op"] == "zygote_gone" or (message["op"] == "refused" and number is not None):
            zygote = self._by_number.pop(message["id"], None)
            if zygote is not None:
                self._zygote_gone(zygote, message)
        else:
            self._about_try(self._base, message)

    def _about_try(self, forker: Forker, message: dict[str, Any]) -> None:
        held = forker.running.get(message["try"])
        if held is None:
            return
        if message["op"] == "started":
            held.started(message["pid"])
            return
        del forker.running[held.id]
        if self._homes.get(held.id) is forker:
            del self._homes[held.id]
        if message["op"] == "refused":
            held.lost(f"The worker could not start a process for the task ({message['error']})")
        else:
            held.exited(message["status"])
        if forker.retired and not forker.running and not forker.waiting:
            forker.channel.close()

    def _loaded(self, zygote: Forker) -> None:
        if zygote.timeout is not None:
            zygote.timeout.cancel()
            zygote.timeout = None

    def _too_slow(self, zygote: Forker) -> None:
        assert self._base is not None
        log.warning("%s takes longer than %g s to import", zygote.key[0], LOAD_TIMEOUT_S)
        self._base.channel.send({"op": "kill", "id": zygote.number, "grace": 0.0})
        self._without_zygote(zygote)

    def _without_zygote(self, zygote: Forker) -> None:
        """Its waiting tries go to the fork server, as those of the same file will for a while."""
        assert self._base is not None
        self._loaded(zygote)
        now = time.monotonic()
        self._unfit = {key: until for key, until in self._unfit.items() if until > now}
        self._unfit[zygote.key] = now + UNFIT_FOR_S
        waiting, zygote.waiting = zygote.waiting, []
        self._retire(zygote)
        for held in waiting:
            self._hand_over(self._base, held)

    def _zygote_gone(self, zygote: Forker, message: dict[str, Any]) -> None:
        zygote.channel.close()
        if not zygote.retired:
            log.warning("the template process of %s ended (%s)", zygote.key[0], message.get("error") or message.get("status"))
            self._without_zygote(zygote)
        for held in self._forget(zygote):
            held.lost("The process that started this task died, and the task with it")

    def _forget(self, forker: Forker) -> list[HeldTry]:
        running, forker.running = list(forker.running.values()), {}
        for held in running:
            if self._homes.get(held.id) is forker:
                del self._homes[held.id]
        return running

    def _base_gone(self) -> None:
        """The fork server died: its zygotes and their tries died with it (PDEATHSIG); start another one."""
        if self._stopping:
            return
        assert self._process is not None
        status = self._process.wait()
        log.error("the fork server ended (%s); starting another one", status)
        self._sweep_orphans()
        forkers, self._by_number, self._zygotes = list(self._by_number.values()), {}, OrderedDict()
        if self._base is not None:
            self._base.ready = False  # tries that come meanwhile wait in it
        again: list[HeldTry] = []
        for forker in forkers:
            self._loaded(forker)
            forker.channel.close()
            again += forker.waiting
            forker.waiting = []
            for held in self._forget(forker):
                held.lost("The worker's fork server died, and the task with it")
        self._restarts += 1
        pause = min(0.1 * 2**self._restarts, 10) if self._restarts > 1 else 0
        asyncio.get_running_loop().call_later(pause, self._restart, again)

    def _restart(self, again: list[HeldTry]) -> None:
        if self._stopping:
            return
        before = self._base
        self.start_server()
        for held in (*again, *(before.waiting if before else ())):
            self._homes.pop(held.id, None)
            if not held.is_over:
                self.start(held)

    def _sweep_orphans(self) -> None:
        if not self._sweep:
            return
        until = time.monotonic() + 5
        while procs.kill_orphans(thorough=True) and time.monotonic() < until:
            time.sleep(0.01)


def _fresh(channel: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "trackside.runner.forkserver", str(channel)],
        pass_fds=[channel],
        stdin=subprocess.DEVNULL,
        # Symbols are bound now, once, and not by every fork again when it first uses them.
        env={**scrubbed(os.environ), "LD_BIND_NOW": "1"},
        start_new_session=True,
    )


def _fingerprint(path: str) -> tuple[int, ...]:
    try:
        info = os.stat(path)  # noqa: PTH116 - once per start
    except OSError:
        return ()
    return info.st_ino, info.st_size, info.st_mtime_ns


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
