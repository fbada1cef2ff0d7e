"""Starts, watches and stops the embedded PostgreSQL of one home. Used by `standalone`, and by the tests.

Everything that touches the home happens under a lock (`flock` on `<home>/lock`) that the kernel drops with the
process, so a killed supervisor never blocks the next one. What a home holds: lock, password, port, server.json
(while the server is up), server.log, data. Next door: `cluster` (the data and the command), `processes` (the child),
`server_info` (what others read).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

import psycopg
from psycopg import sql

from config.embedded_postgres import cluster
from config.embedded_postgres.account import Account, choose_account
from config.embedded_postgres.binaries import Installation, find_installation
from config.embedded_postgres.errors import AlreadyRunning, EmbeddedPostgresError, StartFailed
from config.embedded_postgres.lock import HomeLock
from config.embedded_postgres.processes import Child, is_server, leftovers, signal_member
from config.embedded_postgres.server_info import FILE_NAME, ServerInfo, write_server_info

DATABASE = "trackside"
FAST_SHUTDOWN_PATIENCE = (
    30.0  # seconds between SIGINT (sessions cut, data flushed) and SIGQUIT (recovery at next start)
)
LOG_KEEP = 16 * 1024 * 1024
PORT_ATTEMPTS = 3


class EmbeddedPostgres:
    """The PostgreSQL server of one home folder. `durable=False` is for tests: fast, and lost with the machine.

    `settings` overrides server settings by name. `start_timeout` (seconds) bounds the wait for a server that lives but
    does not answer, for instance because it recovers from a crash. Not for use from several threads at once.
    """

    def __init__(
        self,
        home: Path,
        *,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        start_timeout: float = 120.0,
    ) -> None:
        self.home = Path(home).absolute()
        self.durable = durable
        self.settings = dict(settings or {})
        self.start_timeout = start_timeout
        self._lock: HomeLock | None = None
        self._child: Child | None = None
        self._info: ServerInfo | None = None
        self._log_start = 0
        self.owner = os.getpid()

    def __enter__(self) -> ServerInfo:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> ServerInfo:
        """Brings the server up and returns once it has answered a query. After the server died, starts it again.

        Raises AlreadyRunning, NoUsablePostgres or StartFailed; nothing is left running then.
        """
        if self._child is not None and self._child.poll() is None:
            raise AlreadyRunning(f"This process already runs the PostgreSQL of {self.home}.", pid=os.getpid())
        self.stop()
        self.owner = os.getpid()
        self._lock = HomeLock.take(self.home)
        try:
            return self._start_locked()
        except (OSError, psycopg.Error) as error:
            self.stop()
            raise StartFailed(f"The PostgreSQL of {self.home} could not be started: {error}") from error
        except BaseException:
            self.stop()
            raise

    def _start_locked(self) -> ServerInfo:
        # 1. who runs it, and with which programs
        account = choose_account(self.home / "data")
        installation = find_installation(account, self.home)
        # 2. the data, and nothing that is left of a server that crashed or lost its supervisor
        password = cluster.ensure_password(self.home)
        data = cluster.ensure_data(self.home, account, installation, password, durable=self.durable)
        socket_dir = cluster.choose_socket_dir(data, account)
        clear_remains(data, socket_dir, self.home)
        # 3. the server, on its old port if that is free
        for attempt in range(1, PORT_ATTEMPTS + 1):
            info = self._launch(account, installation, data, socket_dir, password)
            if self._await_answer(info, may_retry=attempt < PORT_ATTEMPTS):
                break
        # 4. the database, and the word to everyone else
        self._ensure_database(info)
        write_server_info(self.home, info)
        self._info = info
        return info

    def _launch(
        self, account: Account, installation: Installation, data: Path, socket_dir: Path, password: str
    ) -> ServerInfo:
        port = choose_port(self.home)
        argv = cluster.serve_command(
            data, account, installation, port=port, socket_dir=socket_dir, durable=self.durable, extra=self.settings
        )
        with open_log(self.home) as log:
            self._log_start = log.tell()
            self._child = Child(argv, account, cwd=data, log=log)
        return ServerInfo(
            host=cluster.HOST, port=port, socket_dir=str(socket_dir), user=cluster.SUPERUSER, password=password,
            pid=self._child.pid, cluster=cluster.cluster_name(data), dbname=DATABASE,
        )  # fmt: skip

    def _await_answer(self, info: ServerInfo, *, may_retry: bool) -> bool:
        """Waits for a real answer to a real login. False: somebody took the port in between, try another."""
        assert self._child is not None
        deadline = time.monotonic() + self.start_timeout
        pause = 0.01
        while True:
            problem = self._ask(info)
            if problem is None:
                return True
            if self._child.poll() is not None:
                if may_retry and not is_free(info.port):
                    return False
                raise StartFailed(f"PostgreSQL ended with exit code {self._child.poll()}. {self._log_tail()}")
            if "password authentication failed" in problem:
                raise StartFailed(f"{self.home / 'password'} does not hold the password of {self.home / 'data'}.")
            if time.monotonic() > deadline:
                waited = f"PostgreSQL did not answer in {self.start_timeout:.0f} s ({problem})."
                raise StartFailed(f"{waited} {self._log_tail()}")
            self._child.wait(pause)
            pause = min(pause * 1.5, 0.25)

    def _ask(self, info: ServerInfo) -> str | None:
        try:
            with connect(info, "postgres") as connection:
                answer = connection.execute("SELECT 1, current_setting('cluster_name')").fetchone()
        except psycopg.Error as error:
            return str(error).strip()
        return None if answer == (1, info.cluster) else f"another server answers on port {info.port}: {answer}"

    def _ensure_database(self, info: ServerInfo) -> None:
        with connect(info, "postgres") as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [info.dbname]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(info.dbname)))

    def _log_tail(self) -> str:
        path = self.home / "server.log"
        with path.open("rb") as log:
            log.seek(max(self._log_start, path.stat().st_size - 16_384))
            lines = log.read().decode(errors="replace").splitlines()[-15:]
        return "\n".join([f"The last lines of {path}:", *lines])

    def poll(self) -> int | None:
        """The exit code of a server that died (negative: the signal). None while it runs, and when none was started."""
        return self._child.poll() if self._child is not None else None

    def stop(self) -> None:
        """Stops the server, orderly if it can, and frees the home. No-op if nothing runs, or in a forked child."""
        if self.owner != os.getpid():
            return
        if self._child is not None:
            stop_child(self._child)
            self._child = None
        if self._lock is not None:
            (self.home / FILE_NAME).unlink(missing_ok=True)
            if self._info is not None and Path(self._info.socket_dir) != self.home / "data":
                shutil.rmtree(self._info.socket_dir, ignore_errors=True)
            self._info = None
            self._lock.release()
            self._lock = None


def stop_child(child: Child) -> None:
    """SIGINT (fast), SIGQUIT after 30 s, and SIGKILL for a process that hears neither."""
    for signum, patience in ((signal.SIGINT, FAST_SHUTDOWN_PATIENCE), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
        child.signal(signum)
        if child.wait(patience):
            return
    raise EmbeddedPostgresError(f"The PostgreSQL process {child.pid} does not end, not even by SIGKILL.")


def clear_remains(data: Path, socket_dir: Path, home: Path) -> None:
    """Removes what a killed server or supervisor left: processes of this cluster, pid file, socket files, server.json.

    Called under the lock, so a running server of ours is an orphan on its way out. A pid file names any process once
    ids are reused: only one whose command line bears our cluster name is touched, all others are strangers.
    """
    name = cluster.cluster_name(data)
    deadline = time.monotonic() + FAST_SHUTDOWN_PATIENCE
    signalled: dict[int, int] = {}
    while remaining := leftovers(name):
        late = time.monotonic() > deadline
        if late and time.monotonic() > deadline + 10:
            raise StartFailed(f"An earlier server of {data} does not end: processes {remaining}. Stop them first.")
        leader = next((pid for pid in remaining if is_server(pid, name)), None)
        # Without their main process, backends have nothing to save: recovery starts from the log on disk anyway.
        signum = signal.SIGQUIT if leader is None or late else signal.SIGINT
        for pid in [leader] if leader is not None else remaining:
            if signalled.get(pid) != signum:
                signalled[pid] = signum
                signal_member(pid, name, signum)
        time.sleep(0.02)
    (data / "postmaster.pid").unlink(missing_ok=True)
    for folder in {data, socket_dir}:
        for left in folder.glob(".s.PGSQL.*"):
            left.unlink(missing_ok=True)
    (home / FILE_NAME).unlink(missing_ok=True)


def choose_port(home: Path) -> int:
    """The port of the last start if it is free, else a free one, which is remembered in `<home>/port`."""
    path = home / "port"
    known = path.read_text().strip() if path.exists() else ""
    if known.isdigit() and is_free(int(known)):
        return int(known)
    with socket.socket() as probe:
        probe.bind((cluster.HOST, 0))
        port = int(probe.getsockname()[1])
    path.write_text(f"{port}\n")
    return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does: old connections do not count
        try:
            probe.bind((cluster.HOST, port))
        except OSError:
            return False
    return True


def open_log(home: Path) -> IO[bytes]:
    """The server's log, appended to; moved aside at a start once it is large."""
    path = home / "server.log"
    if path.exists() and path.stat().st_size > LOG_KEEP:
        path.replace(home / "server.log.1")
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def connect(info: ServerInfo, dbname: str) -> psycopg.Connection[tuple[object, ...]]:
    """A connection over TCP with the password, as every other process will make it."""
    return psycopg.connect(
        host=info.host, port=info.port, user=info.user, password=info.password, dbname=dbname,
        autocommit=True, connect_timeout=5, sslmode="disable", gssencmode="disable",
    )  # fmt: skip
