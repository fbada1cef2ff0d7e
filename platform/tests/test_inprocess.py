"""`dag.test()`: a whole run in one process ends as a real one does."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from try_harness import dag_of

from trackside.sdk.exceptions import ParamValidationError, TaskNotFound
from trackside.sdk.inprocess import TestedRun, try_task

HEAD = """
from datetime import datetime, timedelta
from airflow.sdk import DAG, dag, task, task_group, Asset, BaseOperator, BaseSensorOperator, Param, Variable, setup, teardown
from airflow.sdk import TriggerRule, chain
from airflow.exceptions import AirflowSkipException, AirflowFailException
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator, ShortCircuitOperator
"""


def run(tmp_path: Path, body: str, **arguments: Any) -> TestedRun:
    dag_id = arguments.pop("dag_id", None)
    found: TestedRun = dag_of(tmp_path, HEAD + textwrap.dedent(body), dag_id).test(**arguments)
    return found


def test_values_pass_from_task_to_task(tmp_path: Path) -> None:
    done = run(tmp_path, """
        with DAG("d"):
            @task
            def one(): return 1
            @task
            def add(x): return x + 1
            add(add(one()))
    """)
    assert done.state == "success"
    assert done.states == {"one": "success", "add": "success", "add__1": "success"}
    last = done.get_task_instance("add__1")
    assert last is not None and last.xcom_pull() == 3 and last.xcom_pull("one") == 1


def test_a_failed_task_is_tried_again_and_its_second_try_counts(tmp_path: Path) -> None:
    done = run(tmp_path, """
        with DAG("d"):
            @task(retries=2, retry_delay=timedelta(hours=1))
            def flaky(ti=None):
                if ti.try_number < 2: raise ValueError("not yet")
                return ti.try_number
            flaky()
    """, wait_for_retries=False)
    (flaky,) = done.task_instances
    assert (flaky.state, flaky.try_number, flaky.xcom_pull()) == ("success", 2, 2)


def test_retries_end_and_what_follows_is_upstream_failed(tmp_path: Path) -> None:
    done = run(tmp_path, """
        with DAG("d"):
            @task(retries=1, retry_delay=timedelta(0))
            def bad(): raise ValueError("always")
            @task(trigger_rule="all_done")
            def tidy(): return 1
            bad() >> [EmptyOperator(task_id="after"), tidy()]
    """)
    assert done.state == "failed" and "bad" in (done.reason or "")
    assert done.states == {"bad": "failed", "after": "upstream_failed", "tidy": "success"}
    bad = done.get_task_instance("bad")
    assert bad is not None and bad.try_number == 2 and "ValueError: always" in (bad.error or "")


def test_callbacks_of_the_dag_are_called_once_with_the_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    run(tmp_path, f"""
        def keep(context): open({str(mark)!r}, "a").write(context["dag_run"].state + "\\n")
        with DAG("d", on_success_callback=keep, on_failure_callback=keep):
            EmptyOperator(task_id="e")
    """)
    assert mark.read_text() == "success\n"


def test_branches_short_circuits_and_rules_skip_as_they_do_in_a_real_run(tmp_path: Path) -> None:
    done = run(tmp_path, """
        with DAG("d"):
            @task.branch
            def choose(): return "left"
            left, right = EmptyOperator(task_id="left"), EmptyOperator(task_id="right")
            join = EmptyOperator(task_id="join", trigger_rule="none_failed_min_one_success")
            choose() >> [left, right] >> join
            stop = ShortCircuitOperator(task_id="stop", python_callable=lambda: False)
            stop >> EmptyOperator(task_id="mid") >> EmptyOperator(task_id="end", trigger_rule="all_done")
    """)
    assert done.state == "success"
    assert done.states == {
        "choose": "success", "left": "success", "right": "skipped", "join": "success",
        "stop": "success", "mid": "skipped", "end": "skipped",
    }  # fmt: skip


def test_mapped_tasks_and_groups_expand_over_results(tmp_path: Path) -> None:
    done = run(tmp_path, """
        with DAG("d"):
            @task
            def numbers(): return [1, 2, 3]
            @task
            def nothing(): return []
            @task(max_active_tis_per_dag=1)
            def twice(x):
                if x == 2: raise AirflowSkipException("two")
                return x * 2
            @task
            def total(xs): return sum(xs)
            @task_group
            def group(x):
                @task
                def plus(x): return x + 10
                return plus(x)
            ns = numbers()
            doubled = twice.expand(x=ns)
            total.override(trigger_rule="none_failed")(doubled)
            total.override(task_id="grand")(group.expand(x=ns))
            twice.override(task_id="none").expand(x=nothing())
    """)
    assert done.state == "success", done.states
    assert done.states["twice[1]"] == "skipped" and done.states["twice[2]"] == "success" and done.states["none"] == "skipped"
    pulled = {name: done.get_task_instance(name) for name in ("total", "grand")}
    assert pulled["total"].xcom_pull() == 8 and pulled["grand"].xcom_pull() == 36  # type: ignore[union-attr]
    assert pulled["total"].xcom_pull("twice") == [2, 6]  # type: ignore[union-attr]


def test_a_sensor_that_gives_its_slot_back_lets_others_go_on(tmp_path: Path) -> None:
    done = run(tmp_path, f"""
        import pathlib
        flag = pathlib.Path({str(tmp_path)!r}) / "flag"
        with DAG("d"):
            @task.sensor(poke_interval=0.05, timeout=60, mode="reschedule")
            def wait_for_flag(): return flag.exists()
            @task
            def raise_flag(): flag.write_text("")
            wait_for_flag() >> EmptyOperator(task_id="after")
            raise_flag()
    """)
    assert set(done.states.values()) == {"success"}


DEFERRING = """
        import asyncio
        from airflow.triggers.base import BaseTrigger, TriggerEvent
        class Meeting(BaseTrigger):
            def __init__(self, path, answer): super().__init__(); self.path, self.answer = path, answer
            def serialize(self): return f"{__name__}.Meeting", {"path": self.path, "answer": self.answer}
            async def run(self):
                import os
                if self.answer == "break": raise RuntimeError("no meeting")
                while not os.path.exists(self.path): await asyncio.sleep(0.01)
                yield TriggerEvent(self.answer)
        class Defers(BaseOperator):
            def __init__(self, path, answer="met", wait=None, **kw):
                super().__init__(**kw)
                self.path, self.answer, self.wait = path, answer, wait
            def execute(self, context): self.defer(trigger=Meeting(self.path, self.answer), method_name="done", timeout=self.wait)
            def done(self, context, event): return event
"""


def test_a_deferred_task_waits_while_others_run(tmp_path: Path) -> None:
    done = run(tmp_path, DEFERRING + f"""
        with DAG("d"):
            Defers(task_id="waits", path={str(tmp_path / "now")!r}, priority_weight=10)
            PythonOperator(task_id="lets_go", python_callable=lambda: open({str(tmp_path / "now")!r}, "w").close())
    """)
    assert done.states == {"waits": "success", "lets_go": "success"}
    waits = done.get_task_instance("waits")
    assert waits is not None and waits.xcom_pull() == "met" and waits.try_number == 1


def test_a_trigger_that_fails_or_takes_too_long_fails_its_task(tmp_path: Path) -> None:
    done = run(tmp_path, DEFERRING + """
        with DAG("d"):
            Defers(task_id="breaks", path="/nowhere", answer="break")
            Defers(task_id="late", path="/nowhere", wait=timedelta(milliseconds=50))
    """)
    assert done.states == {"breaks": "failed", "late": "failed"}
    assert "no meeting" in (done.get_task_instance("breaks").error or "")  # type: ignore[union-attr]


def test_run_conf_fills_params_and_a_conf_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    body = """
        with DAG("d", params={"n": Param(1, type="integer")}):
            @task
            def show(params=None, logical_date=None): return [params["n"], logical_date and logical_date.isoformat()]
            show()
    """
    day = datetime(2026, 3, 9, tzinfo=UTC)
    done = run(tmp_path, body, run_conf={"n": 7}, logical_date=day)
    assert done.task_instances[0].xcom_pull() == [7, "2026-03-09T00:00:00+00:00"]
    with pytest.raises(ParamValidationError):
        run(tmp_path, body, run_conf={"n": "seven"})


def test_tasks_that_match_the_pattern_succeed_without_running(tmp_path: Path) -> None:
    done = run(tmp_path, """
        with DAG("d"):
            def no(): raise ValueError("must not run")
            PythonOperator(task_id="wait_a", python_callable=no) >> PythonOperator(task_id="work", python_callable=lambda: 5)
    """, mark_success_pattern="wait_.*")
    assert done.states == {"wait_a": "success", "work": "success"}


def test_use_executor_is_ignored_with_a_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert run(tmp_path, 'with DAG("d"):\n    EmptyOperator(task_id="e")', use_executor=True).state == "success"
    assert "use_executor is ignored" in caplog.text


def test_connections_and_variables_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"db": "postgres://u:secretword@h:5/x", "api": {"conn_type": "http", "host": "example.org"}}')
    (tmp_path / "v.yaml").write_text("plain: text\nobject:\n  a: 1\n")
    done = run(tmp_path, """
        from airflow.sdk import Connection
        with DAG("d"):
            @task
            def show():
                db = Connection.get("db")
                return [db.login, db.port, Connection.get("api").host, Variable.get("plain"), Variable.get("object", deserialize_json=True)]
            show()
    """, conn_file_path=str(tmp_path / "c.json"), variable_file_path=str(tmp_path / "v.yaml"))
    assert done.task_instances[0].xcom_pull() == ["u", 5, "example.org", "text", {"a": 1}]


def test_setups_and_teardowns_frame_what_fails(tmp_path: Path) -> None:
    done = run(tmp_path, """
        with DAG("d"):
            @setup
            def up(): pass
            @teardown
            def down(): pass
            @task
            def work(): raise ValueError("x")
            u, d = up(), down()
            u >> work() >> d
            u >> d
    """)
    assert done.states == {"up": "success", "work": "failed", "down": "success"} and done.state == "failed"


def test_questions_are_answered_from_the_call_else_by_their_defaults_else_fail(tmp_path: Path) -> None:
    body = """
        from airflow.providers.standard.operators.hitl import HITLOperator
        with DAG("d"):
            HITLOperator(task_id="ask", subject="Which?", options=["a", "b"])
            HITLOperator(task_id="assume", subject="Which?", options=["a", "b"], defaults=["b"])
    """
    done = run(tmp_path, body, answers={"ask": ["a"]})
    chosen = [ti.xcom_pull()["chosen_options"] for ti in done.task_instances]
    assert chosen == [["a"], ["b"]]
    assert run(tmp_path, body).states == {"ask": "failed", "assume": "success"}


def test_a_triggered_dag_of_the_same_test_runs_too(tmp_path: Path) -> None:
    from trackside.sdk.parsing import load_file

    path = tmp_path / "two.py"
    path.write_text(HEAD + textwrap.dedent("""
        from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
        with DAG("child", params={"x": 0}):
            @task
            def seen(params=None): return params["x"]
            seen()
        with DAG("parent"):
            TriggerDagRunOperator(task_id="go", trigger_dag_id="child", conf={"x": 5}, wait_for_completion=True, poke_interval=1)
        with DAG("lonely"):
            TriggerDagRunOperator(task_id="go", trigger_dag_id="nobody")
    """))
    loaded = load_file(path)
    dags = {dag.dag_id: dag for dag in loaded.dags}
    assert dags["parent"].test(others=dags.values()).state == "success"
    lonely = dags["lonely"].test(others=dags.values())
    assert lonely.state == "failed" and "nobody" in (lonely.task_instances[0].error or "")


def test_one_task_can_be_tried_alone_with_values_given_for_what_it_reads(tmp_path: Path) -> None:
    dag = dag_of(tmp_path, HEAD + textwrap.dedent("""
        with DAG("d"):
            @task
            def source(): raise ValueError("must not run")
            @task(retries=5)
            def sink(x):
                if x < 0: raise ValueError("negative")
                return x * 2
            sink(source())
    """))
    assert try_task(dag, "sink", xcoms={"source": 21}).xcom_pull() == 42
    failed = try_task(dag, "sink", xcoms={"source": -1})
    assert (failed.state, failed.try_number) == ("failed", 1)
    with pytest.raises(TaskNotFound, match="sink, source"):
        try_task(dag, "snik")


def test_more_mapped_instances_than_are_planned_one_by_one_finish(tmp_path: Path) -> None:
    done = run(tmp_path, """
        with DAG("d"):
            @task
            def many(): return list(range(600))
            @task
            def same(x): return x
            @task
            def total(xs): return sum(xs)
            total(same.expand(x=many()))
    """)
    total = done.get_task_instance("total")
    assert total is not None and total.xcom_pull() == sum(range(600))


def test_a_script_that_tests_itself_works_by_trackside_run_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(HEAD + textwrap.dedent("""
        with DAG("d") as d:
            @task
            def hello(): print("hello from the task")
            hello()
        if __name__ == "__main__":
            import sys
            run = d.test()
            sys.exit(0 if run.state == "success" and sys.argv[1:] == ["--x"] else 3)
    """))
    command = [sys.executable, "-m", "trackside.cli", "run-file", str(path), "--x"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ""}, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "hello from the task" in done.stdout
    assert "hello is success" in done.stderr
