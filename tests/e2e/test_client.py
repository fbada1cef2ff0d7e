"""`trackside.client` and the commands for a server, against a whole product."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import Server
from trackside.client import ApiError, AsyncClient, Client

pytestmark = pytest.mark.e2e

DAG = """
from airflow.sdk import DAG, task
with DAG("said", params={"n": 1}):
    @task
    def say(params=None):
        print("the number is", params["n"])
        if params["n"] < 0: raise ValueError("negative")
    say()
"""

PLANNED = """
from datetime import datetime
from airflow.sdk import DAG, Asset, task
with DAG("planned", schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False, is_paused_upon_creation=False):
    @task(outlets=[Asset("planned_table")])
    def write(): pass
    write()
"""


def command(server: Server, *words: str, code: int = 0) -> str:
    environment = os.environ | {"TRACKSIDE_USERNAME": server.user, "TRACKSIDE_PASSWORD": server.password, "TRACKSIDE_TOKEN": ""}
    environment.pop("TRACKSIDE_TOKEN")
    argv = [sys.executable, "-m", "trackside.cli", "--server", server.url, *words]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr


def test_a_dag_is_unpaused_triggered_waited_for_and_its_log_read(trackside: Server) -> None:
    (Path(trackside.dags_folder) / "said.py").write_text(DAG)
    trackside.wait_dag("said")
    assert "unpaused" in command(trackside, "dags", "unpause", "said")
    run = json.loads(command(trackside, "dags", "trigger", "said", "-c", '{"n": 7}', "--wait", "-o", "json"))
    assert run["state"] == "success"
    assert "the number is 7" in command(trackside, "tasks", "logs", "said", run["dag_run_id"], "say", "-f")
    assert [r["dag_run_id"] for r in json.loads(command(trackside, "runs", "list", "said", "-o", "json"))] == [run["dag_run_id"]]
    shown = json.loads(command(trackside, "runs", "show", "said", run["dag_run_id"], "-o", "json"))
    assert [t["state"] for t in shown["task_instances"]] == ["success"]
    failed = command(trackside, "dags", "trigger", "said", "-c", '{"n": -1}', "--wait", code=1)
    assert "failed" in failed
    assert "not found" in command(trackside, "dags", "trigger", "nope", code=1)


def test_settings_are_set_shown_exported_imported_and_deleted(trackside: Server, tmp_path: Path) -> None:
    command(trackside, "variables", "set", "limit", "10", "--description", "how many")
    command(trackside, "variables", "set", "limit", "11")
    assert json.loads(command(trackside, "variables", "get", "limit", "-o", "json"))["value"] == "11"
    command(trackside, "pools", "set", "small", "2")
    command(trackside, "connections", "set", "web", "http://u:pass@example.org:80/x")
    assert "pass@" not in command(trackside, "connections", "get", "web")
    command(trackside, "pools", "export", str(tmp_path / "p.json"))
    command(trackside, "pools", "delete", "small")
    command(trackside, "pools", "import", str(tmp_path / "p.json"))
    assert "small" in command(trackside, "pools", "list")


def test_a_backfill_is_previewed_made_and_listed(trackside: Server) -> None:
    (Path(trackside.dags_folder) / "planned.py").write_text(PLANNED)
    trackside.wait_dag("planned")
    days = ("--from-date", "2026-01-01T00:00:00Z", "--to-date", "2026-01-03T00:00:00Z", "-o", "json")
    assert len(json.loads(command(trackside, "backfill", "create", "planned", *days, "--dry-run"))) == 3
    assert json.loads(command(trackside, "backfill", "list", "planned", "-o", "json")) == []
    made = json.loads(command(trackside, "backfill", "create", "planned", *days, "--max-active-runs", "1"))
    assert [row["id"] for row in json.loads(command(trackside, "backfill", "list", "planned", "-o", "json"))] == [made["id"]]


def test_the_client_says_who_refused_and_why_and_shows_tables(trackside: Server) -> None:
    with Client(trackside.url, username=trackside.user, password=trackside.password) as client:
        assert "<table>" in client.pools()._repr_html_()
        assert client.version()["version"]
        with pytest.raises(ApiError, match="404"):
            client.run("nope", "nope")

    async def versions() -> list[str]:
        async with AsyncClient(trackside.url, username=trackside.user, password=trackside.password) as other:
            return [row["name"] for row in (await other.call("GET", "/api/v2/pools"))["pools"]]

    assert "default_pool" in asyncio.run(versions())
