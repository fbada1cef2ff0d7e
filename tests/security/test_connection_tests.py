"""S17: a connection test leads the server to no address of its own, and no such address keeps it waiting."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest

from apps.access import connection_probe
from apps.access.models import Connection
from apps.access.tests.resthelp import Api

OWN = [
    "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "0x7f.1", "2130706433", "017700000001", "localhost",
    "::ffff:127.0.0.1", "169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::", "::127.0.0.1", "fe80::1", "fd00:ec2::254", "224.0.0.1", "255.255.255.255", "ff02::1", "240.0.0.1",
]  # fmt: skip


@pytest.fixture
def listening() -> Iterator[tuple[int, list[Any]]]:
    """A port on which somebody would notice a visit."""
    visits: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        def accept() -> None:
            while True:
                try:
                    visits.append(server.accept())
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1], visits
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for conn, _ in visits:
            conn.close()


def outcome_of(host: str, port: int, kind: str = "http", **fields: Any) -> tuple[bool, str]:
    return connection_probe.probe(Connection(conn_id="c", conn_type=kind, host=host, port=port, **fields))


@pytest.mark.parametrize("kind", ["http", "postgres"])
@pytest.mark.parametrize("host", OWN)
def test_s17_addresses_of_the_server_and_special_ones_are_not_dialled(host, kind, listening):
    port, visits = listening
    ok, words = outcome_of(host, port, kind)
    assert not ok and visits == []
    assert "TRACKSIDE_TEST_CONNECTION_ALLOW" in words or "is not known here" in words, words


def test_s17_an_address_hidden_in_a_url_a_user_or_a_list_is_found(listening):
    port, visits = listening
    for host in ("http://127.0.0.1/x", "https://127.0.0.1", "gopher://127.0.0.1", "file:///etc/passwd", "/var/run/postgresql",
                 "a@127.0.0.1", "127.0.0.1,10.0.0.1", "127.0.0.1\x00.example", "x" * 300, "ä" * 70, "."):  # fmt: skip
        for kind in ("http", "postgres"):
            ok, words = outcome_of(host, port, kind)
            assert not ok and words and visits == [], (host, kind, words)


def test_s17_a_login_goes_where_the_address_says_and_not_where_the_database_name_says(listening):
    port, visits = listening
    connection_probe_timeout, connection_probe.TIMEOUT_S = connection_probe.TIMEOUT_S, 1.0
    try:
        ok, _ = outcome_of("192.0.2.1", 9, "postgres", schema=f"host=127.0.0.1 port={port} dbname=x")
        assert not ok and visits == []
        ok, _ = outcome_of("192.0.2.1", 9, "postgres", schema=f"postgresql://127.0.0.1:{port}/x", login=f"u host=127.0.0.1 port={port}")
        assert not ok and visits == []
    finally:
        connection_probe.TIMEOUT_S = connection_probe_timeout


def test_s17_a_name_is_resolved_once_and_one_bad_address_is_enough(monkeypatch, listening):
    port, visits = listening
    answers = [["192.0.2.7"], ["127.0.0.1"]]
    asked: list[str] = []

    def rebinding(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in answers[min(len(asked), 2) - 1]]

    dialled: list[Any] = []

    def dial(address: Any, timeout: float) -> Any:
        dialled.append(address)
        raise TimeoutError

    monkeypatch.setattr(connection_probe.socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(connection_probe.socket, "create_connection", dial)
    assert not outcome_of("rebound.example", port)[0]
    assert (asked, dialled) == (["rebound.example"], [("192.0.2.7", port)])
    answers[:] = [["192.0.2.7", "127.0.0.1"]] * 2
    asked.clear()
    assert "TRACKSIDE_TEST_CONNECTION_ALLOW" in outcome_of("both.example", port)[1] and len(dialled) == 1 and visits == []


def test_s17_networks_that_the_site_names_may_be_tested(settings, listening):
    port, _ = listening
    settings.TEST_CONNECTION_ALLOW = [ip_network("127.0.0.0/8")]
    ok, words = outcome_of("127.0.0.1", port)
    assert ok and "answered in" in words
    assert not outcome_of("::1", port)[0]


def test_s17_a_server_that_never_speaks_ends_the_test(settings, listening, monkeypatch):
    port, _ = listening
    settings.TEST_CONNECTION_ALLOW = [ip_network("127.0.0.0/8")]
    monkeypatch.setattr(connection_probe, "TIMEOUT_S", 2.0)
    before = time.monotonic()
    ok, words = outcome_of("127.0.0.1", port, "postgres", schema="x")
    assert not ok and "timeout" in words and time.monotonic() - before < 60


@pytest.mark.django_db
def test_s17_rest_tests_nothing(listening):
    port, visits = listening
    body = {"connection_id": "c", "conn_type": "http", "host": "127.0.0.1", "port": port}
    api = Api()
    for path in ("/connections/test", "/connections/enqueue-test"):
        assert api("POST", path, body)[0] == 403
    assert visits == []


def test_s17_the_stored_extra_chooses_no_driver_and_no_file(listening):
    port, visits = listening
    extra = '{"driver_path": "/tmp/x.so", "driver_class": "os.system", "sslmode": "disable", "service": "x", "passfile": "/etc/passwd"}'
    ok, words = outcome_of("127.0.0.1", port, "postgres", extra=extra)
    assert not ok and "TRACKSIDE_TEST_CONNECTION_ALLOW" in words and visits == []
