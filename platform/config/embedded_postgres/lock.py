"""The lock of a home: one process at a time may touch it. Held by `supervisor` from start to stop."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import ClassVar, Self
from weakref import WeakSet

from config.embedded_postgres.errors import AlreadyRunning, StartFailed
from config.embedded_postgres.processes import command_line
from config.embedded_postgres.server_info import FILE_NAME


class HomeLock:
    """`flock` on `<home>/lock`, dropped by the kernel with its process. The file names the holder, for the message."""

    _held: ClassVar[WeakSet[HomeLock]] = WeakSet()

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._held.add(self)

    @classmethod
    def forget_in_child(cls) -> None:
        """A forked child would keep the lock when we are killed: it lets go of its copies at once."""
        for lock in list(cls._held):
            lock._close()

    @classmethod
    def take(cls, home: Path) -> Self:
        """Takes the lock of this home, which is made if need be. Raises AlreadyRunning or StartFailed, never waits."""
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartFailed(f"{home} cannot be used as the home of the embedded PostgreSQL: {error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise _already_running(home, int(holder) if holder.isdigit() else None) from None
        except OSError as error:
            os.close(descriptor)
            raise StartFailed(f"{home / 'lock'} cannot be locked: {error}. Use a home on a local disk.") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _already_running(home: Path, pid: int | None) -> AlreadyRunning:
    holder = f"process {pid} ({' '.join(command_line(pid))})" if pid else "another process"
    return AlreadyRunning(
        f"The PostgreSQL of {home} is already run by {holder}. Stop that process first, or use another home "
        f"(TRACKSIDE_HOME), or share its server: set DATABASE_URL to the address in {home / FILE_NAME}.",
        pid=pid,
    )


os.register_at_fork(after_in_child=HomeLock.forget_in_child)
