"""One try from order to report: the steps in their order, limits, callbacks, and what the context holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from try_harness import harness

from trackside.sdk.plugins import policies

HEAD = "from airflow.sdk import DAG, task, BaseOperator\nimport datetime as dt, os, time\n"


def made(tmp_path, body, **run):
    return harness(tmp_path, HEAD + textwrap.dedent(body), **run)


def test_steps_come_in_airflows_order(tmp_path):
    run = made(
        tmp_path,
        """
        seen = []
        def note(word):
            return lambda *args: seen.append(word)

        class Op(BaseOperator):
            template_fields = ("x",)
            def __init__(self, x, **kw):
                super().__init__(**kw)
                self.x = x
            def pre_execute(self, context):
                seen.append("pre")
            def execute(self, context):
                seen.append("execute " + self.x)
            def post_execute(self, context, result=None):
                seen.append("post")

        with DAG("d", schedule=None, user_defined_macros={"seen": seen}):
            Op(task_id="a", x="{{ ti.try_number }}", on_execute_callback=note("on_execute"), pre_execute=note("pre hook"),
               post_execute=note("post hook"), on_success_callback=[note("one"), note("two")])
        """,
    )
    assert run.attempt("a").outcome == "success"
    seen = run.dag.user_defined_macros["seen"]
    assert seen == ["on_execute", "pre hook", "pre", "execute 1", "post hook", "post", "one", "two"]


def test_rendered_fields_are_told_before_execute_runs(tmp_path):
    run = made(
        tmp_path,
        """
        from airflow.providers.standard.operators.bash import BashOperator
        with DAG("d", schedule=None):
            BashOperator(task_id="a", bash_command="echo {{ run_id }}; exit 1", env={"TOKEN": "abc{{ run_id }}"})
        """,
    )
    assert run.attempt("a").outcome == "failed"
    (update,) = run.comms.updates
    assert update["rendered_fields"]["bash_command"] == "echo r1; exit 1"
    assert update["rendered_fields"]["env"] == {"TOKEN": "***"}


def test_rendering_leaves_the_dag_as_it_was_for_the_next_fork(tmp_path):
    run = made(tmp_path, "with DAG('d', schedule=None):\n    @task\n    def f(x): return x\n    f('{{ run_id }}')\n")
    run.attempt("f")
    assert run.xcom("f") == "r1"
    assert list(run.dag.get_task("f").op_args) == ["{{ run_id }}"]


def test_the_task_finds_itself_in_its_environment(tmp_path):
    run = made(
        tmp_path,
        """
        with DAG("d", schedule=None, default_args={"owner": "ann", "email": ["a@b.c"]}):
            @task
            def f():
                return {k: v for k, v in os.environ.items() if k.startswith("AIRFLOW_CTX_")}
            f()
        """,
        logical_date="2024-01-01T00:00:00Z",
    )
    run.attempt("f", try_number=2)
    assert run.xcom("f") == {
        "AIRFLOW_CTX_DAG_ID": "d",
        "AIRFLOW_CTX_TASK_ID": "f",
        "AIRFLOW_CTX_DAG_RUN_ID": "r1",
        "AIRFLOW_CTX_LOGICAL_DATE": "2024-01-01T00:00:00+00:00",
        "AIRFLOW_CTX_TRY_NUMBER": "2",
        "AIRFLOW_CTX_DAG_OWNER": "ann",
        "AIRFLOW_CTX_DAG_EMAIL": "a@b.c",
    }


def test_what_the_sites_policy_adds_to_the_environment_gets_the_prefix_and_replaces_no_fact(tmp_path, monkeypatch):
    found = {"get_airflow_context_vars": [lambda context: {"cluster": context["ti"].task_id, "AIRFLOW_CTX_MINE": "1", "dag_id": "other"}]}
    monkeypatch.setattr(policies, "_found", {name: [] for name in policies.NAMES} | found)
    run = made(tmp_path, "with DAG('d', schedule=None):\n    @task\n    def f(): return dict(os.environ)\n    f()\n")
    run.attempt("f")
    seen = {name: run.xcom("f").get(f"AIRFLOW_CTX_{name}") for name in ("CLUSTER", "MINE", "DAG_ID", "TASK_ID")}
    assert seen == {"CLUSTER": "f", "MINE": "1", "DAG_ID": "d", "TASK_ID": "f"}
    assert "cluster" not in run.xcom("f")


def test_a_policy_that_adds_what_is_no_text_fails_the_task_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(policies, "_found", {name: [] for name in policies.NAMES} | {"get_airflow_context_vars": [lambda c: {"n": 1}]})
    run = made(tmp_path, "with DAG('d', schedule=None):\n    @task\n    def f(): pass\n    f()\n")
    report = run.attempt("f")
    assert report.outcome == "failed" and "get_airflow_context_vars gave 'n': 1" in report.error


ALWAYS = {
    *("dag", "dag_run", "inlets", "outlets", "inlet_events", "outlet_events", "macros", "map_index_template", "params"),
    *("run_id", "task", "task_instance", "ti", "task_instance_key_str", "task_reschedule_count", "task_state_store"),
    *("triggering_asset_events", "partition_key", "partition_date", "prev_start_date_success", "prev_end_date_success"),
    *("conn", "var"),
}
DATED = {
    *("logical_date", "ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz", "data_interval_start"),
    *("data_interval_end", "prev_data_interval_start_success", "prev_data_interval_end_success"),
}
KEYS = "with DAG('d', schedule=None):\n    @task\n    def f(**context): return sorted(context)\n    f()\n"


@pytest.mark.parametrize("dated", [True, False])
def test_the_context_has_airflows_keys(tmp_path, dated):
    day = "2024-01-01T00:00:00Z" if dated else None
    run = made(tmp_path, KEYS, logical_date=day, data_interval_start=day, data_interval_end=day)
    assert run.attempt("f").outcome == "success"
    found = set(run.xcom("f"))
    assert found >= ALWAYS
    assert found & DATED == (DATED if dated else set())


def test_the_run_before_is_asked_for_only_when_it_is_named(tmp_path):
    source = """
    with DAG("d", schedule=None):
        @task
        def quiet(ti=None, ds=None): return ds
        @task
        def curious(prev_start_date_success=None): return str(prev_start_date_success)
        quiet(); curious()
    """
    run = made(tmp_path, source, logical_date="2024-01-02T00:00:00Z")
    run.comms.runs = [
        {"dag_id": "d", "run_id": "r0", "state": "success", "logical_date": "2024-01-01T00:00:00+00:00",
         "start_date": "2024-01-01T05:00:00+00:00"},
    ]  # fmt: skip
    run.attempt("quiet")
    assert run.comms.requests == []
    run.attempt("curious")
    assert run.comms.requests == [("GET", "/runs/previous")]
    assert run.xcom("curious") == "2024-01-01 05:00:00+00:00"


def test_params_are_dag_then_task_then_conf(tmp_path):
    run = made(
        tmp_path,
        """
        with DAG("d", schedule=None, params={"a": 1, "b": 1, "c": 1}):
            @task(params={"b": 2, "c": 2})
            def f(params=None): return dict(params)
            f()
        """,
        conf={"c": 3, "extra": 4},
    )
    run.attempt("f")
    assert run.xcom("f") == {"a": 1, "b": 2, "c": 3, "extra": 4}


def test_a_conf_that_does_not_fit_a_param_fails_the_try_with_its_name(tmp_path):
    body = """
    from airflow.sdk import Param
    with DAG("d", schedule=None, params={"n": Param(1, type="integer")}):
        @task
        def f(): ...
        f()
    """
    report = made(tmp_path, body, conf={"n": "x"}).attempt("f")
    assert report.outcome == "failed"
    assert "Invalid input for param n" in (report.error or "")


def test_too_long_a_run_is_stopped_and_cleaned_up(tmp_path):
    run = made(
        tmp_path,
        f"""
        class Op(BaseOperator):
            def execute(self, context):
                try:
                    time.sleep(60)
                except Exception:
                    pass  # must not be able to swallow it
            def on_kill(self):
                open({str(tmp_path / "killed")!r}, "w").close()
        with DAG("d", schedule=None):
            Op(task_id="a", execution_timeout=dt.timedelta(seconds=0.2))
        """,
    )
    report = run.attempt("a")
    assert report.outcome == "failed"
    assert report.error is not None
    assert report.error.startswith("AirflowTaskTimeout: the task ran longer than its execution_timeout of 0.2 s (file.py:")
    assert (tmp_path / "killed").exists()


def test_the_alarm_of_a_timeout_does_not_outlive_the_task(tmp_path):
    body = """
    with DAG("d", schedule=None):
        @task(execution_timeout=dt.timedelta(seconds=30))
        def f(): ...
        f()
    """
    made(tmp_path, body).attempt("f")
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_sigterm_runs_on_kill_and_ends_the_try_without_retry(tmp_path):
    run = made(
        tmp_path,
        f"""
        import signal
        class Op(BaseOperator):
            def execute(self, context):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(60)
            def on_kill(self):
                open({str(tmp_path / "killed")!r}, "w").close()
        with DAG("d", schedule=None):
            Op(task_id="a", retries=3, on_failure_callback=lambda c: 1 / 0)
        """,
    )
    before = signal.getsignal(signal.SIGTERM)
    report = run.attempt("a", max_tries=3)
    assert report.outcome == "failed_no_retry"
    assert (tmp_path / "killed").exists()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_bash_command_dies_with_everything_it_started(tmp_path):
    marks = tmp_path / "pids"
    run = made(
        tmp_path,
        f"""
        from airflow.providers.standard.operators.bash import BashOperator
        with DAG("d", schedule=None):
            BashOperator(task_id="a", bash_command="sleep 300 & echo $! $$ > {marks}; wait",
                         execution_timeout=dt.timedelta(seconds=1))
        """,
    )
    assert run.attempt("a").outcome == "failed"
    deadline = time.monotonic() + 20
    while alive := [pid for pid in marks.read_text().split() if _is_alive(pid)]:
        assert time.monotonic() < deadline, f"still alive: {alive}"
        time.sleep(0.01)


def _is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


CALLBACKS = """
def note(kind):
    def cb(context):
        exc = context.get("exception")
        log.append(f"{kind} try={context['ti'].try_number} exc={type(exc).__name__ if exc else None}")
    return cb
log = []
ARGS = {f"on_{k}_callback": note(k) for k in ("execute", "success", "failure", "retry", "skipped")}
with DAG("d", schedule=None, default_args=ARGS, user_defined_macros={"log": log}):
    @task
    def fine(): ...
    @task(retries=1)
    def bad(): raise ValueError
    @task
    def skipped():
        from airflow.exceptions import AirflowSkipException
        raise AirflowSkipException
    @task
    def broken_callback(): ...
    fine(); bad(); skipped()
    broken_callback.override(on_success_callback=[lambda c: 1 / 0, note("after")])()
"""


@pytest.mark.parametrize(
    ("task_id", "order", "expected"),
    [
        ("fine", {}, ["execute try=1 exc=None", "success try=1 exc=None"]),
        ("bad", {"max_tries": 1}, ["execute try=1 exc=None", "retry try=1 exc=ValueError"]),
        ("bad", {"max_tries": 1, "try_number": 2}, ["execute try=2 exc=None", "failure try=2 exc=ValueError"]),
        ("skipped", {}, ["execute try=1 exc=None", "skipped try=1 exc=None"]),
        ("broken_callback", {}, ["execute try=1 exc=None", "after try=1 exc=None"]),
    ],
)
def test_callbacks_of_the_outcome_run(tmp_path, task_id, order, expected):
    run = made(tmp_path, CALLBACKS)
    report = run.attempt(task_id, **order)
    assert run.dag.user_defined_macros["log"] == expected
    assert (report.outcome == "success") == (task_id in ("fine", "broken_callback"))


def test_the_report_is_told_before_the_callbacks_of_the_outcome(tmp_path):
    from trackside.core.messages import StartOrder
    from trackside.sdk.execution.run import run_task

    run = made(tmp_path, CALLBACKS)
    log = run.dag.user_defined_macros["log"]
    order = StartOrder("t", "t", "d", "fine", {"dag_id": "d", "run_id": "r1"})
    run_task(order, run.dag.get_task("fine"), run.dag, run.comms, report_to=lambda report: log.append(report.outcome))
    assert log == ["execute try=1 exc=None", "success", "success try=1 exc=None"]


def test_an_operator_of_an_own_class_finds_the_context_from_anywhere(tmp_path):
    run = made(
        tmp_path,
        """
        import threading
        from airflow.sdk import get_current_context
        with DAG("d", schedule=None):
            @task
            def f():
                found = [get_current_context()["run_id"]]
                thread = threading.Thread(target=lambda: found.append(get_current_context()["run_id"]))
                thread.start(); thread.join()
                return found
            f()
        """,
    )
    run.attempt("f")
    assert run.xcom("f") == ["r1", "r1"]
    from trackside.sdk.execution.current import get_current_context

    with pytest.raises(RuntimeError, match="no context was found"):
        get_current_context()


def test_a_forked_child_of_a_task_is_not_kept_by_the_tasks_sigterm_handler(tmp_path):
    code = textwrap.dedent(
        f"""
        import sys; sys.path.insert(0, {os.fspath(Path(__file__).parent)!r})
        from pathlib import Path
        from try_harness import harness
        run = harness(Path({str(tmp_path)!r}), '''
        import os, signal, time
        from airflow.sdk import DAG, BaseOperator
        class Op(BaseOperator):
            def execute(self, context):
                ready, tell = os.pipe()
                pid = os.fork()
                if not pid:
                    os.write(tell, b"x")
                    while True:
                        time.sleep(0.01)
                os.read(ready, 1)  # signals that arrive while Python forks are lost
                os.kill(pid, signal.SIGTERM)
                return os.waitpid(pid, 0)[1] != 0
            def on_kill(self):
                open({str(tmp_path / "killed")!r}, "w").close()
        with DAG("d", schedule=None):
            Op(task_id="a")
        ''')
        assert run.attempt("a").outcome == "success" and run.xcom("a") is True
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "killed").exists()


def test_a_task_whose_asset_lost_its_name_fails_before_it_begins(tmp_path):
    run = made(
        tmp_path,
        """
        with DAG("d", schedule=None):
            @task
            def a():
                raise AssertionError("ran")
            a()
        """,
    )
    report = run.attempt("a", inactive_assets=["x (s3://x)"])
    assert (report.outcome, "inactive assets" in report.error, "x (s3://x)" in report.error) == ("failed", True, True)
