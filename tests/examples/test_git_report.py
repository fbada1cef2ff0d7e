"""The report of a repository: of a real one, and of the sample that the DAG makes itself."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import pytest

from tests.support.server import Server

pytestmark = pytest.mark.e2e


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_without_a_repository_it_reports_on_its_own_sample(trackside: Server, tmp_path: Path):
    run = trackside.run_dag("git_report", {"data_folder": str(tmp_path)})
    assert run["state"] == "success", trackside.describe("git_report", run["dag_run_id"])
    result = trackside.value("git_report", run["dag_run_id"], "write_report")
    report = Path(result.pop("report"))
    assert result == {"commits": 5, "authors": 3, "weeks": 3}
    assert tmp_path in report.parents
    assert "| Ada | 2 |" in report.read_text()
    assert rows(report.with_name("commits.csv"))[0]["subject"] == "Explain the size"


def test_it_reads_a_real_repository_whose_texts_are_full_of_traps(trackside: Server, tmp_path: Path):
    repository = tmp_path / "it's a; $(repository)"
    repository.mkdir()
    git = ["git", "-C", str(repository), "-c", "user.name=A | B", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", 'quotes " and, commas\n\nand a body'], check=True)
    run = trackside.run_dag("git_report", {"repository": str(repository), "data_folder": str(tmp_path / "out")})
    assert run["state"] == "success", trackside.describe("git_report", run["dag_run_id"])
    report = Path(trackside.value("git_report", run["dag_run_id"], "write_report")["report"])
    assert [row["subject"] for row in rows(report.with_name("commits.csv"))] == ['quotes " and, commas']
    assert "| A / B | 1 |" in report.read_text()


def test_clearing_the_whole_run_writes_the_same_report_again(trackside: Server, tmp_path: Path):
    run = trackside.run_dag("git_report", {"data_folder": str(tmp_path)})
    run_id = run["dag_run_id"]
    report = Path(trackside.value("git_report", run_id, "write_report")["report"])
    text = report.read_text()
    report.unlink()
    trackside.clear("git_report", run_id, "find_repository")
    assert trackside.wait_run("git_report", run_id)["state"] == "success"
    assert report.read_text() == text
