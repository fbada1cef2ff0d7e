"""The server of the test session, as a session of pytest with and without workers sees it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import is_alive  # type: ignore[attr-defined]

INNER = """
import json, os, pathlib
import psycopg, pytest

@pytest.mark.parametrize("n", range(4))
def test_reports_its_server(n):
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        server = connection.execute("SELECT pg_postmaster_start_time()::text, current_setting('fsync')").fetchone()
    info = json.loads(pathlib.Path(os.environ["TRACKSIDE_TEST_POSTGRES_HOME"], "server.json").read_text())
    worker, home = os.environ.get("PYTEST_XDIST_WORKER", "controller"), os.environ["TRACKSIDE_TEST_POSTGRES_HOME"]
    pathlib.Path(f"{n}.json").write_text(json.dumps([worker, *server, info["pid"], home]))
"""


def run_session(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_inner.py").write_text(INNER)
    outer = ("DATABASE_URL", "TRACKSIDE_TEST_POSTGRES_HOME", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_TESTRUNUID")
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    shutil.copy(Path(__file__).parents[2] / "conftest.py", folder)
    plugins = ["-p", "xdist.plugin", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", str(folder), *plugins, *options, str(folder)],
        cwd=folder, env=environment | variables, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("workers", [0, 2])
def test_all_workers_share_one_server_that_ends_with_the_session(tmp_path: Path, workers: int) -> None:
    session = run_session(tmp_path, f"-n{workers}")
    assert session.returncode == 0, session.stdout + session.stderr
    reports = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert len(reports) == 4
    assert {report[0] for report in reports} == ({"gw0", "gw1"} if workers else {"controller"})
    ((started, fsync, pid, home),) = {tuple(report[1:]) for report in reports}
    assert started and fsync == "off"
    assert not is_alive(pid)
    assert not Path(home).exists()


def test_a_database_url_in_the_environment_is_left_alone(tmp_path: Path) -> None:
    elsewhere = "postgresql://nobody@127.0.0.1:1/elsewhere"
    session = run_session(tmp_path, "-n0", "-x", DATABASE_URL=elsewhere)
    assert session.returncode == 1
    assert "port 1 failed" in session.stdout
