"""What can go wrong with the embedded PostgreSQL. Each message is one an operator can act on; `standalone` prints it
as is.
"""

from __future__ import annotations


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL could not do what was asked."""


class NoUsablePostgres(EmbeddedPostgresError):
    """No PostgreSQL 17 or newer was found that this machine and user can run."""


class AlreadyRunning(EmbeddedPostgresError):
    """Another process supervises the server of this home; the message names it and says what to do."""

    def __init__(self, message: str, *, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class StartFailed(EmbeddedPostgresError):
    """The server could not be created, did not come up or did not answer; its log's last lines are in the message."""
