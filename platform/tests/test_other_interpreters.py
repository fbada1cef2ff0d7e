"""Functions run by another interpreter: what they get, what comes back, what they may ask."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trackside.airflow import install
from trackside.sdk.decorators import task
from trackside.sdk.exceptions import AirflowException, AirflowSkipException
from trackside.sdk.execution.comms import MemoryComms
from trackside.sdk.execution.context import Context
from trackside.sdk.execution.current import use_comms
from trackside.sdk.operators import venv_environment
from trackside.sdk.operators.venv_environment import Recipe
from trackside.sdk.operators.virtualenv import ExternalPythonOperator, PythonVirtualenvOperator

install()


def double(x, ds=None):
    return {"twice": x * 2, "ds": ds, "strings": virtualenv_string_args}  # type: ignore[name-defined]  # noqa: F821


def ask_for_a_variable():
    from airflow.sdk import Variable

    return Variable.get("colour")


def leave(code):
    import sys

    sys.exit(code)


def complain():
    raise ValueError("the cat is on the table")


def external(function, **kwargs):
    return ExternalPythonOperator(task_id="t", python=sys.executable, python_callable=function, **kwargs)


def run(operator, **context):
    with use_comms(MemoryComms(variables={"colour": "green"})):
        return operator.execute(Context(context))


def test_arguments_context_and_strings_go_there_and_the_result_comes_back():
    operator = external(double, op_args=[21], string_args=["a", "b"])
    assert run(operator, ds="2026-01-02") == {"twice": 42, "ds": "2026-01-02", "strings": ["a", "b"]}


def test_the_function_asks_the_server_through_its_task():
    assert run(external(ask_for_a_variable)) == "green"


def test_an_exit_code_can_mean_skipped():
    with pytest.raises(AirflowSkipException):
        run(external(leave, op_args=[7], skip_on_exit_code=[7]))


def test_a_failure_tells_what_the_function_said():
    with pytest.raises(AirflowException, match="the cat is on the table"):
        run(external(complain))


def test_what_cannot_be_pickled_is_named():
    with pytest.raises(AirflowException, match=r"\['x'\]"):
        run(external(double, op_kwargs={"x": lambda: 1}))


def test_an_interpreter_that_is_not_there_is_refused():
    operator = ExternalPythonOperator(task_id="t", python="/nowhere/python", python_callable=complain)
    with pytest.raises(ValueError, match="/nowhere/python"):
        run(operator)


@pytest.mark.parametrize("function", [lambda: 1, print])
def test_only_functions_with_a_source_are_taken(function):
    with pytest.raises(ValueError, match="only supports functions"):
        PythonVirtualenvOperator(task_id="t", python_callable=function)


def test_a_kept_environment_is_made_once(tmp_path, monkeypatch):
    made = []

    def make(self, folder, hook):
        made.append(self)
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").symlink_to(sys.executable)
        return folder / "bin" / "python"

    monkeypatch.setattr(Recipe, "make", make)
    for _ in range(2):
        operator = PythonVirtualenvOperator(
            task_id="t", python_callable=double, op_args=[1], requirements=["six"], venv_cache_path=str(tmp_path)
        )
        assert run(operator)["twice"] == 2
    assert [list(recipe.requirements) for recipe in made] == [["six"]]


def test_environments_made_with_pip_see_only_the_given_index(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__STANDARD__VENV_INSTALL_METHOD", "pip")
    commands = []
    monkeypatch.setattr(venv_environment, "_run", lambda hook, command, env: commands.append(command))
    Recipe(["six"], index_urls=["https://a/simple", "https://b/simple"]).make(tmp_path, None)
    assert commands[0][:4] == [sys.executable, "-m", "venv", str(tmp_path)]
    assert commands[1][-2:] == ["-r", str(tmp_path / "requirements.txt")]
    assert (tmp_path / "pip.conf").read_text() == "[global]\nindex-url = https://a/simple\nextra-index-url = https://b/simple\n"


def test_the_script_runs_where_trackside_is_not_installed(tmp_path):
    from trackside.sdk.operators.venv_script import script

    text = script(source="def f():\n    return 5\n", function="f", module="some_dag", library="pickle", relay=None, other_pendulum=False)
    code = tmp_path / "script.py"
    code.write_text(text)
    names = [tmp_path / name for name in ("in", "out", "strings", "errors")]
    for name in names:
        name.write_bytes(b"")
    subprocess.run([sys.executable, "-I", "-S", str(code), *map(str, names)], check=True)
    assert names[1].read_bytes()


def test_the_decorators_make_these_operators():
    @task.external_python(python=sys.executable)
    def external_task(x):
        return x

    @task.virtualenv(requirements=["six"], system_site_packages=False)
    def venv_task():
        return 1

    @task.branch_external_python(python=sys.executable)
    def branch():
        return "a"

    kinds = [f.operator_class.custom_operator_name for f in (external_task, venv_task, branch)]
    assert kinds == ["@task.external_python", "@task.virtualenv", "@task.branch_external_python"]


def test_a_stub_is_empty():
    from trackside.sdk.dag import DAG

    with DAG("d"):

        @task.stub(queue="go")
        def elsewhere(): ...

        @task.stub
        def not_empty():
            return 1

        assert elsewhere().operator.queue == "go"
        with pytest.raises(ValueError, match="must be an empty function"):
            not_empty()
