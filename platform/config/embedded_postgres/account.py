"""Which user the server runs as: ours, or, for root, an unprivileged one (PostgreSQL refuses to run as root).

Used by `cluster` and `supervisor`. The user is never created and nothing outside the home changes hands or mode.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from config.embedded_postgres.errors import StartFailed

UNPRIVILEGED_NAMES = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """A user id and group id the server runs under; `switches` when it is not the one we run under."""

    uid: int
    gid: int
    switches: bool

    @property
    def name(self) -> str:
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)


def choose_account(data: Path) -> Account:
    """The owner of an existing data directory, else (as root) `postgres` or `nobody`, else ourselves.

    The owner comes first so that a `postgres` user that is installed later does not lock us out of data of `nobody`.
    """
    owner = data.stat() if data.exists() else None
    if os.geteuid() != 0:
        if owner and owner.st_uid != os.geteuid():
            raise StartFailed(
                f"{data} belongs to user {owner.st_uid}, but this process runs as user {os.geteuid()}. "
                "Start Trackside as the user that created it, or use another home (TRACKSIDE_HOME)."
            )
        return Account(os.geteuid(), os.getegid(), switches=False)
    if owner and owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid, switches=True)
    for name in UNPRIVILEGED_NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, switches=True)
    raise StartFailed(
        "PostgreSQL does not run as root and this machine has no user `postgres` or `nobody`. "
        "Start Trackside as another user, or set DATABASE_URL to an existing server."
    )
