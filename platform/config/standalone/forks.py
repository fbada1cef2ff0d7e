"""The supervisor's side of the warm process (`warm`): has it fork the server's processes and hears how they end.

The control socket carries one JSON packet per message. Down: `setup` (environment), `load`, `fork` (number, entry,
environment; with the descriptors of the output pipe and perhaps of web's listening socket). Up: `forked` (number,
process id), `ended` (process id, exit code). When the warm process dies, all its forks have died with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from asyncio.subprocess import Process
from dataclasses import replace
from typing import Any

from config.standalone.console import Console
from config.standalone.parts import Part
from config.standalone.services import pass_on, spawn

PACKET = 65_536
KILLED = -signal.SIGKILL


class Fork:
    """A process that the warm one forked for us; speaks like asyncio's Process as far as `services` needs it."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader, pipe: asyncio.BaseTransport) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._pipe = pipe
        self._ended = asyncio.Event()

    async def wait(self) -> int:
        """The exit code, once it has ended."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def terminate(self) -> None:
        """SIGTERM, unless it has ended."""
        if self.returncode is None:
            try:
                os.kill(self.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass

    def has_ended(self, code: int) -> None:
        """Called when the warm process says so, or is gone itself."""
        self.returncode = code
        self._ended.set()
        asyncio.get_running_loop().call_later(2.0, self._pipe.close)  # a grandchild may hold the other end for ever


class Forks:
    """Starts the warm process when it is needed, and again after it died."""

    def __init__(self, part: Part, console: Console) -> None:
        self._part = part
        self._console = console
        self._environment: dict[str, str] | None = None
        self._process: Process | None = None
        self._control: socket.socket | None = None
        self._asked: dict[int, tuple[asyncio.Future[Fork], asyncio.StreamReader, asyncio.BaseTransport]] = {}
        self._running: dict[int, Fork] = {}
        self._output: asyncio.Task[None] | None = None
        self._number = 0
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Begins the imports that need no database. After a death: also all the others."""
        async with self._starting:
            if self._control is not None:
                return
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                number = theirs.fileno()
                self._process = await spawn(replace(self._part, argv=[*self._part.argv, str(number)], fds=(number,)))
            ours.setblocking(False)
            self._control = ours
            loop = asyncio.get_running_loop()
            loop.add_reader(ours, self._hear)
            self._output = loop.create_task(pass_on(self._process.stdout, self._part.name, self._console))
            if self._environment is not None:
                self._say({"do": "setup", "environment": self._environment})
                self._say({"do": "load"})

    def set_up(self, environment: dict[str, str]) -> None:
        """The database is there: settings and models may be imported now. `environment`: what changed since `start`."""
        self._environment = environment
        self._say({"do": "setup", "environment": environment})

    def load(self) -> None:
        """Import the rest while something else is waited for."""
        self._say({"do": "load"})

    async def fork(self, part: Part) -> Fork:
        """A new process for this part. Raises ConnectionError when the warm process died over it."""
        await self.start()
        read, write = os.pipe()
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read, "rb", buffering=0))
        self._number += 1
        answer: asyncio.Future[Fork] = loop.create_future()
        self._asked[self._number] = answer, reader, pipe
        try:
            order = {"do": "fork", "number": self._number, "entry": part.name, "environment": part.more_environment}
            self._say(order, [write, *part.fds])
        finally:
            os.close(write)
        return await answer

    async def stop(self) -> None:
        """Ends the warm process, and with it whatever it forked and is still there."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._lose()
        if self._output is not None:
            await asyncio.wait([self._output], timeout=1.0)

    def _say(self, packet: dict[str, Any], fds: list[int] | None = None) -> None:
        if self._control is None:
            self._lose()
            return
        try:
            socket.send_fds(self._control, [json.dumps(packet).encode()], fds or [])
        except OSError:
            self._lose()

    def _hear(self) -> None:
        assert self._control is not None
        try:
            packet = self._control.recv(PACKET)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._lose()
            return
        said = json.loads(packet)
        if "forked" in said:
            answer, reader, pipe = self._asked.pop(said["forked"])
            fork = self._running[said["pid"]] = Fork(said["pid"], reader, pipe)
            if not answer.cancelled():
                answer.set_result(fork)
        elif said["ended"] in self._running:
            self._running.pop(said["ended"]).has_ended(said["code"])

    def _lose(self) -> None:
        """The warm process is gone, and with it everything it had forked."""
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None
        asked, self._asked = self._asked, {}
        for answer, _, pipe in asked.values():
            pipe.close()
            if not answer.done():
                answer.set_exception(ConnectionError("the warm process died"))
        running, self._running = self._running, {}
        for fork in running.values():
            fork.has_ended(KILLED)
