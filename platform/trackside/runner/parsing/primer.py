# mypy: ignore-errors
"""A DAG file like many others, read by the parse server while it warms up: forks inherit the caches this fills.

For `server`. It is never offered to anybody.
"""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Param, TaskGroup, dag, task

with DAG(
    "primer",
    schedule="@daily",
    start_date=datetime(2024, 1, 1),  # noqa: DTZ001 - as people write it
    default_args={"retries": 1, "retry_delay": timedelta(minutes=1)},
    params={"x": Param(1, type="integer")},
    tags=["x"],
):
    first = EmptyOperator(task_id="first")
    with TaskGroup("group"):
        second = BashOperator(task_id="second", bash_command="echo {{ ds }}")
    first >> second >> PythonOperator(task_id="third", python_callable=print, op_args=[1])


@dag(schedule=None)
def primer_of_functions() -> None:
    """The other way to write one."""

    @task
    def one() -> int:
        return 1

    @task
    def two(x: int) -> None:
        print(x)  # noqa: T201

    two(one())


primer_of_functions()
