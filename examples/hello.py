"""The first DAG: three tasks, a form with three fields, and log lines that appear while you watch.

Trigger it with *fail* switched on to see a task fail; clear the task and it succeeds on its second try.
"""

from __future__ import annotations

import time

from airflow.sdk import Param, dag, task


@dag(
    schedule=None,
    catchup=False,
    tags=["example"],
    params={
        "name": Param("world", type="string", minLength=1, maxLength=80, description="Who is greeted."),
        "seconds": Param(10, type="integer", minimum=0, maximum=600, description="How long the second task talks."),
        "fail": Param(False, type="boolean", description="Let the second task fail on its first try."),
    },
    doc_md=__doc__,
)
def hello():
    @task
    def greet(params: dict | None = None) -> str:
        return f"Hello, {params['name']}!"

    @task
    def talk(greeting: str, params: dict | None = None, ti=None) -> int:
        print(greeting)
        for second in range(params["seconds"]):
            print(f"{second + 1} of {params['seconds']}: still here")
            time.sleep(1)
        if params["fail"] and ti.try_number == 1:
            raise RuntimeError("You asked for a failure. Clear this task: its second try will succeed.")
        print(f"Done on try {ti.try_number}.")
        return params["seconds"]

    @task
    def say_goodbye(seconds: int) -> str:
        words = f"Goodbye after {seconds} seconds."
        print(words)
        return words

    say_goodbye(talk(greet()))


hello()
