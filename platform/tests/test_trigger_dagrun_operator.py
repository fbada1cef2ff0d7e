"""TriggerDagRunOperator: what it asks for, as Airflow's standard provider 1.21 does."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from typing import Any

import pytest

from trackside.sdk.exceptions import DagRunTriggerException
from trackside.sdk.operators.trigger_dagrun import TriggerDagRunOperator

DAY, LATER = dt.datetime(2024, 1, 2, tzinfo=dt.UTC), dt.datetime(2030, 5, 6, tzinfo=dt.UTC)


def wanted(**arguments: Any) -> DagRunTriggerException:
    """What the operator asks for when it runs."""
    with pytest.raises(DagRunTriggerException) as asked:
        TriggerDagRunOperator(task_id="go", trigger_dag_id="other", **arguments).execute({})
    return asked.value


def test_its_template_fields_are_those_of_airflow():
    assert TriggerDagRunOperator.template_fields == (
        "trigger_dag_id", "trigger_run_id", "logical_date", "conf", "wait_for_completion", "skip_when_already_exists",
    )  # fmt: skip


def test_without_any_date_the_run_is_about_now():
    before = dt.datetime.now(dt.UTC)
    asked = wanted()
    assert asked.logical_date is not None and before <= asked.logical_date <= dt.datetime.now(dt.UTC)
    assert asked.dag_run_id == f"manual__{asked.logical_date.isoformat()}" and asked.extra == {}


def test_a_logical_date_names_the_run():
    assert wanted(logical_date=DAY).dag_run_id == "manual__2024-01-02T00:00:00+00:00"
    assert wanted(logical_date="2024-01-02").logical_date == DAY


def test_a_run_that_is_only_told_when_to_begin_has_no_logical_date():
    asked = wanted(run_after=LATER, note="tonight")
    assert asked.logical_date is None and asked.extra == {"run_after": LATER, "note": "tonight"}
    assert asked.dag_run_id.startswith("manual__2030-05-06T00:00:00+00:00_")
    assert asked.dag_run_id != wanted(run_after=LATER).dag_run_id


def test_with_both_dates_the_run_is_named_after_its_beginning():
    asked = wanted(logical_date=DAY, run_after=LATER)
    assert (asked.logical_date, asked.dag_run_id) == (DAY, "manual__2030-05-06T00:00:00+00:00")


def test_no_logical_date_may_be_asked_for():
    asked = wanted(logical_date=None)
    assert asked.logical_date is None and asked.dag_run_id.startswith("manual__")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"run_after": 5}, TypeError, "Expected str, datetime.datetime, or None for parameter 'run_after'. Got int"),
        ({"allowed_states": ["done"]}, ValueError, "done"),
        ({"failed_states": ["broken"]}, ValueError, "broken"),
    ],
)
def test_wrong_arguments_are_refused_where_they_are_written(arguments: dict[str, Any], error: type[Exception], message: str):
    with pytest.raises(error) as refused:
        TriggerDagRunOperator(task_id="go", trigger_dag_id="other", **arguments)
    assert message in str(refused.value)


@pytest.mark.parametrize("conf", ["{no json", {"at": DAY}])
def test_a_conf_that_is_no_json_fails_the_task(conf: Any):
    with pytest.raises(ValueError, match="conf parameter should be JSON Serializable"):
        TriggerDagRunOperator(task_id="go", trigger_dag_id="other", conf=conf).execute({})


def test_one_option_lets_everything_wait_in_the_triggerer():
    program = (
        "import datetime as d\n"
        "from trackside.sdk.operators.trigger_dagrun import TriggerDagRunOperator as T\n"
        "from trackside.sdk.sensors.external_task import ExternalTaskSensor as E\n"
        "from trackside.sdk.sensors.filesystem import FileSensor as F\n"
        "from trackside.sdk.sensors.time import TimeSensor as S\n"
        "from trackside.sdk.sensors.time_delta import TimeDeltaSensor as D, WaitSensor as W\n"
        "made = [T(task_id='t', trigger_dag_id='o'), E(task_id='e', external_dag_id='o'), F(task_id='f', filepath='x'),\n"
        "        S(task_id='s', target_time=d.time(1)), D(task_id='d', delta=d.timedelta(1)), W(task_id='w', time_to_wait=1)]\n"
        "print([task.deferrable for task in made], F(task_id='g', filepath='x', deferrable=False).deferrable)\n"
    )
    environment = {**os.environ, "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True"}
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == f"{[True] * 6} False\n"
