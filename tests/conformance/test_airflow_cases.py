"""DAG files with the results the real Airflow gave for them, played against a running Trackside.

The cases and their checker lie beside the checkout (TRACKSIDE_CONFORMANCE, default ../shared/conformance); without that
folder this file is skipped and says how to have it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import server

FOLDER = Path(os.environ.get("TRACKSIDE_CONFORMANCE", server.ROOT.parent / "shared" / "conformance"))
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("conformance"),
    pytest.mark.skipif(
        not (FOLDER / "oracle.py").exists(), reason=f"no conformance cases in {FOLDER}; name their folder in TRACKSIDE_CONFORMANCE"
    ),
]


@pytest.fixture
def empty_server(tmp_path: Path) -> Iterator[server.Server]:
    """A server of its own with an empty DAG folder: the cases count what they see."""
    home = server.temporary_home("trackside-oracle-")
    (home / "dags").mkdir()
    running = server.start(
        home, home / "dags", environment={"ORACLE_OUT": str(tmp_path), "TRACKSIDE_ADMIN_PASSWORD": server.PASSWORD}, login=False
    )
    try:
        yield running
    finally:
        running.stop()
        server.remove(home)


def check(running: server.Server, script: Path, *options: str, out: Path, seconds: float) -> tuple[int, list[str]]:
    """Run a checker against the server: its exit code and lines."""
    done = subprocess.run(
        [
            sys.executable, str(script), "check", "--base-url", running.url, "--user", running.user, "--password", running.password,
            "--dags-folder", str(running.dags_folder), "--set", "visible", *options,
        ],
        env={**os.environ, "ORACLE_OUT": str(out)}, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    return done.returncode, (done.stdout + done.stderr).splitlines()


@pytest.mark.timeout(900)
def test_dag_files_end_as_on_airflow(empty_server: server.Server, tmp_path: Path):
    code, lines = check(empty_server, FOLDER / "oracle.py", "--jobs", "8", "--slow", "3", out=tmp_path, seconds=880)
    failed = [line for line in lines if line.startswith("FAIL")]
    assert not failed, "\n".join(failed)
    assert code == 0, "\n".join(lines[-20:])
    cases = len(list((FOLDER / "cases" / "visible").glob("*.json")))
    assert sum(line.startswith("PASS") for line in lines) == cases > 0
