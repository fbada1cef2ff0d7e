"""Secrets back ends in a whole product: asked by parses and tasks, never by a process of the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import server

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("secrets in a stack")]

VAULT = """
import os, sys
from airflow.secrets import BaseSecretsBackend

class Vault(BaseSecretsBackend):
    def __init__(self, mark):
        super().__init__()
        self.mark = mark

    def get_conn_value(self, conn_id):
        return '{"conn_type": "http", "host": "h", "password": "kept-in-the-vault"}' if conn_id == "vaulted" else None

    def get_variable(self, key):
        if key != "vaulted":
            return None
        keys = [n for n in ("DATABASE_URL", "TRACKSIDE_SECRET_KEY", "TRACKSIDE_FERNET_KEYS") if n in os.environ]
        return f"{self.mark} {'django' in sys.modules} {keys}"
"""
DAG = """
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Connection, Variable, task

with DAG("asks", schedule=None, description=Variable.get("vaulted")):
    @task
    def look():
        print("it is", Connection.get("vaulted").password)
        return [Variable.get("vaulted"), Connection.get("kept").host, Variable.get("kept"), Variable.get("set_here")]

    look() >> BashOperator(task_id="template", bash_command="echo {{ conn.vaulted.host }} {{ var.value.vaulted[:5] }}")
"""


@pytest.fixture(scope="module")
def trackside() -> Iterator[server.Server]:
    home = server.temporary_home("trackside-secrets-")
    dags, plugins = home / "dags", home / "data" / "plugins"
    for folder in (dags, plugins):
        folder.mkdir(parents=True)
    (plugins / "site_vault.py").write_text(VAULT)
    (dags / "asks.py").write_text(DAG)
    environment = {
        "AIRFLOW__SECRETS__BACKEND": "site_vault.Vault", "AIRFLOW__SECRETS__BACKEND_KWARGS": '{"mark": "vault"}',
        "TRACKSIDE_VAR_SET_HERE": "by the environment",
    }  # fmt: skip
    running = None
    try:
        running = server.start(home, dags, environment=environment)
        yield running
    finally:
        if running is not None:
            running.stop()
        server.remove(home)


def test_parses_and_tasks_ask_the_back_end_then_the_environment_then_the_database(trackside: server.Server) -> None:
    trackside.add_connection("kept", conn_type="http", host="database")
    trackside.call("POST", "/variables", json={"key": "kept", "value": "by the database"})
    assert trackside.wait_dag("asks")["description"] == "vault False []"
    run = trackside.run_dag("asks")
    assert run["state"] == "success", trackside.log_of("asks", run["dag_run_id"], "look")
    assert trackside.value("asks", run["dag_run_id"], "look") == ["vault False []", "database", "by the database", "by the environment"]
    assert trackside.value("asks", run["dag_run_id"], "template") == "h vault"
    log = trackside.wait_log("it is", "asks", run["dag_run_id"], "look")
    assert "it is ***" in log and "kept-in-the-vault" not in log
