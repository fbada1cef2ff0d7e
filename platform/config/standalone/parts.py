"""Which processes a stack consists of, how each is started, and what each of them may know. For `supervisor`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from config.standalone.options import ROOT, Options

WORKER_TOKEN_FILE = Path("keys") / "worker.token"
ADMIN_PASSWORD = ("TRACKSIDE_ADMIN_PASSWORD", "TRACKSIDE_ADMIN_PASSWORD_FILE")
SERVER_ONLY = (
    "DATABASE_URL",
    "TRACKSIDE_SECRET_KEY",
    "TRACKSIDE_FERNET_KEYS",
    "TRACKSIDE_JWT_KEY",
    "DJANGO_SETTINGS_MODULE",
)
"""What a worker, and with it every task, must never see; each also as <NAME>_FILE. And what libpq reads: PG*."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the stack. Stopped in reverse order of the start; killed `patience` seconds after SIGTERM."""

    name: str
    argv: list[str]
    environment: dict[str, str]
    cwd: Path
    patience: float
    fds: tuple[int, ...] = ()
    needs_database: bool = True


def server_environment(options: Options) -> dict[str, str]:
    """The environment of the processes with Django: ours, with the choices of this start made absolute."""
    environment = {k: v for k, v in os.environ.items() if k not in ADMIN_PASSWORD and k != "TRACKSIDE_READY_FILE"}
    environment |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONUNBUFFERED": "1",
        "TRACKSIDE_HOME": str(options.home),
        "TRACKSIDE_HOST": options.host,
        "TRACKSIDE_PORT": str(options.port),
        "TRACKSIDE_DAGS_FOLDER": str(options.dags_folder),
    }
    return environment


def worker_environment(options: Options) -> dict[str, str]:
    """The environment of the worker: no way to the database, no key that signs or encrypts, just its own token."""
    secret = {*SERVER_ONLY, *(f"{name}_FILE" for name in SERVER_ONLY)}
    environment = {k: v for k, v in server_environment(options).items() if k not in secret and not k.startswith("PG")}
    if not any(environment.get(name) for name in ("TRACKSIDE_WORKER_TOKEN", "TRACKSIDE_WORKER_TOKEN_FILE")):
        environment["TRACKSIDE_WORKER_TOKEN_FILE"] = str(options.home / WORKER_TOKEN_FILE)
    environment["TRACKSIDE_API_URL"] = options.url
    return environment


def prepare_part(options: Options, admin_password: str) -> Part:
    """The short-lived child that makes tables and the first user."""
    environment = server_environment(options) | {"TRACKSIDE_ADMIN_PASSWORD": admin_password}
    return Part("prepare", [sys.executable, "-m", "config.standalone.prepare"], environment, ROOT, 5.0)


def lasting_parts(options: Options, listener: int) -> list[Part]:
    """The processes that run until the stack stops, in the order of their start. `listener`: web's open socket."""
    server = server_environment(options)

    def command(name: str, *argv: str, patience: float = 8.0, fds: tuple[int, ...] = ()) -> Part:
        return Part(name, [sys.executable, "-m", *argv], server, ROOT, patience, fds)

    return [
        command("web", "config.web", "--fd", str(listener), patience=10.0, fds=(listener,)),
        command("scheduler", "config.manage", "scheduler"),
        command("dag_processor", "config.manage", "dag_processor"),
        Part(
            "worker", [sys.executable, "-P", "-m", "trackside.cli", "worker", "--name", "standalone"],
            worker_environment(options), Path.cwd(), patience=25.0, needs_database=False,
        ),
    ]  # fmt: skip
