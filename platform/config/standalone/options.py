"""What a person can choose for `standalone`: flags, else the environment, else defaults. For `supervisor`, `parts`."""

from __future__ import annotations

import argparse
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from config.env import env_int, env_path, env_str

ROOT = Path(__file__).resolve().parents[3]
"""The checkout: manage.py, apps/ and examples/ lie here."""


@dataclass(frozen=True, slots=True)
class Options:
    """The choices of one stack; see docs/settings.md for the variables behind them."""

    home: Path
    host: str
    port: int
    dags_folder: Path
    ready_file: Path | None
    database_url: str
    """Empty: run the embedded PostgreSQL."""

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the site."""
        return f"http://{_reachable(self.host)}:{self.port}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags, for all three ways to start. None of them has a default: an absent flag leaves the environment."""
    parser.add_argument("--host", help="address to listen on (TRACKSIDE_HOST, default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (TRACKSIDE_PORT, default 8080)")
    parser.add_argument("--home", type=Path, help="folder of database, keys and logs (TRACKSIDE_HOME, ~/.trackside)")
    parser.add_argument("--dags-folder", type=Path, help="folder of DAG files (TRACKSIDE_DAGS_FOLDER)")
    parser.add_argument("--ready-file", type=Path, help="write url, user and pids here once all answers")


FLAGS = ("host", "port", "home", "dags_folder", "ready_file")


def parse(argv: Sequence[str], *, prog: str = "trackside standalone") -> Options:
    """Options from flags and environment. Ends the process with one line when a value cannot be used."""
    parser = argparse.ArgumentParser(prog=prog, description="Run a whole Trackside on this machine.")
    add_arguments(parser)
    given = parser.parse_args(argv)
    for flag in FLAGS:
        value = getattr(given, flag)
        if value is not None:  # so that every child, and every reader of settings, sees the same choice
            os.environ[f"TRACKSIDE_{flag.upper()}"] = str(value.absolute() if isinstance(value, Path) else value)
    ready = env_str("TRACKSIDE_READY_FILE")
    return Options(
        home=env_path("TRACKSIDE_HOME", "~/.trackside"),
        host=env_str("TRACKSIDE_HOST", "127.0.0.1"),
        port=env_int("TRACKSIDE_PORT", 8080, low=1, high=65535),
        dags_folder=env_path("TRACKSIDE_DAGS_FOLDER", str(ROOT / "examples")),
        ready_file=Path(ready).expanduser().absolute() if ready else None,
        database_url=env_str("DATABASE_URL"),
    )


def _reachable(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"
