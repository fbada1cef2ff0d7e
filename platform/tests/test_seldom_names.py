"""Arguments and names of Airflow's authoring API that no other test uses, tried as a DAG file uses them."""

from __future__ import annotations

import asyncio
import textwrap

import pytest
from try_harness import harness

from trackside.sdk import serde
from trackside.sdk.notifier import BaseNotifier

HEAD = """
import datetime as dt, pathlib
from airflow.sdk import *
from airflow.sdk import task
from airflow.sdk.exceptions import *
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.datetime import BranchDateTimeOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.providers.standard.operators.smooth import SmoothOperator
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.providers.standard.sensors.weekday import DayOfWeekSensor
from airflow.providers.standard.utils.weekday import WeekDay
"""


def made(tmp_path, body, **run):
    return harness(tmp_path, HEAD + textwrap.dedent(body), **run)


def test_bash_output_goes_through_the_output_processor(tmp_path):
    run = made(tmp_path, """
        with DAG("d"):
            BashOperator(task_id="a", bash_command="echo '1,2'", output_processor=lambda text: text.split(","))
    """)  # fmt: skip
    assert run.attempt("a").outcome == "success" and run.xcom("a") == ["1", "2"]


@pytest.mark.parametrize(("skips", "code", "outcome"), [
    ("99", 99, "skipped"), ("[7, 8]", 8, "skipped"), ("None", 99, "failed"), ("7", 99, "failed"),
])  # fmt: skip
def test_bash_skips_on_the_exit_codes_it_is_told(tmp_path, skips, code, outcome):
    run = made(tmp_path, f"with DAG('d'):\n    BashOperator(task_id='a', bash_command='exit {code}', skip_on_exit_code={skips})\n")
    assert run.attempt("a").outcome == outcome


def test_a_python_operator_reads_templates_from_files_and_may_keep_its_result_out_of_the_log(tmp_path, caplog):
    (tmp_path / "q.sql").write_text("select {{ params.n }}")
    run = made(tmp_path, """
        with DAG("d", params={"n": 3}, template_searchpath=[str(pathlib.Path(__file__).parent)]):
            PythonOperator(task_id="a", python_callable=lambda templates_dict: templates_dict["q"], templates_dict={"q": "q.sql"},
                           templates_exts=[".sql"], show_return_value_in_logs=False)
    """)  # fmt: skip
    assert run.attempt("a").outcome == "success" and run.xcom("a") == "select 3"
    assert "select 3" not in caplog.text


def test_macros_filters_and_native_objects_of_the_dag(tmp_path):
    run = made(tmp_path, """
        with DAG("d", user_defined_macros={"twice": lambda n: n * 2, "five": 5}, user_defined_filters={"shout": str.upper},
                 render_template_as_native_obj=True, jinja_environment_kwargs={"variable_start_string": "<<", "variable_end_string": ">>"}):
            @task
            def f(*values): return list(values)
            f("<< twice(five) >>", "<< 'x' | shout >>", "<< [1, 2] >>", "{{ five }}")
    """)  # fmt: skip
    assert run.attempt("f").outcome == "success"
    assert run.xcom("f") == [10, "X", [1, 2], "{{ five }}"]


def test_macros_of_dates_speak_as_airflows_do(tmp_path):
    run = made(tmp_path, """
        with DAG("d"):
            @task
            def f(*values): return list(values)
            f("{{ macros.ds_format_locale(ds, '%Y-%m-%d', 'd MMMM y', 'de_DE') }}", "{{ macros.ds_format(ds, '%Y-%m-%d', '%d/%m') }}",
              "{{ macros.datetime_diff_for_humans(logical_date, logical_date.add(days=2)) }}", "{{ logical_date | ts_nodash_with_tz }}",
              "{{ task_instance_key_str }}")
    """, logical_date="2024-03-01T00:00:00Z")  # fmt: skip
    run.attempt("f")
    assert run.xcom("f") == ["1 März 2024", "01/03", "2 days before", "20240301T000000+0000", "d__f__20240301"]


@pytest.mark.parametrize(
    ("more", "raised", "outcome"),
    [
        ("soft_fail=True", "ValueError", "failed"), ("soft_fail=True", "AirflowFailException", "skipped"),
        ("never_fail=True", "ValueError", "skipped"), ("silent_fail=True, timeout=0.1", "ValueError", "failed_no_retry"),
        ("silent_fail=True, soft_fail=True, timeout=0.1", "ValueError", "skipped"),
    ],
)  # fmt: skip
def test_what_a_sensor_forgives(tmp_path, more, raised, outcome):
    run = made(tmp_path, f"""
        def poke(): raise {raised}("no")
        with DAG("d"):
            PythonSensor(task_id="a", python_callable=poke, poke_interval=0.02, {more})
    """)  # fmt: skip
    report = run.attempt("a")
    assert report.outcome == outcome, report.error


@pytest.mark.parametrize(("day", "outcome"), [("2024-03-04T12:00:00Z", "success"), ("2024-03-05T12:00:00Z", "skipped")])
def test_a_weekday_sensor_looks_at_the_logical_date_if_told(tmp_path, day, outcome):
    run = made(tmp_path, """
        with DAG("d"):
            DayOfWeekSensor(task_id="a", week_day={WeekDay.MONDAY}, use_task_logical_date=True, timeout=0, soft_fail=True)
    """, logical_date=day)  # fmt: skip
    assert run.attempt("a").outcome == outcome


@pytest.mark.parametrize(("hour", "follows"), [(10, "inside"), (20, "outside")])
def test_a_branch_by_time_follows_the_logical_date_if_told(tmp_path, hour, follows):
    run = made(tmp_path, """
        with DAG("d"):
            BranchDateTimeOperator(task_id="a", use_task_logical_date=True, target_lower=dt.time(9), target_upper=dt.time(17),
                follow_task_ids_if_true=["inside"], follow_task_ids_if_false=["outside"]) >> [
                EmptyOperator(task_id="inside"), EmptyOperator(task_id="outside")]
    """, logical_date=f"2024-03-04T{hour}:00:00Z")  # fmt: skip
    report = run.attempt("a")
    assert report.outcome == "success" and report.skip == {"mode": "followed", "ids": [follows]}


def test_an_async_operator_awaits_and_pushes(tmp_path):
    run = made(tmp_path, """
        class Waits(BaseAsyncOperator):
            async def aexecute(self, context):
                await context["ti"].axcom_push("mine", [1])
                return await context["ti"].axcom_pull(task_ids="a", key="mine")
        with DAG("d"):
            Waits(task_id="a")
            SmoothOperator(task_id="s")
    """)  # fmt: skip
    assert run.attempt("a").outcome == "success" and run.xcom("a") == [1]
    assert run.attempt("s").outcome == "success"


@pytest.mark.parametrize(("rule", "raised", "outcome"), [
    ("exception=OSError", "ConnectionError", "failed_no_retry"), ("exception=OSError, match_subclasses=False", "ConnectionError", "failed"),
    ("exception=['builtins.KeyError', ValueError]", "KeyError", "failed_no_retry"),
    ("exception='builtins.KeyError'", "ValueError", "failed"),
])  # fmt: skip
def test_rules_of_retries_name_classes_paths_and_lists(tmp_path, rule, raised, outcome):
    run = made(tmp_path, f"""
        with DAG("d"):
            @task(retries=2, retry_policy=ExceptionRetryPolicy(rules=[RetryRule({rule}, action=RetryAction.FAIL, reason="no use")]))
            def f(): raise {raised}("x")
            f()
    """)  # fmt: skip
    assert run.attempt("f", max_tries=2).outcome == outcome


def test_classes_may_be_allowed_by_pattern_and_by_expression(monkeypatch):
    def may(name: str) -> bool:
        return serde._is_allowed(name)

    assert not may("site.models.Order")
    monkeypatch.setenv("AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES", "site.models.* other.One")
    assert may("site.models.Order") and may("other.One") and not may("other.Ones") and not may("sitexmodels.Order")
    monkeypatch.setenv("AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES", "")
    monkeypatch.setenv("AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES_REGEXP", r"site\.(a|b)\..+")
    assert may("site.a.X") and not may("site.c.X") and not may("my.site.a.X")


class Both(BaseNotifier):
    """Says what it was told, both ways."""

    template_fields = ("text", "name")

    def __init__(self, text, name, **kwargs):
        super().__init__(**kwargs)
        self.text, self.name, self.said = text, name, []

    def notify(self, context):
        self.said.append(f"sync {self.text}")

    async def async_notify(self, context):
        self.said.append(f"async {self.text}")


def test_a_field_of_a_notifier_may_name_another_and_both_forms_are_rendered():
    called = Both("{{ greeting }} {{ name }}", "Ann")
    called({"greeting": "hello"})
    awaited = Both("{{ greeting }} {{ name }}", "Ann", context={"greeting": "hi"})

    async def wait():
        await awaited

    asyncio.run(wait())
    assert (called.said, awaited.said) == (["sync hello Ann"], ["async hi Ann"])


@pytest.mark.parametrize(("raised", "delay", "reason"), [("ConnectionError", None, None), ("HTTPError", 300.0, "slow")])
def test_a_rule_for_a_package_that_is_not_installed_is_passed_over(tmp_path, raised, delay, reason):
    """As in Airflow's example_retry_policy.py: the ConnectionError of requests is not Python's, so no rule is for it."""
    run = made(tmp_path, f"""
        with DAG("d"):
            @task(retries=5, retry_delay=dt.timedelta(minutes=1), retry_policy=ExceptionRetryPolicy(rules=[
                RetryRule("package_nobody_has.exceptions.Refused", action=RetryAction.FAIL),
                RetryRule("requests.exceptions.HTTPError", action=RetryAction.RETRY, retry_delay=dt.timedelta(minutes=5), reason="slow"),
                RetryRule(ConnectionError, action=RetryAction.FAIL)]))
            def f():
                import requests
                raise requests.exceptions.{raised}("no")
            f()
    """)  # fmt: skip
    report = run.attempt("f", max_tries=5)
    assert (report.outcome, report.retry_delay_s, report.retry_reason) == ("failed", delay, reason)
