"""One process of the stack: started, its output passed on, started again when it dies, stopped with a deadline."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from config.standalone.console import Console
from config.standalone.parts import Part

LAUNCHER = Path(__file__).with_name("launch.py")
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0
"""Seconds before a part that died is started again; doubled each time."""
STEADY_AFTER = 30.0
"""Seconds of life after which a death counts as the first one again."""


class Running(Protocol):
    """What is needed of a process: asyncio's own, or a fork of the warm one (`forks.Fork`)."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    @property
    def stdout(self) -> asyncio.StreamReader | None: ...
    async def wait(self) -> int: ...
    def terminate(self) -> None: ...


async def spawn(part: Part) -> Process:
    """Starts the process of a part, in a session of its own (Ctrl-C is for the supervisor) and tied to our life.

    To be called from the main thread: the kernel kills the child when the thread that forked it ends.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), *part.argv,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=part.environment, cwd=part.cwd,
        pass_fds=part.fds, start_new_session=True,
    )  # fmt: skip


async def pass_on(stream: asyncio.StreamReader | None, name: str, console: Console) -> None:
    """Prints a child's output until it closes, whole lines at a time; a line without end is cut at 64 KiB."""
    assert stream is not None
    rest = b""
    while chunk := await stream.read(65_536):
        lines, newline, rest = (rest + chunk).rpartition(b"\n")
        if newline:
            console.child(name, lines)
        elif len(rest) > 65_536:
            console.child(name, rest)
            rest = b""
    if rest:
        console.child(name, rest)


class Service:
    """Keeps one part alive: `keep` is the loop, `stop` ends it. `changed` is called whenever the process id changes."""

    def __init__(
        self,
        part: Part,
        launch: Callable[[Part], Awaitable[Running]],
        console: Console,
        database_up: asyncio.Event,
        changed: Callable[[], None],
    ) -> None:
        self.part = part
        self.process: Running | None = None
        self._launch = launch
        self.deaths = 0
        self._console = console
        self._database_up = database_up
        self._changed = changed
        self._stopping = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.process.returncode is None else None

    async def start(self) -> None:
        """Starts the process once, and from then on keeps it alive."""
        self.process = await self._launch(self.part)
        self._keeper = asyncio.create_task(self._keep(self.process), name=f"keep {self.part.name}")

    async def _keep(self, process: Running) -> None:
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            output = asyncio.create_task(pass_on(process.stdout, self.part.name, self._console))
            code = await process.wait()
            await asyncio.wait([output], timeout=0.5)  # not longer: a grandchild may hold the pipe open
            output.cancel()
            if self._stopping.is_set():
                return
            self.deaths += 1
            pause = FIRST_PAUSE if time.monotonic() - began > STEADY_AFTER else pause
            self._console.step(self.part.name, f"ended ({describe(code)}), starts again in {pause:.1f} s")
            if await self._is_told_to_stop_within(pause):
                return
            pause = min(pause * 2, LONGEST_PAUSE)
            if self.part.needs_database:
                await self._database_up.wait()
            try:
                process = self.process = await self._launch(self.part)
            except ConnectionError as error:
                self._console.step(self.part.name, f"could not be started: {error}")
                continue
            if self._stopping.is_set():  # said while it was being started
                process.terminate()
            self._changed()

    async def _is_told_to_stop_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):  # wait_for of Python 3.11 can lose a cancellation
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    def restart(self) -> None:
        """Ends the process so that `keep` starts it again."""
        if self.pid is not None and self.process is not None:
            self.process.terminate()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL to its whole group after the part's patience. Returns when the process is gone."""
        self._stopping.set()
        if self._keeper is None:
            return
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            try:
                async with asyncio.timeout(self.part.patience):
                    await self.process.wait()
            except TimeoutError:
                self._console.step(self.part.name, f"does not stop within {self.part.patience:.0f} s and is killed")
        if self.process is not None:
            self.kill()
            await self.process.wait()
        if not self._keeper.done() and not self._database_up.is_set():
            self._keeper.cancel()  # it waits for a database that will not come back
        if (await asyncio.wait([self._keeper], timeout=self.part.patience))[1]:
            self.kill()
            await asyncio.wait([self._keeper])

    def kill(self) -> None:
        """SIGKILL at once, to the process and to whatever is left of its group."""
        self._stopping.set()
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass


def describe(code: int) -> str:
    """An exit code for people: the signal's name if it was one."""
    if code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"
