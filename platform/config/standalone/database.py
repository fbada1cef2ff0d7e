"""The stack's database: the embedded PostgreSQL of the home, kept alive, or the server that DATABASE_URL names."""

from __future__ import annotations

import asyncio
from pathlib import Path

from config.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError, ServerInfo
from config.standalone.console import Console

LOOK_EVERY = 0.5
LONGEST_PAUSE = 15.0


class Database:
    """`up` is set while children may be started. The server is started and stopped in threads: both take a while."""

    def __init__(self, home: Path, url: str, console: Console) -> None:
        self.url = url
        self.up = asyncio.Event()
        self._console = console
        self._server = None if url else EmbeddedPostgres(home)
        self._info: ServerInfo | None = None
        self._starting: asyncio.Task[ServerInfo] | None = None

    @property
    def pid(self) -> int | None:
        """The embedded server's main process; None for a server of someone else."""
        return self._info.pid if self._info is not None else None

    async def start(self) -> None:
        """Raises EmbeddedPostgresError with a sentence for people."""
        if self._server is None:
            self._console.step("database", "from DATABASE_URL")
        else:
            await self._start_server(self._server)
            assert self._info is not None
            self._console.step("database", f"embedded PostgreSQL on {self._info.host}:{self._info.port}")
        self.up.set()

    async def _start_server(self, server: EmbeddedPostgres) -> None:
        # Shielded: a thread cannot be cancelled, and `stop` must know that it is still at it.
        self._starting = asyncio.create_task(asyncio.to_thread(server.start))
        self._info = await asyncio.shield(self._starting)
        self.url = self._info.url()

    async def has_died(self) -> int:
        """Returns the exit code once the embedded server is gone; never for a server of someone else."""
        if self._server is None:
            await asyncio.Event().wait()
            raise AssertionError
        while (code := self._server.poll()) is None:  # noqa: ASYNC110 (a thread reaps it, and offers no event)
            await asyncio.sleep(LOOK_EVERY)
        self.up.clear()
        return code

    async def revive(self) -> bool:
        """Starts the embedded server again until it runs. True: it moved to another address."""
        assert self._server is not None
        before, pause = self.url, 0.5
        while True:
            try:
                await self._start_server(self._server)
                break
            except EmbeddedPostgresError as error:
                self._console.step("database", f"did not come back, next attempt in {pause:.1f} s: {error}")
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        self.up.set()
        return self.url != before

    async def stop(self) -> None:
        """The embedded server flushes and ends; a server of someone else is left alone."""
        self.up.clear()
        if self._starting is not None:
            await asyncio.wait([self._starting])
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)
            self._info = None
