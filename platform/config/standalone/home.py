"""One stack per home and per port: both are taken before anything starts, so a second start fails with one sentence."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path


class CannotStart(Exception):
    """The stack cannot start here; the message says what to change."""


def take_home(home: Path) -> int:
    """The descriptor that holds the lock of this home until it is closed or the process ends. Raises CannotStart."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(home / "standalone.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotStart(f"{home} cannot be used: {error.strerror}. Choose another folder with --home.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise CannotStart(
            f"Trackside already runs in {home} (process {holder or 'unknown'}). "
            "Stop that one first, or give this one a home of its own with --home (and another --port)."
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def take_port(host: str, port: int) -> socket.socket:
    """A socket that listens there; web inherits it, so a restart of web refuses nobody. Raises CannotStart."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(2048)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise CannotStart(f"Cannot listen on {host}:{port}: {error.strerror}. Choose another port with --port.") from error
    return listener
