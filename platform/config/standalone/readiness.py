"""When is a stack ready? When web answers, and every other process has a live row in the database. For `supervisor`."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import psycopg

VERSION_PATH = "/api/v2/version"
LIVE = "SELECT kind, pid FROM runs_process WHERE ended_at IS NULL AND lease_until > now()"


async def web_answers(url: str, *, patience: float = 2.0) -> bool:
    """Whether the version of the REST API can be had. Plain sockets: an HTTP library would cost megabytes for good."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(f"GET {VERSION_PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    code = status.split()[1:2]
    return bool(code) and code[0].isdigit() and int(code[0]) < 500


def live_processes(database_url: str) -> set[tuple[str, int]]:
    """(kind, process id) of every registered process whose lease runs. Blocks: call it in a thread."""
    try:
        with psycopg.connect(database_url, autocommit=True, connect_timeout=3) as connection:
            return {(kind, pid) for kind, pid in connection.execute(LIVE)}
    except psycopg.Error:
        return set()
