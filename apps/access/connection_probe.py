"""Whether a connection's address answers, seen from this server. Off by default: it makes the server open sockets that
the person at the form chooses. Used by the admin's "Test selected connections".

A name is resolved once, every address it has must be one that may be tested, and that very address is dialled: what a name
server says later changes nothing. The server's own addresses, those of metadata services and other special ones are refused
unless TRACKSIDE_TEST_CONNECTION_ALLOW names their network.
"""

from __future__ import annotations

import socket
import time
from ipaddress import IPv4Address, IPv6Address, ip_address

from django.conf import settings

from apps.access.crypto import WrongKey
from apps.access.models import Connection
from apps.access.provider_types import type_of

TIMEOUT_S = 5.0


class NotTested(Exception):
    """This address is not tested from the server; the message says why and who can allow it."""


def probe(connection: Connection) -> tuple[bool, str]:
    """(works, what happened in words). A PostgreSQL login is tried; for other types the port is knocked at."""
    host = (connection.host or "").rpartition("://")[2].partition("/")[0]
    port = connection.port or int(type_of(connection.conn_type).port_hint or 0)
    if not host or not port:
        return False, "there is no host and port to test"
    try:
        address = address_of(host, port)
        if connection.conn_type == "postgres":
            return _login(connection, host, address, port)
        started = time.monotonic()
        socket.create_connection((address, port), TIMEOUT_S).close()
        return (
            True,
            f"{host} port {port} answered in {1000 * (time.monotonic() - started):.0f} ms; the login was not tried",
        )
    except NotTested as e:
        return False, str(e)
    except (socket.gaierror, UnicodeError):
        return False, f"the name {host} is not known here"
    except TimeoutError:
        return False, f"{host} port {port} did not answer in {TIMEOUT_S:.0f} s"
    except OverflowError:
        return False, f"{port} is no port; it must be 1 to 65535"
    except (OSError, ValueError) as e:
        return False, f"{host} port {port}: {getattr(e, 'strerror', None) or 'no connection'}"


def address_of(host: str, port: int) -> str:
    """The address to dial. Raises NotTested, and gaierror for names that are not known."""
    found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for text in found:
        if not _may_be_tested(ip_address(text.partition("%")[0])):
            raise NotTested(
                f"{host} is {text}, an address of the server itself or a special one, which is not tested; "
                "TRACKSIDE_TEST_CONNECTION_ALLOW can name its network"
            )
    return found[0]


def _may_be_tested(address: IPv4Address | IPv6Address) -> bool:
    """Asks what an address of the other family carries inside (mapped, 6to4, Teredo, NAT64), too."""
    if any(address in network for network in settings.TEST_CONNECTION_ALLOW):
        return True
    inner: list[IPv4Address | None] = []
    if isinstance(address, IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address.packed[:12] in (b"\x00\x64\xff\x9b" + bytes(8), bytes(12)):  # NAT64; the old "IPv4-compatible" form
            inner.append(IPv4Address(address.packed[12:]))
    special = address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    mapped = isinstance(address, IPv6Address) and address.ipv4_mapped is not None
    if special or (address.is_reserved and not mapped and not any(inner)) or str(address).lower() == "fd00:ec2::254":
        return False
    return all(_may_be_tested(a) for a in inner if a is not None)


def _login(connection: Connection, host: str, address: str, port: int) -> tuple[bool, str]:
    import psycopg

    try:
        password = connection.password or ""
    except WrongKey:
        return False, "the stored password cannot be decrypted"
    started = time.monotonic()
    try:
        with psycopg.connect(
            host=host,
            hostaddr=address,
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
