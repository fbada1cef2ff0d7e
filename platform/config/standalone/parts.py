"""Which processes a stack consists of, how each is started, and what each of them may know. For `supervisor`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from config.secrets import secret_text
from config.standalone.options import ROOT, Options

WORKER_KEY = "worker.token"
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
    is_forked: bool = False
    """From the warm process, where that can be had (Linux); `argv` is how to start it elsewhere."""
    more_environment: dict[str, str] = field(default_factory=dict)
    """What of `environment` the warm process does not have."""
    needs_database: bool = True


def server_environment(options: Options) -> dict[str, str]:
    """The environment of the processes with Django: ours, with the choices of this start made absolute."""
    not_theirs = {*ADMIN_PASSWORD, "TRACKSIDE_READY_FILE", "TRACKSIDE_HEALTH_PORT"}  # one port is not enough for many processes
    environment = {k: v for k, v in os.environ.items() if k not in not_theirs}
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
        secret_text(options.home, WORKER_KEY)  # the server would make it, but the worker may be first
        environment["TRACKSIDE_WORKER_TOKEN_FILE"] = str(options.home / "keys" / WORKER_KEY)
    environment["TRACKSIDE_API_URL"] = options.url
    return environment


def warm_part(options: Options) -> Part:
    """The process that the others with Django are forked from (`warm`)."""
    return Part("warm", [sys.executable, "-m", "config.standalone.warm"], server_environment(options), ROOT, 1.0)


def prepare_part(options: Options, admin_password: str) -> Part:
    """The short-lived process that makes tables and the first user."""
    return _server_part("prepare", ["config.standalone.prepare"], options, {"TRACKSIDE_ADMIN_PASSWORD": admin_password})


def lasting_parts(options: Options, listener: int) -> list[Part]:
    """The processes that run until the stack stops, in the order of their start. `listener`: web's open socket."""
    return [
        _server_part("web", ["config.web", "--fd", str(listener)], options, fds=(listener,)),
        _server_part("scheduler", ["config.manage", "scheduler"], options),
        _server_part("dag_processor", ["config.manage", "dag_processor"], options),
        _server_part("triggerer", ["config.manage", "triggerer"], options),
        *([_server_part("executor", ["config.manage", "executor"], options)] if _needs_bringing() else []),
        Part(
            "worker", [sys.executable, "-P", "-m", "trackside.cli", "worker", "--name", "standalone"],
            worker_environment(options), Path.cwd(), patience=25.0, is_forked=False, needs_database=False,
        ),
    ]  # fmt: skip


def _needs_bringing() -> bool:
    """Whether an executor is configured to which tries must be brought; workers of the local one pull."""
    words = [word.strip() for word in os.environ.get("TRACKSIDE_EXECUTOR", "").split(",")]
    return any(word and word.rpartition(":")[2].rpartition(".")[2] not in ("local", "LocalExecutor") for word in words)


def _server_part(name: str, argv: list[str], options: Options, more: dict[str, str] | None = None, fds: tuple[int, ...] = ()) -> Part:
    environment = server_environment(options) | (more or {})
    return Part(
        name, [sys.executable, "-m", *argv], environment, ROOT, patience=10.0, fds=fds,
        is_forked=sys.platform.startswith("linux"), more_environment=more or {},
    )  # fmt: skip
