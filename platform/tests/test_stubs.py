"""`trackside stubs install`: type checkers know `airflow…` by what really runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from trackside.airflow import stubs
from trackside.airflow.names import PACKAGES
from trackside.cli.commands import main

GOOD = """
from datetime import datetime

from airflow.models import DAG
from airflow.operators.bash import BashOperator
from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import Asset, Variable, dag, task

with DAG("old", start_date=datetime(2026, 1, 1), schedule="@daily", catchup=False) as old:
    first = BashOperator(task_id="first", bash_command="echo 1", retries=2)
    PythonOperator(task_id="second", python_callable=print) << first
    HttpOperator(task_id="third", endpoint="/")


@dag(schedule=[Asset("orders")])
def new() -> None:
    @task(retries=3)
    def add(x: int) -> int:
        return x + int(Variable.get("n", default="1"))

    add(1)


new()
"""


def test_mypy_reads_a_dag_file_by_the_stubs_and_finds_a_wrong_keyword_and_a_wrong_name(tmp_path, capsys):
    assert main(["stubs", "install", "--into", str(tmp_path / "typings")]) == 0
    assert "stub files are in" in capsys.readouterr().out
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text(
        "from airflow.sdk import Asset, Assett\nfrom airflow.operators.bash import BashOperator\n\n"
        "orders = Asset(nam='orders')\nBashOperator(task_id='a', bash_comand='echo')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", "--cache-dir", str(tmp_path / "cache"), "good.py", "bad.py"],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": str(tmp_path / "typings")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "good.py" not in done.stdout, done.stdout
    assert 'bad.py:1: error: Module "airflow.sdk" has no attribute "Assett"' in done.stdout, done.stdout + done.stderr
    assert "bad.py:4: error: No overload" in done.stdout or 'bad.py:4: error: Unexpected keyword argument "nam"' in done.stdout, done.stdout
    assert 'bad.py:5: error: Missing named argument "bash_command"' in done.stdout


def test_every_module_of_the_bridge_has_a_stub_that_is_python(tmp_path):
    found = dict(stubs.stubs())
    assert set(found) == set(PACKAGES)
    for name, text in found.items():
        compile(text, name, "exec")


def test_the_stubs_are_made_anew_and_nothing_else_is_touched(tmp_path):
    stubs.write(tmp_path)
    gone = tmp_path / "airflow" / "gone.pyi"
    gone.write_text(stubs.MARK)
    own = tmp_path / "airflow" / "own.pyi"
    own.write_text("x: int")
    stubs.write(tmp_path)
    assert not gone.exists()
    assert own.read_text() == "x: int"


@pytest.mark.parametrize("file", ["__init__.py", "notes.txt"])
def test_a_folder_airflow_of_somebody_elses_is_left_alone(tmp_path, file, capsys):
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / file).write_text("")
    assert main(["stubs", "install", "--into", str(tmp_path)]) == 1
    assert "was not made by this command. Name another folder with --into" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "airflow").iterdir()] == [file]
