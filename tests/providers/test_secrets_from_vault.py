"""The hashicorp package's secrets back end, as published, answers lookups of tasks."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.providers import vaultserver

_PROGRAM = """
import json
from trackside import airflow
airflow.install()
from airflow.sdk import Connection, Variable
shop, parts = Connection.get("shop"), Connection.get("parts")
print(json.dumps([
    [shop.conn_type, shop.login, shop.password, shop.host, shop.schema],
    [parts.conn_type, parts.login, parts.password, parts.host, parts.port],
    Variable.get("region"), Variable.get("none", default="mine"),
]))
"""


@pytest.fixture(scope="module")
def vault() -> Iterator[str]:
    server = vaultserver.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def looked_up(python: Path, vault: str, token: str) -> subprocess.CompletedProcess[str]:
    given = {"connections_path": "connections", "variables_path": "variables", "mount_point": "secret", "url": vault, "token": token}
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW_", "TRACKSIDE_", "VAULT_"))} | {
        "NO_PROXY": "*", "AIRFLOW__SECRETS__BACKEND": "airflow.providers.hashicorp.secrets.vault.VaultBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps(given),
    }  # fmt: skip
    return subprocess.run([str(python), "-c", _PROGRAM], env=env, capture_output=True, text=True, check=False)


def test_connections_and_variables_kept_in_vault_are_found(python: Path, vault: str):
    done = looked_up(python, vault, vaultserver.TOKEN)
    assert done.returncode == 0, done.stderr
    shop, parts = ["postgres", "ann", "s3cret", "db.example", "shop"], ["http", "bob", "pa55", "parts.example", 8443]
    assert json.loads(done.stdout.splitlines()[-1]) == [shop, parts, "north", "mine"]


def test_a_token_that_vault_refuses_ends_the_lookup_and_is_not_told(python: Path, vault: str):
    done = looked_up(python, vault, "wrong-canary")
    assert done.returncode != 0 and "canary" not in done.stdout + done.stderr
    assert "vault" in done.stderr.lower()
