"""The quality gate takes the way that the numbers say, and skips the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.server import Server

pytestmark = pytest.mark.e2e


def test_the_standard_library_passes(trackside: Server, tmp_path: Path):
    run = trackside.run_dag("quality_gate", {"data_folder": str(tmp_path), "min_documented": 0.1})
    run_id = run["dag_run_id"]
    assert run["state"] == "success", trackside.describe("quality_gate", run_id)
    states = trackside.states("quality_gate", run_id)
    assert (states["publish"], states["explain"]) == ("success", "skipped")
    assert [states[f"measure.one_package[{i}]"] for i in range(4)] == ["success"] * 4
    numbers = json.loads(Path(trackside.value("quality_gate", run_id, "publish")).read_text())
    assert numbers["packages"] == 4 and numbers["files"] > 30 and numbers["functions"] > numbers["documented"] > 0
    assert trackside.value("quality_gate", run_id, "sum_up").startswith("passed: ")


def test_sources_without_docstrings_take_the_other_way(trackside: Server, tmp_path: Path):
    package = tmp_path / "sources" / "shop"
    package.mkdir(parents=True)
    (package / "a.py").write_text('def one():\n    "documented"\n\ndef two():\n    pass\n\ndef three():\n    pass\n')
    (package / "broken.py").write_text("def (:\n")
    conf = {"folder": str(package.parent), "packages": ["shop"], "min_documented": 0.5, "data_folder": str(tmp_path / "out")}
    run = trackside.run_dag("quality_gate", conf)
    run_id = run["dag_run_id"]
    assert run["state"] == "success", trackside.describe("quality_gate", run_id)
    states = trackside.states("quality_gate", run_id)
    assert (states["publish"], states["explain"], states["sum_up"]) == ("skipped", "success", "success")
    assert "2 of 3 public functions" in Path(trackside.value("quality_gate", run_id, "explain")).read_text()
    assert trackside.value("quality_gate", run_id, "measure.add_up")["broken"] == 1


def test_nothing_to_measure_skips_everything_but_the_last(trackside: Server, tmp_path: Path):
    conf = {"folder": str(tmp_path), "packages": ["missing"], "data_folder": str(tmp_path / "out")}
    run = trackside.run_dag("quality_gate", conf)
    states = trackside.states("quality_gate", run["dag_run_id"])
    assert run["state"] == "success"
    ran = ("list_packages", "anything_to_measure", "always_last")
    assert [states.pop(name) for name in ran] == ["success"] * 3
    assert set(states.values()) == {"skipped"}
    assert not (tmp_path / "out").exists()
