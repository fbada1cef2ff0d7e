"""Starts a stack in order, keeps it alive, stops it in reverse. `Stack.run` reads top-down as the life of a stack."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Coroutine
from typing import Any

from config.embedded_postgres import EmbeddedPostgresError
from config.env import env_str
from config.standalone.console import Console
from config.standalone.database import Database
from config.standalone.forks import Forks
from config.standalone.home import CannotStart, take_home, take_port
from config.standalone.options import Options
from config.standalone.parts import Part, lasting_parts, prepare_part, warm_part
from config.standalone.readiness import live_processes, web_answers
from config.standalone.ready_file import write_ready_file
from config.standalone.services import Running, Service, describe, spawn
from trackside import __version__

COMPLAIN_AFTER = 60.0
"""Seconds after which a start that is not ready says what it waits for."""


class Stack:
    """One Trackside on this machine."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.console = Console()
        self.database = Database(options.home, options.database_url, self.console)
        self.forks = Forks(warm_part(options), self.console)
        self.services: list[Service] = []
        self.admin: dict[str, Any] = {}
        self._stop_wanted = asyncio.Event()
        self._is_ready = False
        self._lock: int | None = None
        self._listener: socket.socket | None = None

    async def run(self) -> int:
        """The whole life; returns the exit code. 0: it ran and was told to stop."""
        self._listen_to_signals()
        try:
            self._take_places()
            if await self._unless_stopped(self._start()):
                await self._unless_stopped(self._keep_database())
        except (CannotStart, EmbeddedPostgresError) as error:
            self.console.say(f"Trackside cannot start. {error}")
            return 1
        except ConnectionError:
            await self.forks.stop()  # which lets it finish its last lines
            self.console.say("Trackside cannot start. Its server cannot be loaded: the lines of `warm` above say why.")
            return 1
        finally:
            await self._stop()
        return 0

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(signum) is not signal.SIG_IGN:  # nohup
                loop.add_signal_handler(signum, self._on_signal)

    def _on_signal(self) -> None:
        if self._stop_wanted.is_set():  # the second Ctrl-C: at once
            for service in self.services:
                service.kill()
        self._stop_wanted.set()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Does the work unless a signal comes first. False: one came."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stop_wanted.wait())
        await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        stop.cancel()
        if not task.cancelled() and (error := task.exception()) is not None and not self._stop_wanted.is_set():
            raise error
        return not self._stop_wanted.is_set()

    # --- start ------------------------------------------------------------------------------------------------------
    def _take_places(self) -> None:
        self._lock = take_home(self.options.home)
        self._listener = take_port(self.options.host, self.options.port)
        if self.options.ready_file is not None:
            self.options.ready_file.unlink(missing_ok=True)

    async def _start(self) -> None:
        assert self._listener is not None
        self.console.step("Trackside", f"{__version__}, home {self.options.home}, DAG files {self.options.dags_folder}")
        # 1. the database, its tables and the first user; meanwhile the warm process imports what it can
        await self.forks.start()
        await self.database.start()
        self.forks.set_up({})
        parts = lasting_parts(self.options, self._listener.fileno())
        self.services = [Service(p, self._launch, self.console, self.database.up, self._pids_changed) for p in parts]
        await self._start_services(that_need_the_database=False)
        await self._prepare()
        # 2. everything else at once: each of them waits for what it needs
        await self._start_services(that_need_the_database=True)
        # 3. the good news, once it is true
        await self._await_answers()
        self._is_ready = True
        self._pids_changed()
        self._announce()

    async def _start_services(self, *, that_need_the_database: bool) -> None:
        for service in self.services:
            if service.part.needs_database == that_need_the_database:
                await service.start()

    async def _prepare(self) -> None:
        part = prepare_part(self.options, env_str("TRACKSIDE_ADMIN_PASSWORD"))
        process = await self._launch(part)
        self.forks.load()
        assert process.stdout is not None
        said = (await process.stdout.read()).decode(errors="replace").strip()
        code = await process.wait()
        if code != 0:
            raise CannotStart(f"The tables could not be prepared ({describe(code)}):\n{said}")
        self.admin = json.loads(said.splitlines()[-1])
        self.console.step("migrations", f"{self.admin['migrations']} applied" if self.admin["migrations"] else "up to date")

    async def _launch(self, part: Part) -> Running:
        return await (self.forks.fork(part) if part.is_forked else spawn(part))

    async def _await_answers(self) -> None:
        waiting: dict[str, Service] = {service.part.name: service for service in self.services}
        loop = asyncio.get_running_loop()
        complain_at = loop.time() + COMPLAIN_AFTER
        while waiting:
            if "web" in waiting:
                arrived = {"web"} if await web_answers(self.options.url) else set()
            else:
                live = await asyncio.to_thread(live_processes, self.database.url)
                arrived = {name for name, service in waiting.items() if (name, service.pid) in live}
            for name in sorted(arrived):
                self.console.step(name, self.options.url if name == "web" else f"process {waiting[name].pid}")
                del waiting[name]
            if waiting and not arrived:
                await asyncio.sleep(0.05)
            if waiting and loop.time() > complain_at:
                self.console.step("Trackside", f"still waits for {', '.join(waiting)}: see their lines above")
                complain_at = loop.time() + COMPLAIN_AFTER

    def _announce(self) -> None:
        self.console.step("ready", f"{self.options.url} – stop with Ctrl-C")
        if self.admin.get("generated"):
            self.console.say(
                f"Sign in as {self.admin['user']} with the password {self.admin['password']} "
                "(shown only this once; you will be asked for one of your own)."
            )

    def _pids_changed(self) -> None:
        if self.options.ready_file is None or not self._is_ready:
            return
        pids = {"supervisor": os.getpid(), "postgres": self.database.pid}
        pids |= {service.part.name: service.pid for service in self.services}
        write_ready_file(
            self.options.ready_file,
            {"url": self.options.url, "user": self.admin["user"], "password": self.admin["password"], "pids": pids},
        )

    # --- life -------------------------------------------------------------------------------------------------------
    async def _keep_database(self) -> None:
        while True:
            code = await self.database.has_died()
            self.console.step("database", f"ended ({describe(code)}), starts again")
            moved = await self.database.revive()
            self.console.step("database", "is back")
            if moved:  # its old port was taken: the others would look for it there
                await self.forks.stop()
                for service in self.services:
                    if service.part.needs_database:
                        service.restart()
            self._pids_changed()

    # --- stop -------------------------------------------------------------------------------------------------------
    async def _stop(self) -> None:
        self._is_ready = False
        if self._lock is None:  # nothing was ours: not even the ready file
            return
        if self.options.ready_file is not None:
            self.options.ready_file.unlink(missing_ok=True)
        if self._listener is not None:
            self._listener.close()
        for service in reversed(self.services):
            await service.stop()
            self.console.step(service.part.name, "stopped")
        await self.forks.stop()
        was_up = self.database.pid is not None
        await self.database.stop()
        if was_up:
            self.console.step("database", "stopped")
        os.close(self._lock)
