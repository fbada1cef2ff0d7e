"""Connections for who gets DAG bundles: from the environment and secrets back ends, before the database is asked.

For `local_files` on workers and `apps.dags.sources` on the server. Neither may run user code, and the class of a back end is
user code: it is asked in a child of its own (`python -m trackside.runner.lookup ID`), which sees what task processes may see.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from typing import Any

from trackside.core.environment import scrubbed
from trackside.sdk import secrets

TIMEOUT_S = 60.0
logger = logging.getLogger(__name__)


class LookupFailed(RuntimeError):
    """A secrets back end cannot be asked: the message has its own words."""


def connection(conn_id: str) -> dict[str, Any] | None:
    """Fields of a connection that is kept outside of the database; None if there is none. Raises LookupFailed."""
    if not any(os.environ.get(name) for name in secrets.OPTIONS):
        return _fields(conn_id)
    command = [sys.executable, "-P", "-m", "trackside.runner.lookup", conn_id]
    try:
        done = subprocess.run(command, env=scrubbed(os.environ), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise LookupFailed(f"The secrets back end did not say within {TIMEOUT_S:g} s what the connection {conn_id} is.") from None
    said = done.stderr.strip()
    if done.returncode != 0:
        why = said.splitlines()[-1] if said else f"exit code {done.returncode}"
        raise LookupFailed(f"The connection {conn_id} cannot be looked up: {why}")
    if said:
        logger.warning("looking up the connection %s: %s", conn_id, said)
    found = json.loads(done.stdout.splitlines()[-1])
    return dict(found) if found is not None else None


def _fields(conn_id: str) -> dict[str, Any] | None:
    found = secrets.connection(conn_id)
    if found is None:
        return None
    names = ("conn_id", "conn_type", "description", "host", "schema", "login", "password", "port", "extra")
    return {name: getattr(found, name) for name in names}


def main() -> None:
    """The child: its last line on stdout is JSON."""
    from trackside import airflow
    from trackside.sdk.plugins import loading as plugins

    airflow.install()
    plugins.load()
    print(json.dumps(_fields(sys.argv[1])), flush=True)  # noqa: T201 - this is the answer


if __name__ == "__main__":
    main()
