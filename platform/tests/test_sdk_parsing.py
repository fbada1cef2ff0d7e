"""Loading DAG files: what is collected, which errors come at which line, and what one bad DAG does to the others."""

from __future__ import annotations

import json
import os
import py_compile
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from trackside.core.graph import Graph
from trackside.core.spec import DagSpec
from trackside.sdk import stack
from trackside.sdk.parsing import load_file, might_contain_dag
from trackside.sdk.serialization import to_spec


@pytest.fixture
def load(tmp_path):
    def write(text, name="f.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        return load_file(path, dags_folder=tmp_path)

    yield write
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


def ids(loaded):
    return [dag.dag_id for dag in loaded.dags]


def test_dags_of_blocks_globals_and_functions_are_collected_once_in_order(load, tmp_path):
    loaded = load("""
        from airflow.sdk import DAG, dag

        with DAG("a", schedule=None) as x:
            pass
        same = x
        b = DAG("b")

        @dag
        def c():
            pass

        c()

        def make():
            with DAG("e"):
                pass
            with DAG("hidden", auto_register=False):
                pass

        make()
    """)
    assert not loaded.errors
    assert sorted(ids(loaded)) == ["a", "b", "c", "e"]
    assert loaded.dags[0].fileloc == str(tmp_path / "f.py")
    assert loaded.dags[0].relative_fileloc == "f.py"
    assert loaded.get_dag("b").dag_id == "b"


def test_files_of_the_same_name_do_not_replace_each_other_and_reloading_reads_again(load, tmp_path):
    load("from airflow.sdk import DAG\nDAG('a')\nx = DAG('one')\n")
    (tmp_path / "sub").mkdir()
    assert ids(load("from airflow.sdk import DAG\nx = DAG('two')\n", "sub/f.py")) == ["two"]
    assert ids(load("from airflow.sdk import DAG\nx = DAG('three')\n")) == ["three"]
    assert to_spec(load("from airflow.sdk import DAG\nx = DAG('two')\n", "sub/f.py").dags[0]).relative_fileloc == "sub/f.py"


def test_files_import_their_neighbours_in_the_dags_folder(load, tmp_path):
    (tmp_path / "helper_of_test.py").write_text("NAME = 'from_helper'\n")
    assert ids(load("from airflow.sdk import DAG\nfrom helper_of_test import NAME\nx = DAG(NAME)\n")) == ["from_helper"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("import os\nfrom ro_no_such_module import x\n", 2, r"No module named 'ro_no_such_module'\. Install the package"),
        ("x = 1\nraise RuntimeError('on purpose')\n", 2, "RuntimeError: on purpose"),
        ("def f(:\n", 1, "SyntaxError"),
        ("x = 1\nwith DAG('d'):\n    pass\n", 2, "Add: from airflow.sdk import DAG"),
        ("import sys\nsys.exit(3)\n", 2, r"sys.exit\(3\)"),
        ("from airflow.sdk import DAG\n\nDAG('a b')\n", 3, "dag_id 'a b'"),
        ("from airflow.sdk import DAG\nDAG('d', schedule='x y')\n", 2, "(?i)cron|schedule"),
        ("from airflow.sdk import DAG, BaseOperator\nwith DAG('d'):\n    BaseOperator(task_id='t', nope=1)\n", 3, "nope=1"),
        ("def helper():\n    1 / 0\nhelper()\n", 2, "ZeroDivisionError"),
    ],
)
def test_errors_name_the_line_the_author_wrote(load, text, line, words):
    import re

    loaded = load(text)
    assert loaded.dags == []
    (error,) = loaded.errors
    assert re.search(words, error.message), error.message
    assert (error.line, error.dag_id) == (line, None)
    assert "Traceback" in error.traceback or "SyntaxError" in error.traceback
    assert "trackside/sdk" not in error.traceback


def test_a_file_that_fails_in_a_block_leaves_nothing_open(load):
    load("from airflow.sdk import DAG\nwith DAG('d'):\n    raise ValueError\n")
    assert not stack.DagContext.stack
    assert not stack.TaskGroupContext.stack
    assert ids(load("from airflow.sdk import DAG\nx = DAG('ok')\n", "g.py")) == ["ok"]


def test_a_circle_is_named_and_does_not_hide_the_other_dags(load):
    loaded = load("""
        from airflow.sdk import DAG
        from airflow.providers.standard.operators.empty import EmptyOperator

        with DAG("good"):
            EmptyOperator(task_id="t")
        with DAG("bad"):
            a = EmptyOperator(task_id="a")
            b = EmptyOperator(task_id="b")
            c = EmptyOperator(task_id="c")
            a >> b >> c >> a
        with DAG("fine"):
            EmptyOperator(task_id="t")
    """)
    assert ids(loaded) == ["good", "fine"]
    (error,) = loaded.errors
    assert error.dag_id == "bad"
    assert "Cycle detected in DAG: a -> b -> c -> a" in error.message or "-> a" in error.message
    assert "(line 7)" in error.message
    assert error.line in (7, 8, 9)


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        ("s = EmptyOperator(task_id='s').as_setup()\n    s >> EmptyOperator(task_id='w', trigger_rule='all_done')", 5, "ALL_SUCCESS"),
        ("a = EmptyOperator(task_id='a')\n    a >> a", 4, "a -> a"),
    ],
)
def test_dags_that_break_a_rule_are_errors_at_their_tasks(load, body, line, words):
    loaded = load(
        "from airflow.sdk import DAG\nfrom airflow.providers.standard.operators.empty import EmptyOperator\n"
        f"with DAG('d'):\n    {body}\n"
    )
    (error,) = loaded.errors
    assert words in error.message
    assert (error.line, error.dag_id) == (line, "d")


@pytest.mark.parametrize("value", ["lambda: 1", "{1, 2}", "object()", "round_about"])
def test_values_that_cannot_be_stored_are_errors_of_their_line(load, value):
    loaded = load(f"from airflow.sdk import DAG\nround_about = []\nround_about.append(round_about)\nDAG('d', params={{'p': {value}}})\n")
    (error,) = loaded.errors
    assert (loaded.dags, error.line) == ([], 4)
    assert "json-serializable" in error.message


def test_a_schedule_without_values_for_its_params_is_an_error_at_the_dag(load):
    loaded = load("from airflow.sdk import DAG, Param\n\nx = DAG('d', schedule='@daily', params={'p': Param(type='string')})\n")
    (error,) = loaded.errors
    assert (error.line, error.dag_id) == (3, "d")
    assert "not allowed to define a Schedule" in error.message


def test_a_dag_defined_twice_is_a_warning_and_the_later_one_counts(load):
    loaded = load("from airflow.sdk import DAG\nx = DAG('d', description='first')\ny = DAG('d', description='second')\n")
    assert [d.description for d in loaded.dags] == ["second"]
    assert not loaded.errors
    assert "lines 2 and 3" in loaded.warnings[0].message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("from datetime import datetime\nfrom airflow.sdk import DAG\nx = DAG('d', start_date=datetime.now())\n", 3),
        ("import random\nfrom airflow.sdk import DAG\nx = DAG('d', description=f'made {random.random()}')\n", 3),
        ("import time\nfrom airflow.sdk import DAG\nNOW = time.time()\nx = DAG('d', tags=[str(NOW)])\n", 4),
        ("import pendulum\nfrom airflow.sdk import DAG\nx = DAG('d', default_args={'start_date': pendulum.today().add(days=-1)})\n", 3),
    ],
)
def test_values_that_change_at_every_parse_are_a_warning(load, text, line):
    loaded = load(text)
    (warning,) = loaded.warnings
    assert (warning.kind, warning.dag_id, warning.line) == ("runtime varying value", "d", line)


def test_values_that_are_made_later_are_no_warning(load):
    assert not load("""
        from datetime import datetime
        from airflow.sdk import DAG
        from airflow.providers.standard.operators.python import PythonOperator

        def work():
            return datetime.now()

        with DAG("d", start_date=datetime(2024, 1, 1)):
            PythonOperator(task_id="t", python_callable=lambda: datetime.now())
    """).warnings


def test_zip_files_hold_dags_at_their_top(tmp_path):
    path = tmp_path / "packed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zipped_dag_of_test.py", "from airflow.sdk import DAG\nfrom zipped_lib_of_test.x import N\nx = DAG(N)\n")
        archive.writestr("zipped_broken_of_test.py", "# airflow dag\nraise ValueError('no')\n")
        archive.writestr("zipped_lib_of_test/__init__.py", "")
        archive.writestr("zipped_lib_of_test/x.py", "N = 'zipped'\n")
    loaded = load_file(path, dags_folder=tmp_path)
    assert ids(loaded) == ["zipped"]
    assert loaded.dags[0].fileloc == f"{path}/zipped_dag_of_test.py"
    assert loaded.dags[0].relative_fileloc == "packed.zip/zipped_dag_of_test.py"
    assert (loaded.errors[0].line, "ValueError: no" in loaded.errors[0].message) == (2, True)
    sys.path.remove(str(path))


def test_a_broken_zip_is_an_error(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(b"no archive")
    assert "cannot be opened" in load_file(path).errors[0].message


def test_safe_mode_looks_for_the_words(tmp_path):
    path = tmp_path / "x.py"
    for text, expected in (("from airflow.sdk import DAG", True), ("from airflow.sdk import asset", True), ("import os", False)):
        path.write_text(text)
        assert might_contain_dag(path) is expected


EVERYTHING = """
    import datetime as dt
    from airflow.sdk import DAG, Asset, Label, Param, TaskGroup, task, task_group
    from airflow.providers.standard.operators.bash import BashOperator

    class Odd:
        pass

    with DAG("all", schedule=[Asset("a")], params={"p": Param(1, type="integer")}, default_args={"odd": Odd(), "s": {3, 1, 2}}):
        @task(outlets=[Asset("b")])
        def make(x=Odd(), y={"b", "a", "c"}):
            return [1]

        @task
        def use(n):
            return n

        @task_group
        def steps(n):
            return use(n)

        with TaskGroup("g"):
            sh = BashOperator(task_id="sh", bash_command="x", env={"d": dt.date(2024, 1, 1)}, retry_delay=dt.timedelta(seconds=3))
        m = make()
        m >> Label("l") >> sh
        use.expand(n=m)
        steps.expand(n=m)
"""


def test_the_stored_form_is_json_comes_back_equal_and_is_the_same_at_every_parse(load):
    first, second = load(EVERYTHING), load(EVERYTHING)
    assert not first.errors, first.errors
    one, two = to_spec(first.dags[0]), to_spec(second.dags[0])
    text = json.dumps(one.to_dict(), allow_nan=False)
    assert DagSpec.from_dict(json.loads(text)).to_dict() == one.to_dict()
    assert one.structure_hash() == two.structure_hash()
    assert Graph(one).order[0] == "make"
    assert " at 0x" not in text


def test_nothing_but_where_the_file_lies_depends_on_its_place(load, tmp_path):
    one = to_spec(load(EVERYTHING).dags[0])
    (tmp_path / "sub").mkdir()
    two = to_spec(load(EVERYTHING, "sub/f.py").dags[0])
    assert two.relative_fileloc == "sub/f.py"
    assert one.structure_hash() == two.structure_hash()


def test_importing_the_authoring_api_stays_cheap():
    import subprocess

    code = "import sys, trackside.sdk, trackside.sdk.parsing; print([m for m in ('jinja2', 'jsonschema', 'pendulum') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_stale_pyc_of_the_same_second_and_size_never_hides_an_edit(tmp_path: Path) -> None:
    """Also one that somebody else's Python wrote into the DAG folder."""
    (tmp_path / "pack").mkdir()
    texts = {"top.py": "WORD = 'AAA'\n", "pack/inner.py": "WORD = 'AAA'\n", "pack/__init__.py": ""}
    dag = "from airflow.sdk import DAG\nimport top\nfrom pack import inner\nd = DAG(f'{top.WORD}_{inner.WORD}_xxx')\n"
    for name, text in {**texts, "file.py": dag}.items():
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (1_700_000_000, 1_700_000_000))
        py_compile.compile(str(tmp_path / name))
    for name, text in {**texts, "file.py": dag}.items():
        (tmp_path / name).write_text(text.replace("AAA", "BBB").replace("xxx", "yyy"))
        os.utime(tmp_path / name, (1_700_000_000, 1_700_000_000))
    code = (
        "import sys; from trackside.sdk.parsing import load_file; "
        "print(load_file(sys.argv[1], dags_folder=sys.argv[2]).dags[0].dag_id)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "file.py"), str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "BBB_BBB_yyy"
