"""What survives `kill -9` of the server and of its supervisor, and what a start finds afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import psycopg
import pytest

from config.embedded_postgres import read_server_info
from config.embedded_postgres.processes import leftovers
from conftest import Home, Supervisor, connect, is_alive, until  # type: ignore[attr-defined]


def commit_rows(home: Home, supervisor: Supervisor) -> None:
    """100 committed rows, and one of a transaction that is open when the server dies."""
    with connect(supervisor.server) as connection:
        connection.execute("DROP TABLE IF EXISTS kept")
        connection.execute("CREATE TABLE kept (n int)")
        for n in range(100):
            connection.execute("INSERT INTO kept VALUES (%s)", [n])
    unfinished = psycopg.connect(supervisor.server.url())
    home.clients.append(unfinished)
    unfinished.execute("INSERT INTO kept VALUES (1000)")


def assert_rows_are_kept(supervisor: Supervisor) -> None:
    with connect(supervisor.server) as connection:
        assert connection.execute("SELECT count(*), max(n) FROM kept").fetchone() == (100, 99)


def crash(home: Home) -> Supervisor:
    """Kills server and supervisor at once: nobody can tidy up."""
    supervisor = home.start()
    os.kill(supervisor.server.pid, signal.SIGKILL)
    supervisor.kill()
    until(lambda: not leftovers(supervisor.server.cluster), "the server's processes are gone")
    return supervisor


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any server."""
    process = subprocess.Popen(["sleep", "300"])
    yield process
    process.kill()
    process.wait()


def test_a_killed_server_is_noticed_and_its_restart_has_every_committed_row(home: Home) -> None:
    supervisor = home.start()
    commit_rows(home, supervisor)
    assert supervisor.order("poll") == {"poll": None}
    os.kill(supervisor.server.pid, signal.SIGKILL)
    until(lambda: supervisor.order("poll") == {"poll": -signal.SIGKILL}, "the supervisor sees that the server died")
    assert read_server_info(home.path) is None
    supervisor.restart()
    assert_rows_are_kept(supervisor)


def test_a_killed_supervisor_takes_its_server_along_and_the_next_start_has_every_committed_row(home: Home) -> None:
    first = home.start()
    commit_rows(home, first)
    first.kill()
    second = home.start()  # at once: the old server may still be on its way out
    assert not is_alive(first.server.pid)
    assert set(leftovers(second.server.cluster)) >= {second.server.pid}
    assert_rows_are_kept(second)


def test_no_server_process_outlives_a_killed_supervisor(home: Home) -> None:
    supervisor = home.start()
    assert leftovers(supervisor.server.cluster)
    supervisor.kill()
    until(lambda: not leftovers(supervisor.server.cluster), "the server ends with its supervisor")
    assert read_server_info(home.path) is None


def test_a_stale_pid_file_that_names_a_stranger_harms_neither_the_start_nor_the_stranger(
    home: Home, stranger: subprocess.Popen[bytes]
) -> None:
    old = crash(home).server
    pid_files = [home.path / "data" / "postmaster.pid", home.path / "data" / f".s.PGSQL.{old.port}.lock"]
    for pid_file in pid_files:
        lines = pid_file.read_text().splitlines()
        assert lines[0] == str(old.pid)
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
    supervisor = home.start()
    assert supervisor.server.port == old.port
    with connect(supervisor.server) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    supervisor.stop()
    assert stranger.poll() is None


def test_a_server_started_from_a_thread_outlives_that_thread(home: Home) -> None:
    supervisor = home.start("thread")
    with connect(supervisor.server) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert supervisor.order("poll") == {"poll": None}


def test_a_forked_child_of_a_killed_supervisor_does_not_keep_the_home(home: Home) -> None:
    supervisor = home.start("fork")
    forked = supervisor.answer["forked"]
    try:
        supervisor.kill()
        assert is_alive(forked)
        with connect(home.start().server) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        os.kill(forked, signal.SIGKILL)


def test_ctrl_c_in_the_terminal_reaches_the_supervisor_but_not_the_server(home: Home) -> None:
    supervisor = home.start()
    assert os.getpgid(supervisor.server.pid) != os.getpgid(supervisor.process.pid)
    assert os.getsid(supervisor.server.pid) != os.getsid(supervisor.process.pid)
