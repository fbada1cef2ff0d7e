"""A task that does nothing, run once in the fork server before anything is forked.

Templates, time zones, logging and the interpreter fill their caches at their first use. Doing that here, once, spares
every task process doing it again (some 10 ms each).
"""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from functools import cache
from typing import Any

from trackside.core.messages import RunRecord, StartOrder
from trackside.sdk.dag import DAG
from trackside.sdk.execution.comms import MemoryComms
from trackside.sdk.execution.run import run_task
from trackside.sdk.operators.python import PythonOperator
from trackside.sdk.plugins import policies
from trackside.sdk.plugins.hooks import listeners


@cache
def _scene(text: str) -> tuple[StartOrder, Any, Any]:
    with DAG("rehearsal", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
        PythonOperator(task_id="nothing", python_callable=_nothing, op_args=[text])
    moment = "2024-01-01T00:00:00.000000Z"
    run = RunRecord(
        "rehearsal", "scheduled__1", "scheduled", logical_date=moment, data_interval_start=moment,
        data_interval_end=moment, run_after=moment, start_date=moment,
    )  # fmt: skip
    order = StartOrder(str(uuid.uuid4()), "x.x", "rehearsal", "nothing", run.to_dict(), ti_start_date=moment)
    return order, dag.task_dict["nothing"], dag


def rehearse(text: str = "") -> None:
    """Run it, with `text` to render. Raises if its outcome is not success (a defect of the SDK).

    Leaves the environment as it was.
    """
    order, task, dag = _scene(text)
    comms = MemoryComms()
    comms.serve(order)
    before = set(os.environ)
    with policies.held_off(), listeners.muted():  # a rehearsal is nobody's work
        report = run_task(StartOrder.from_dict(order.to_dict()), task, dag, comms)
    for name in set(os.environ) - before:
        del os.environ[name]
    if report.outcome != "success":
        raise RuntimeError(f"the rehearsal ended {report.outcome}: {report.error}")


def _nothing(text: str) -> str:
    return text
