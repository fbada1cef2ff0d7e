"""`trackside dags …` and `trackside tasks …` on a folder, without server or database."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from trackside.cli import main

GOOD = """
from airflow.sdk import DAG, task, Param
from airflow.providers.standard.operators.bash import BashOperator
with DAG("good", schedule="@daily", tags=["x"], params={"n": Param(1, type="integer")}) as dag:
    @task
    def numbers(): return [1, 2]
    @task
    def add(x, params=None):
        print("adding", x)
        if x == 13: raise ValueError("unlucky")
        return x + params["n"]
    shell = BashOperator(task_id="shell", bash_command="echo {{ params.n }} {{ ds }} {{ var.value.get('name', 'nobody') }}")
    add.expand(x=numbers()) >> shell
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "helper.py").write_text("VALUE = 1\n")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    """The JSON that the command printed."""
    assert main([*words, "-o", "json"]) == code
    return json.loads(capsys.readouterr().out)


def test_list_and_report_show_what_the_folder_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dag,) = said(capsys, "dags", "list", "-S", str(folder))
    assert (dag["dag_id"], dag["file"], dag["tasks"], dag["tags"], dag["schedule"]) == ("good", "good.py", 3, ["x"], "0 0 * * *")
    (file,) = said(capsys, "dags", "report", "-S", str(folder))
    assert (file["file"], file["dags"], file["errors"]) == ("good.py", 1, 0)


def test_check_is_silent_and_0_when_nothing_is_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dags", "check", str(folder)]) == 0
    assert capsys.readouterr().out == ""


def test_check_names_file_line_and_what_to_write_instead(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.py").write_text("from airflow.sdk import DAG\n\nwith DAG('bad', schedule_interval='@daily'):\n    pass\n")
    (folder / "typo.py").write_text("from airflow.sdk import DAG\nwith DAG('typo') as dag\n    pass\n")
    (folder / "twin.py").write_text(GOOD)
    assert main(["dags", "check", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(f"{folder / 'bad.py'}:3: error: " in line and "schedule" in line for line in lines), lines
    assert any(f"{folder / 'typo.py'}:2: error: SyntaxError" in line for line in lines), lines
    assert any("'good' is also defined in" in line for line in lines), lines


def test_check_of_single_files_ignores_those_that_are_no_dag_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "dags", "check", str(folder / "helper.py"), str(folder / "good.py")) == []


def test_strict_makes_warnings_count(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "good.py").write_text("from datetime import datetime\n" + GOOD.replace('"@daily"', '"@daily", start_date=datetime.now()'))
    assert len(said(capsys, "dags", "check", str(folder))) == 1
    (found,) = said(capsys, "dags", "check", "--strict", str(folder), code=1)
    assert found["level"] == "warning" and found["line"] == 5


@pytest.mark.parametrize(
    ("form", "wanted"),
    [("text", "add ×n (@task) → shell"), ("dot", '"add" -> "shell";'), ("mermaid", "n1 --> n2"), ("json", '"task_id": "add"')],
)
def test_a_dag_is_drawn(folder: Path, capsys: pytest.CaptureFixture[str], form: str, wanted: str) -> None:
    assert main(["dags", "show", "good", "-S", str(folder), "--format", form]) == 0
    assert wanted in capsys.readouterr().out


def test_a_dag_is_run_and_its_end_is_the_exit_code(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = said(capsys, "dags", "test", "good", "2026-03-09", "-S", str(folder), "-c", '{"n": 5}')
    assert run["state"] == "success"
    assert [task["task"] for task in run["tasks"]] == ["numbers", "add[0]", "add[1]", "shell"]
    (folder / "good.py").write_text(GOOD.replace("[1, 2]", "[1, 13]"))
    run = said(capsys, "dags", "test", "good", "-S", str(folder), code=1)
    assert {t["task"]: t["state"] for t in run["tasks"]}["shell"] == "upstream_failed"
    assert "unlucky" in run["tasks"][2]["error"]


def test_what_cannot_be_run_is_said_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, wanted in (
        (["dags", "test", "nope"], "there is no DAG 'nope'"),
        (["dags", "test", "good", "yesterday"], "is no date"),
        (["dags", "test", "good", "-c", "[1]"], "must be a JSON object"),
        (["dags", "test", "good", "-c", '{"n": "five"}'], "n"),
        (["tasks", "test", "good", "nope"], "it has add, numbers, shell"),
    ):
        assert main([*words, "-S", str(folder)]) == 1
        heard = capsys.readouterr()
        assert wanted in heard.err.splitlines()[-1], heard.err
        assert "Traceback" not in heard.err and heard.out == ""


def test_one_task_is_run_with_values_for_what_it_reads(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = said(capsys, "tasks", "test", "good", "add", "-S", str(folder), "--map-index", "1", "--xcom", "numbers=[1,40]", "-t", '{"n": 2}')
    assert (task["state"], task["return_value"]) == ("success", 42)


def test_templates_are_rendered_without_running(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "v.json").write_text('{"name": "Ada"}')
    words = ["tasks", "render", "good", "shell", "2026-03-09", "-S", str(folder), "--variables", str(folder / "v.json")]
    assert said(capsys, *words)["bash_command"] == "echo 1 2026-03-09 Ada"


def test_tasks_are_listed_in_the_order_in_which_they_may_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "tasks", "list", "good", "-S", str(folder))
    assert [(task["task_id"], task["mapped"], task["upstream"]) for task in found] == [
        ("numbers", False, []), ("add", True, ["numbers"]), ("shell", False, ["add"]),
    ]  # fmt: skip


def test_a_folder_with_an_ignore_file_is_walked_as_the_processor_walks_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / ".airflowignore").write_text("good.py\n")
    (folder / "other.py").write_text(textwrap.dedent(GOOD).replace('"good"', '"other"'))
    assert [dag["dag_id"] for dag in said(capsys, "dags", "list", "-S", str(folder))] == ["other"]
