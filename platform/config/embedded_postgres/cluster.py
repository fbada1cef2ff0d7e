"""The data directory: created whole or not at all, and the command that serves it.

Used by `supervisor`, always under its lock.

**The data stays in the home, also for root.** Root's default home lies below /root (mode 0700), where the
unprivileged server user may not look, and nothing outside the home may be opened up for it. Moving the data
elsewhere would lose it when only the home is on a volume. So the launcher enters the data directory while it is
still root, and the server is told that its data is at /proc/self/cwd: a link the kernel follows without walking the
closed parents. Backends share the working directory, so it is true for all of them. Only the socket's clients see
the real path.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from config.embedded_postgres.account import Account
from config.embedded_postgres.binaries import Installation
from config.embedded_postgres.errors import StartFailed
from config.embedded_postgres.processes import run_as
from config.embedded_postgres.server_info import write_private

SUPERUSER = "trackside"
HOST = "127.0.0.1"
SOCKET_PATH_LIMIT = 107  # bytes in sockaddr_un.sun_path, without the final zero
LONGEST_SOCKET_NAME = ".s.PGSQL.65535"
SHARED_MEMORY_MINIMUM = 256 * 1024 * 1024  # Docker gives /dev/shm 64 MB, too little for parallel queries


def ensure_password(home: Path) -> str:
    """The server's password, made before the first data directory so that no data is without one."""
    path = home / "password"
    if not path.exists():
        if (home / "data").exists():
            raise StartFailed(
                f"{path} is missing, and without it nobody can log in to {home / 'data'}. Restore the file."
            )
        write_private(path, secrets.token_hex(24) + "\n")
    return path.read_text(encoding="utf-8").strip()


def ensure_data(home: Path, account: Account, installation: Installation, password: str, *, durable: bool) -> Path:
    """The data directory, made by initdb at the first start: a crash leaves `data.tmp`, never half a `data`."""
    data = home / "data"
    if data.exists():
        made_by = (data / "PG_VERSION").read_text().strip()
        if made_by != str(installation.major):
            raise StartFailed(
                f"{data} was made by PostgreSQL {made_by}, but {installation.bin_dir} is {installation.major}. Install "
                f"PostgreSQL {made_by}, or dump with it (pg_dumpall), move the folder away, start, and load the dump."
            )
        return data
    new = home / "data.tmp"
    if new.exists():
        shutil.rmtree(new)
    new.mkdir(mode=0o700)
    if account.switches:
        os.chown(new, account.uid, account.gid)
    _initdb(new, account, installation, password, durable=durable)
    new.rename(data)
    if durable:
        _sync_folder(home)
    return data


def _initdb(new: Path, account: Account, installation: Installation, password: str, *, durable: bool) -> None:
    argv = [
        installation.program("initdb"), "-D", data_argument(new, account), "--username", SUPERUSER,
        "--auth=scram-sha-256", "--pwfile=/dev/stdin", "--encoding=UTF8",
        # Sort order must not depend on the C library of the host, or indexes break when the data moves.
        "--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions",
        *([] if durable else ["--no-sync"]),
    ]  # fmt: skip
    # initdb opens /dev/stdin anew, so it must be a file of initdb's user; it has no name and goes with the handle.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as secret:
        if account.switches:
            os.fchown(secret.fileno(), account.uid, account.gid)
        secret.write(password + "\n")
        secret.flush()
        secret.seek(0)
        answer = run_as(account, argv, cwd=new, stdin=secret)
    if answer.returncode != 0:
        raise StartFailed(f"initdb could not create {new} as user {account.name}:\n{answer.stdout.strip()}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def data_argument(data: Path, account: Account) -> str:
    """What the server is told as its data directory; see the module's docstring."""
    return "/proc/self/cwd" if account.switches and sys.platform.startswith("linux") else str(data)


def cluster_name(data: Path) -> str:
    """A name that only the processes of this data directory bear in their command lines.

    Made of the folder's identity, not of its path or a stored value: a renamed home keeps it, a copy does not.
    """
    found = data.stat()
    return "trackside-" + hashlib.sha256(f"{found.st_dev}:{found.st_ino}".encode()).hexdigest()[:16]


def serve_command(
    data: Path,
    account: Account,
    installation: Installation,
    *,
    port: int,
    socket_dir: Path,
    durable: bool,
    extra: Mapping[str, str],
) -> list[str]:
    """The server's command line. Settings here win over postgresql.conf and ALTER SYSTEM; `extra` wins over all."""
    shared_memory = Path("/dev/shm")  # noqa: S108 (its size is read, nothing is put there)
    shared = os.statvfs(shared_memory) if shared_memory.is_dir() else None
    settings = {
        "listen_addresses": HOST,
        "port": str(port),
        "unix_socket_directories": f'"{data_argument(data, account) if socket_dir == data else socket_dir}"',
        "cluster_name": cluster_name(data),
        "max_connections": "200",
        "shared_buffers": "128MB",
        "log_min_duration_statement": "250ms",
        "log_timezone": "UTC",
        "timezone": "UTC",
    }
    if shared is None or shared.f_blocks * shared.f_frsize < SHARED_MEMORY_MINIMUM:
        settings["dynamic_shared_memory_type"] = "mmap"
    if not durable:
        settings |= {
            "fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "shared_buffers": "64MB",
            "wal_level": "minimal", "max_wal_senders": "0", "log_min_duration_statement": "-1",
            "log_checkpoints": "off",
        }  # fmt: skip
    argv = [installation.program("postgres"), "-D", data_argument(data, account)]
    for name, value in (settings | dict(extra)).items():
        argv += ["-c", f"{name}={value}"]
    return argv


def choose_socket_dir(data: Path, account: Account) -> Path:
    """The data directory (0700, no temp cleaner comes there), or a short private folder if no socket fits there."""
    if _fits(data):
        return data
    runtime = [] if account.switches else [os.environ.get("XDG_RUNTIME_DIR", "")]
    name = f"{cluster_name(data)}-{account.uid}"
    for place in (*runtime, tempfile.gettempdir(), "/tmp"):  # noqa: S108 (made private)
        folder = Path(place) / name
        if place and _fits(folder) and _make_private(folder, account):
            return folder
    raise StartFailed(
        f"{data} cannot hold a unix socket, and no short private folder could be made. Use a shorter home."
    )


def _fits(folder: Path) -> bool:
    if "," in str(folder) or '"' in str(folder):  # clients and server take these for lists
        return False
    return len(os.fsencode(folder / LONGEST_SOCKET_NAME)) <= SOCKET_PATH_LIMIT


def _make_private(folder: Path, account: Account) -> bool:
    """Makes the folder, or takes one that only the server's user can have made: in /tmp others may have been first."""
    try:
        folder.mkdir(mode=0o700)
        if account.switches:
            os.chown(folder, account.uid, account.gid, follow_symlinks=False)
    except FileExistsError:
        pass
    except OSError:
        return False
    found = folder.lstat()
    return found.st_uid == account.uid and (found.st_mode & 0o170777) == 0o040700
