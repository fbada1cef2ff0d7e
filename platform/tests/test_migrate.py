"""`trackside migrate airflow2`: what is said, what is rewritten, and that the result works and keeps every comment."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.airflow.names import MODULES
from trackside.cli import main
from trackside.cli.airflow2 import rules
from trackside.cli.airflow2.rewrite import Migrated, NotPython, comments, migrate
from trackside.sdk.parsing import load_file

OLD = '''
"""An Airflow 2 file."""
# the imports
from datetime import timedelta

from airflow import DAG, Dataset  # two names
from airflow.models import Variable
from airflow.models.baseoperator import chain
from airflow.operators.dummy import DummyOperator
from airflow.operators.python import PythonOperator, get_current_context
from airflow.operators.bash_operator import BashOperator as Bash
from airflow.utils.dates import days_ago
from airflow.utils.task_group import TaskGroup
from airflow.utils.trigger_rule import TriggerRule

default_args = {
    "owner": "me",
    "provide_context": True,
    "retries": 1,  # once more
    "sla": timedelta(hours=1),
}

def work(**kwargs):
    when = kwargs["execution_date"]  # the run's date
    return kwargs["dag_run"].execution_date or when

with DAG(
    "old",
    default_args=default_args,
    schedule_interval="@daily",
    start_date=days_ago(2),
    concurrency=4,
    default_view="graph",
    catchup=False,  # no past
) as dag:
    start = DummyOperator(task_id="start")
    py = PythonOperator(task_id="py", python_callable=work, provide_context=True, task_concurrency=1)
    sh = Bash(
        task_id="sh",
        bash_command="echo {{ execution_date }} {{ dag_run.execution_date }} {{ ds }}",
        trigger_rule="none_failed_or_skipped",
    )
    end = DummyOperator(task_id="end", trigger_rule=TriggerRule.NONE_FAILED_OR_SKIPPED, outlets=[Dataset("s3://b/k")])
    chain(start, py, sh, end)
'''


def changed(text: str) -> str:
    return migrate(textwrap.dedent(text)).after.strip()


def messages(result: Migrated) -> str:
    return "\n".join(f"{f.line} {f.level} {f.fixed} {f.message}" for f in result.findings)


def test_a_whole_file_is_rewritten_so_that_it_loads_and_no_comment_is_lost(tmp_path: Path) -> None:
    result = migrate(OLD)
    assert comments(result.before) == comments(result.after)
    assert not result.open, messages(result)
    for gone in ("schedule_interval", "days_ago", "DummyOperator", "Dataset", "provide_context", "execution_date", "default_view", "sla"):
        assert gone not in result.after, gone
    path = tmp_path / "old.py"
    path.write_text(result.after)
    loaded = load_file(path)
    assert not loaded.errors, loaded.errors
    (dag,) = loaded.dags
    assert dag.max_active_tasks == 4 and dag.get_task("end").trigger_rule == "none_failed_min_one_success"
    assert migrate(result.after).after == result.after, "nothing is left to rewrite"


def test_every_name_moves_to_a_place_that_the_bridge_has() -> None:
    moved = {(module, name): rules.new_place(module, name) for module, names in MODULES.items() for name in names if name != "*"}
    places = {key: place for key, place in moved.items() if place is not None}
    assert len(places) > 80
    for key, (module, name) in places.items():
        assert name in MODULES[module] or "*" in MODULES[module], (key, module, name)
    assert places["airflow.models", "Variable"] == ("airflow.sdk", "Variable")
    assert places["airflow.operators.bash", "BashOperator"] == ("airflow.providers.standard.operators.bash", "BashOperator")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from airflow.decorators import dag, task", "from airflow.sdk import dag, task"),
        ("from airflow.models import DAG as D, DagRun", "from airflow.models import DagRun\nfrom airflow.sdk import DAG as D"),
        ("from airflow.datasets import Dataset\nx = Dataset('a')", "from airflow.sdk import Asset\nx = Asset('a')"),
        ("from airflow.datasets import Dataset as D\nx = D('a')", "from airflow.sdk import Asset as D\nx = D('a')"),
        ("from airflow.utils import timezone", "from airflow.sdk import timezone"),
        ("from airflow.sdk import DAG\nDAG('d', fail_stop=True)", "from airflow.sdk import DAG\nDAG('d', fail_fast=True)"),
        ("Variable.get('k', default_var=None)", "Variable.get('k', default=None)"),
        ("TriggerDagRunOperator(task_id='t', execution_date=x)", "TriggerDagRunOperator(task_id='t', logical_date=x)"),
        ("context['triggering_dataset_events']", "context['triggering_asset_events']"),
        ('f(\n    task_id="a",\n    provide_context=True,\n)', 'f(\n    task_id="a",\n)'),
        ('f(task_id="a", provide_context=True)', 'f(task_id="a")'),
        ("x = '{{ execution_date.year }} execution_date'", "x = '{{ logical_date.year }} execution_date'"),
    ],
)
def test_what_can_be_rewritten(before: str, after: str) -> None:
    assert changed(before) == after


@pytest.mark.parametrize(
    ("text", "line", "wanted"),
    [
        ("from airflow.operators.subdag import SubDagOperator", 1, "TaskGroup"),
        ("\nfrom airflow.utils.session import provide_session", 2, "REST API"),
        ("from airflow.settings import Session", 1, "REST API"),
        ("from airflow.contrib.hooks.x import Y", 1, "provider package"),
        ("def f(execution_date): pass", 1, "logical_date"),
        ("def f(next_ds, **_): pass", 1, "data_interval_end"),
        ("x = '{{ next_ds }}'", 1, "data_interval_end | ds"),
        ("y = ti.execution_date", 1, "ti.dag_run.logical_date"),
        ("from airflow.operators.nowhere import X", 1, "not available"),
        ("DAG('d', schedule_interval='@daily', schedule=None)", 1, "is called schedule now"),
    ],
)
def test_what_a_person_must_do_is_said_with_its_line_and_left_alone(text: str, line: int, wanted: str) -> None:
    result = migrate(text)
    assert result.after == text
    (found,) = result.open
    assert found.line == line and wanted in found.message


def test_changed_defaults_are_named() -> None:
    said = messages(migrate("from airflow.sdk import DAG\nDAG('d', schedule='@daily')\n"))
    assert "2 warning False catchup is False now" in said and "CronDataIntervalTimetable" in said


def test_what_stands_beside_a_comment_is_left_for_a_person() -> None:
    text = "f(\n    task_id='a',\n    provide_context=True,  # needed\n)\nfrom airflow.models import (\n    DAG,  # the container\n)\n"
    result = migrate(text)
    assert result.after == text
    assert len(result.open) == 2


def test_a_local_name_that_only_looks_like_an_old_one_stays() -> None:
    text = "class Dataset: pass\nx = Dataset()\nf(Dataset=1)\n"
    assert migrate(text).after == text


def test_python_that_cannot_be_read_is_said() -> None:
    with pytest.raises(NotPython, match="line 1"):
        migrate("def f(:\n")


@settings(deadline=None)  # the first call imports a parser
@given(st.lists(st.sampled_from(OLD.strip().splitlines()[3:13]), unique=True), st.text("abc #'\"\\n", max_size=12))
def test_comments_and_other_text_survive_whatever_is_imported(lines: list[str], remark: str) -> None:
    text = "".join(f"{line}  # {number} {' '.join(remark.split())}\n" for number, line in enumerate(lines)) + "x = 1\n"
    result = migrate(text)
    assert comments(text) == comments(result.after)
    compile(result.after, "x", "exec")


def test_the_command_shows_the_difference_and_writes_when_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "old.py"
    path.write_text(OLD)
    assert main(["migrate", "airflow2", str(path)]) == 1
    out = capsys.readouterr().out
    assert '+    schedule="@daily",' in out and f"{path}:30: error: the argument schedule_interval" in out
    assert path.read_text() == OLD
    assert main(["migrate", "airflow2", "--write", str(tmp_path)]) == 0
    assert "schedule_interval" not in path.read_text()
    capsys.readouterr()
    assert main(["migrate", "airflow2", str(path), "-o", "json"]) == 0
    assert all(finding["level"] != "error" for finding in json.loads(capsys.readouterr().out))


def test_a_file_with_windows_line_ends_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "old.py"
    path.write_bytes(b"from airflow.decorators import dag\r\nx = 1\r\n")
    assert main(["migrate", "airflow2", "--write", str(path)]) == 0
    assert path.read_bytes() == b"from airflow.sdk import dag\r\nx = 1\r\n"
