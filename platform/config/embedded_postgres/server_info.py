"""How to reach the running server: written to `<home>/server.json` by the supervisor, read by every other process."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

from config.embedded_postgres.processes import is_server

FILE_NAME = "server.json"


@dataclass(frozen=True)
class ServerInfo:
    """Address and credentials of a running server. `pid` is the server's main process, `cluster` its cluster_name.

    `user` owns the whole server (it is its superuser): Trackside is its only client.
    """

    host: str
    port: int
    socket_dir: str
    user: str
    password: str = field(repr=False)
    pid: int
    cluster: str
    dbname: str = "trackside"

    def url(self, dbname: str | None = None, tcp: bool = True) -> str:
        """A DATABASE_URL: over TCP, or over the unix socket (for the user that started the server, and root).

        The socket's folder is a query parameter and not the host: URL parsers turn hosts to lower case.
        """
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        database = quote(dbname or self.dbname, safe="")
        if tcp:
            return f"postgresql://{login}@{self.host}:{self.port}/{database}"
        return f"postgresql://{login}@:{self.port}/{database}?host={quote(self.socket_dir, safe='')}"


def read_server_info(home: Path) -> ServerInfo | None:
    """The server of this home, or None when none is up; a file left behind by a killed supervisor counts as none.

    Raises PermissionError when the home belongs to another user.
    """
    try:
        raw = json.loads((Path(home) / FILE_NAME).read_text(encoding="utf-8"))
        info = ServerInfo(**raw)
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None
    return info if is_server(info.pid, info.cluster) else None


def write_server_info(home: Path, info: ServerInfo) -> None:
    write_private(home / FILE_NAME, json.dumps(asdict(info), indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replaces a file at once with one that only its owner can read, on disk before it has its name."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
