"""Airflow's own example files, taken from its published wheel when the test runs, unmodified, to success."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import server

VERSION = "3.3.2"
FILES = {"example_simplest_dag.py": "example_simplest_dag", "tutorial_taskflow_api.py": "tutorial_taskflow_api"}
pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("conformance")]


def pip(tmp_path: Path) -> list[str]:
    """A pip to download with: this environment's, else one of a throw-away environment (Python brings it along)."""
    own = [sys.executable, "-m", "pip"]
    if subprocess.run([*own, "--version"], capture_output=True, check=False).returncode == 0:
        return own
    venv.create(tmp_path / "pip", with_pip=True)
    return [str(tmp_path / "pip" / "bin" / "python"), "-m", "pip"]


@pytest.fixture
def examples(tmp_path: Path) -> Iterator[server.Server]:
    """A server whose DAG folder holds the two files."""
    wanted = f"apache-airflow-core=={VERSION}"
    subprocess.run([*pip(tmp_path), "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(tmp_path), wanted], check=True)
    (wheel,) = tmp_path.glob("apache_airflow_core-*.whl")
    home = server.temporary_home("trackside-examples-")
    dags = home / "dags"
    dags.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if Path(name).name in FILES and "example_dags" in name:
                with archive.open(name) as source, (dags / Path(name).name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    running = server.start(home, dags)
    try:
        yield running
    finally:
        running.stop()
        server.remove(home)


@pytest.mark.timeout(300)
def test_airflows_own_examples_run_unmodified(examples: server.Server):
    assert sorted(p.name for p in examples.dags_folder.glob("*.py")) == sorted(FILES)
    for dag_id in FILES.values():
        run = examples.run_dag(dag_id)
        assert run["state"] == "success", examples.describe(dag_id, run["dag_run_id"])
