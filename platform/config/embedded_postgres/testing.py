"""The PostgreSQL of the test suite: one server without durability per test session, shared by all its workers.

Used by the root conftest.py. The process that starts the server also stops it; its children (pytest-xdist's workers,
programs under test) find it in DATABASE_URL. An environment that already has a DATABASE_URL is left as it is.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from config.embedded_postgres.errors import EmbeddedPostgresError
from config.embedded_postgres.server_info import ServerInfo, read_server_info
from config.embedded_postgres.supervisor import EmbeddedPostgres

HOME_VARIABLE = "TRACKSIDE_TEST_POSTGRES_HOME"
HOME_PREFIX = "trackside-test-postgres-"
ABANDONED_AFTER = 3600.0  # seconds; only then is a home whose lock is free certain not to be one that is just starting

_running: EmbeddedPostgres | None = None


def ensure_database_url() -> str:
    """Sets DATABASE_URL to the shared server, started if need be, unless the environment names one. Returns it."""
    if "DATABASE_URL" not in os.environ:
        try:
            os.environ["DATABASE_URL"] = shared_test_server().url()
        except EmbeddedPostgresError as error:
            raise pytest.UsageError(f"The PostgreSQL of the tests did not start. {error}") from error
    return os.environ["DATABASE_URL"]


def shared_test_server() -> ServerInfo:
    """The server of this test session. The first caller starts it; it and its children (workers) then share it."""
    global _running
    named = os.environ.get(HOME_VARIABLE)
    info = read_server_info(Path(named)) if named else None
    if info is not None:
        return info
    _sweep_abandoned()
    home = Path(tempfile.mkdtemp(prefix=HOME_PREFIX))
    server = EmbeddedPostgres(home, durable=False)
    try:
        info = server.start()
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    _running = server
    os.environ[HOME_VARIABLE] = str(home)
    atexit.register(stop_shared_test_server)
    return info


def stop_shared_test_server() -> None:
    """Stops the server if this process started it, and takes back the variables that led to it."""
    global _running
    server, _running = _running, None
    if server is None or server.owner != os.getpid():
        return
    info = read_server_info(server.home)
    server.stop()
    shutil.rmtree(server.home, ignore_errors=True)
    os.environ.pop(HOME_VARIABLE, None)
    if info is not None and os.environ.get("DATABASE_URL") == info.url():
        del os.environ["DATABASE_URL"]


def _sweep_abandoned() -> None:
    """Removes homes of killed test sessions: ours, old, and with a free lock. Their servers died with them."""
    for home in Path(tempfile.gettempdir()).glob(HOME_PREFIX + "*"):
        try:
            found = home.lstat()
            if found.st_uid != os.geteuid() or time.time() - found.st_mtime < ABANDONED_AFTER:
                continue
            with (home / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(home, ignore_errors=True)
        except OSError:
            continue
