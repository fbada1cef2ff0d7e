"""The bridge from the light command to the server project: the process becomes another one, nothing is imported."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from trackside.cli.words import Problem

ENTRY = "config.manage"
"""The server's own entry point; it comes with a checkout, not with the wheel."""


class NoServer(Exception):
    """This machine has the worker side of Trackside only; the message says how to get the rest."""


def become(module: str, argv: Sequence[str]) -> NoReturn:
    """Replaces this process by `python -m <module> <argv>`: signals and exit code are then the server's own.

    Raises NoServer when the server project is not installed here.
    """
    if not is_installed():
        raise NoServer(
            "This command needs the Trackside server, and only the worker side is installed here. "
            "Run it in a checkout of Trackside, after `pip install -r requirements.txt`."
        )
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *argv])  # noqa: S606 (becoming it is the point)


def manage(*argv: str) -> NoReturn:
    """Becomes the management command. Raises NoServer."""
    become(ENTRY, argv)


HERE = "http://localhost"
"""What the client is told to call when `here` answers it; nothing is listening."""


def here() -> Any:
    """A transport for `trackside.client` that asks the installation on this machine itself (`config.here`). Raises Problem."""
    door = importlib.import_module("config.here")
    try:
        return door.Here()
    except door.NotReady as error:
        raise Problem(str(error)) from error


def is_installed() -> bool:
    """Whether the server project can be found, without importing it."""
    try:
        return importlib.util.find_spec(ENTRY) is not None
    except ModuleNotFoundError:
        return False
