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


def test_what_was_exported_comes_in_again_and_never_stores_a_mask(trackside: Server, tmp_path: Path) -> None:
    variables, connections = str(tmp_path / "v.json"), str(tmp_path / "c.json")
    command(trackside, "variables", "set", "round_plain", '{"a": 1}', "--description", "about it")
    command(trackside, "variables", "set", "round_password", "sw0rdfish")
    command(trackside, "connections", "set", "round_conn", "postgresql://u:p4ssw0rd@db/x?token=tok123")
    command(trackside, "variables", "export", variables)
    command(trackside, "connections", "export", connections)
    command(trackside, "variables", "delete", "round_plain")
    command(trackside, "variables", "import", variables)
    again = trackside.get("/variables/round_plain")
    assert (again["value"], again["description"]) == ('{"a": 1}', "about it")
    command(trackside, "connections", "import", connections)
    kept = trackside.http.get("/api/v2/connections/round_conn").json()
    assert kept["login"] == "u"
    command(trackside, "variables", "delete", "round_password")
    said = command(trackside, "variables", "import", variables, code=1)
    assert "round_password" in said and "not stored" in said
    assert trackside.http.get("/api/v2/variables/round_password").status_code == 404
    command(trackside, "backfill", "create", "none", "--from-date", "2026-11-01", "--to-date", "yesterday-ish", code=1)


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


def test_beside_the_server_no_address_and_no_token_is_needed(trackside: Server, tmp_path: Path) -> None:
    """`config.here`: the same words act on the installation of this machine; the trail names who did it and how."""
    (Path(trackside.dags_folder) / "beside.py").write_text(DAG.replace('"said"', '"beside"'))
    trackside.wait_dag("beside")
    mine = {k: v for k, v in os.environ.items() if not k.startswith("TRACKSIDE_") and k != "DATABASE_URL"}
    mine |= {"TRACKSIDE_HOME": str(trackside.home / "data"), "TRACKSIDE_DAGS_FOLDER": str(trackside.dags_folder), "LOGNAME": "olga"}
    mine |= {"TRACKSIDE_PROFILES": str(tmp_path / "none.toml")}

    def here(*words: str, code: int = 0) -> str:
        argv = [sys.executable, "-m", "trackside.cli", *words]
        done = subprocess.run(argv, env=mine, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == code and "Traceback" not in done.stderr, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    assert "unpaused" in here("dags", "unpause", "beside")
    run = json.loads(here("dags", "trigger", "beside", "-c", '{"n": 8}', "--wait", "-o", "json"))
    assert run["state"] == "success"
    assert "the number is 8" in here("logs", "beside", run["dag_run_id"], "say")
    here("variables", "set", "beside key/ü", "a value")
    assert json.loads(here("variables", "get", "beside key/ü", "-o", "json"))["value"] == "a value"
    assert trackside.get("/variables/beside key%2Fü")["value"] == "a value"
    assert "healthy" in here("health")
    assert "not found" in here("runs", "show", "beside", "none", code=1)
    found = trackside.get("/eventLogs", dag_id="beside", order_by="-when")["event_logs"]
    assert {entry["owner"] for entry in found} == {"olga"}
    named = here("pools", "list", "--server", trackside.url, code=1)  # a server that is named behind the words, without a token
    assert "Not authenticated" in named


def test_without_a_server_that_answers_the_command_says_what_to_do(tmp_path: Path) -> None:
    mine = {k: v for k, v in os.environ.items() if not k.startswith("TRACKSIDE_") and k != "DATABASE_URL"}
    mine |= {"TRACKSIDE_HOME": str(tmp_path), "TRACKSIDE_PROFILES": str(tmp_path / "none.toml")}
    done = subprocess.run(
        [sys.executable, "-m", "trackside.cli", "runs", "list"], env=mine, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and done.stdout == "" and "Traceback" not in done.stderr
    assert "does not answer" in done.stderr and "trackside standalone" in done.stderr and "--server URL" in done.stderr
