"""Whether a connection's address answers, seen from this server. Off by default: it makes the server open sockets that
the person at the form chooses. Used by the admin's "Test selected connections".
"""

from __future__ import annotations

import socket
import time

from apps.access.crypto import WrongKey
from apps.access.models import Connection
from apps.access.provider_types import type_of

TIMEOUT_S = 5.0


def probe(connection: Connection) -> tuple[bool, str]:
    """(works, what happened in words). A PostgreSQL login is tried; for other types the port is knocked at."""
    host = (connection.host or "").rpartition("://")[2].partition("/")[0]
    port = connection.port or int(type_of(connection.conn_type).port_hint or 0)
    if not host or not port:
        return False, "there is no host and port to test"
    try:
        if connection.conn_type == "postgres":
            return _login(connection, host, port)
        started = time.monotonic()
        socket.create_connection((host, port), TIMEOUT_S).close()
        return (
            True,
            f"{host} port {port} answered in {1000 * (time.monotonic() - started):.0f} ms; the login was not tried",
        )
    except socket.gaierror:
        return False, f"the name {host} is not known here"
    except TimeoutError:
        return False, f"{host} port {port} did not answer in {TIMEOUT_S:.0f} s"
    except OSError as e:
        return False, f"{host} port {port}: {e.strerror or 'no connection'}"


def _login(connection: Connection, host: str, port: int) -> tuple[bool, str]:
    import psycopg

    try:
        password = connection.password or ""
    except WrongKey:
        return False, "the stored password cannot be decrypted"
    started = time.monotonic()
    try:
        with psycopg.connect(
            host=host,
            port=port,
            dbname=connection.schema or None,
            user=connection.login or None,
            password=password or None,
            connect_timeout=int(TIMEOUT_S),
        ) as there:
            version = there.info.server_version
    except psycopg.Error as e:
        words = str(e).strip().splitlines()[:1] or ["no connection"]
        return False, words[0].replace(password, "***") if password else words[0]
    return True, f"logged in in {1000 * (time.monotonic() - started):.0f} ms, PostgreSQL {version // 10_000}"
