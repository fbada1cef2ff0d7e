"""One run through every process of the site: pods, their values and logs, a variable, and a wait in the triggerer."""

from __future__ import annotations

import socket
import time
from datetime import timedelta
from typing import Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator, Variable, dag, task
from words import GREETING


class Waits(BaseOperator):
    """A second in the triggerer, then a pod again."""

    def execute(self, context: Any) -> None:
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=1)), method_name="resume")

    def resume(self, context: Any, event: Any = None) -> str:
        return "resumed"


@dag(schedule=None)
def walk() -> None:
    @task
    def first() -> str:
        print(GREETING)
        return socket.gethostname()

    @task
    def held() -> str:
        """Until the test says so."""
        while Variable.get("go", default="") != "on":
            time.sleep(0.2)
        return socket.gethostname()

    @task
    def last() -> str:
        return socket.gethostname()

    first() >> Waits(task_id="waits") >> held() >> last()


walk()
