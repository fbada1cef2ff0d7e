"""Start, stop and restart of the embedded PostgreSQL, with real servers and real users."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
from pathlib import Path

import psycopg
import pytest

from config.embedded_postgres import ServerInfo, read_server_info
from conftest import AS_ROOT, Home, connect, is_alive  # type: ignore[attr-defined]


def owner_of_process(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def test_the_first_start_gives_a_server_that_answers_over_tcp_and_over_its_socket(fresh: Home) -> None:
    server = fresh.start().server
    for tcp in (True, False):
        with connect(server, tcp=tcp) as connection:
            row = connection.execute(
                "SELECT current_database(), current_setting('max_connections')::int, datlocprovider::text, datlocale "
                "FROM pg_database WHERE datname = current_database()"
            ).fetchone()
            assert row == ("trackside", 200, "b", "C.UTF-8")
            assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)


def test_the_server_never_runs_as_root_and_the_folders_above_the_home_stay_closed(fresh: Home) -> None:
    above = fresh.path.parent
    before = [(path.stat().st_mode, path.stat().st_uid) for path in (above, above.parent)]
    server = fresh.start().server
    assert owner_of_process(server.pid) != 0
    assert [(path.stat().st_mode, path.stat().st_uid) for path in (above, above.parent)] == before
    assert stat.S_IMODE(above.stat().st_mode) == 0o700


def test_the_address_is_in_server_json_only_while_the_server_is_up(home: Home) -> None:
    supervisor = home.start()
    written = home.path / "server.json"
    assert ServerInfo(**json.loads(written.read_text())) == supervisor.server == read_server_info(home.path)
    supervisor.stop()
    assert not written.exists()
    assert read_server_info(home.path) is None
    assert not is_alive(supervisor.server.pid)


def test_files_that_hold_a_secret_are_for_their_owner_only(home: Home) -> None:
    server = home.start().server
    for name in ("password", "server.json", "server.log", "lock"):
        assert stat.S_IMODE((home.path / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE((home.path / "data").stat().st_mode) == 0o700
    assert server.password not in (home.path / "server.log").read_text()
    assert server.password not in Path(f"/proc/{server.pid}/cmdline").read_text()
    assert server.password not in repr(server)


def test_a_restart_keeps_the_data_and_the_port(home: Home) -> None:
    first = home.start()
    with connect(first.server) as connection:
        connection.execute("CREATE TABLE remembered AS SELECT 42 AS answer")
    first.stop()
    second = home.start()
    assert second.server.port == first.server.port
    with connect(second.server) as connection:
        assert connection.execute("SELECT answer FROM remembered").fetchone() == (42,)


def test_another_port_is_taken_when_the_old_one_is_in_use(home: Home) -> None:
    old = int((home.path / "port").read_text())
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", old))
        squatter.listen()
        server = home.start().server
    assert server.port != old
    with connect(server) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_second_start_is_refused_and_names_the_process_that_has_the_home(home: Home) -> None:
    first = home.start()
    second = home.start()
    assert second.answer["refused"] == "AlreadyRunning"
    assert second.answer["holder"] == first.process.pid
    assert f"process {first.process.pid}" in second.answer["message"]
    assert "DATABASE_URL" in second.answer["message"]
    with connect(first.server) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_wrong_password_is_refused_over_tcp_and_over_the_socket(home: Home) -> None:
    server = home.start().server
    for tcp in (True, False):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(server, tcp=tcp, password="wrong")


def test_a_stop_does_not_wait_for_clients(home: Home) -> None:
    supervisor = home.start()
    with connect(supervisor.server) as client:
        supervisor.stop()
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
    assert "database system is shut down" in (home.path / "server.log").read_text()


@pytest.mark.parametrize("name", ["x" * 100, "a, b"])
def test_a_home_whose_path_no_socket_can_have_gets_a_private_socket_folder_elsewhere(home: Home, name: str) -> None:
    usual, home.path = home.path, home.path.rename(home.path.with_name(name))
    try:
        supervisor = home.start()
        folder = Path(supervisor.server.socket_dir)
        assert len(os.fsencode(folder)) < 107 and home.path not in folder.parents
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with connect(supervisor.server, tcp=False) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        supervisor.stop()
        assert not folder.exists()
    finally:
        home.path.rename(usual)


def test_half_made_data_is_thrown_away(fresh: Home) -> None:
    half_made = fresh.path / "data.tmp"
    (half_made / "base").mkdir(parents=True)
    if AS_ROOT:
        for folder in (fresh.path, half_made, half_made / "base"):
            shutil.chown(folder, fresh.path.parent.owner())
    with connect(fresh.start().server) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not half_made.exists()


def test_a_start_that_fails_shows_what_the_server_said_and_leaves_nothing_running(home: Home) -> None:
    failed = home.start("broken")
    assert failed.answer["refused"] == "StartFailed"
    assert 'invalid value for parameter "shared_buffers": "a lot"' in failed.answer["message"]
    with connect(home.start().server) as connection:  # while the failed supervisor still lives
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_data_of_another_major_version_is_refused_with_the_way_out(home: Home) -> None:
    version = home.path / "data" / "PG_VERSION"
    real = version.read_text()
    version.write_text("12\n")
    try:
        failed = home.start()
    finally:
        version.write_text(real)
    assert failed.answer["refused"] == "StartFailed"
    assert "PostgreSQL 12" in failed.answer["message"] and "pg_dumpall" in failed.answer["message"]


def test_a_password_file_that_does_not_fit_the_data_is_named(home: Home) -> None:
    password = home.path / "password"
    real = password.read_text()
    password.write_text("another\n")
    try:
        failed = home.start()
    finally:
        password.write_text(real)
    assert failed.answer["refused"] == "StartFailed"
    assert str(password) in failed.answer["message"]
