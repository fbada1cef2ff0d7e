"""REST: starting a run, and waiting until one is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import StreamingHttpResponse
from django.utils.timezone import now
from pydantic import Field as Constraint
from pydantic import model_validator

from apps.access import policy
from apps.access.rest.body import Body, Moment
from apps.access.rest.errors import Problem
from apps.access.rest.operations import Call, operation
from apps.access.rest.params import Param
from apps.dags.api.lookups import dag_not_found
from apps.dags.models import Dag
from apps.runs.actions import xcoms
from apps.runs.api.fields import as_made
from apps.runs.api.lookups import the_run
from apps.runs.api.runs import RUNS
from apps.runs.models import Run, XCom
from trackside.core.states import RUN_FINISHED
from trackside.runner.jsonio import exact_dumps

MAX_NOTE = 1000


class TriggerBody(Body):
    """A run to start. `logical_date` has to be there, but may be null."""

    dag_run_id: str | None = None
    data_interval_start: Moment | None = None
    data_interval_end: Moment | None = None
    logical_date: Moment | None
    run_after: Moment | None = Constraint(default_factory=now)
    conf: dict[str, Any] | None = Constraint(default_factory=dict)
    note: str | None = None
    partition_key: str | None = None

    @model_validator(mode="after")
    def _interval_is_whole(self) -> TriggerBody:
        if (self.data_interval_start is None) != (self.data_interval_end is None):
            raise ValueError("Either both data_interval_start and data_interval_end must be provided or both must be None")
        return self

    @property
    def interval(self) -> tuple[datetime, datetime] | None:
        """Both ends, or None."""
        if self.data_interval_start is None or self.data_interval_end is None:
            return None
        return self.data_interval_start, self.data_interval_end


@operation("POST /dags/{dag_id}/dagRuns", may=("trigger", "run"), body=TriggerBody, returns=RUNS.schema)
def trigger_dag_run(call: Call, dag_id: str) -> dict[str, Any]:
    """Start a run now, or at `run_after`."""
    from apps.runs.actions import creation

    body: TriggerBody = call.body
    dag = None
    if dag_id != "~":
        seen = policy.visible_dags(call.user)
        dag = creation.find(dag_id) if not seen or Dag.objects.filter(seen, pk=dag_id).exists() else None
        if dag is None:
            raise dag_not_found(dag_id)
    if body.note is not None and len(body.note) > MAX_NOTE:
        message = f"note: at most {MAX_NOTE} characters"
        raise Problem(422, {"reason": "Data too long", "statement": "hidden", "orig_error": "hidden", "message": message})
    run = creation.trigger(
        dag_id,
        actor=call.actor,
        run_id=body.dag_run_id or None,
        logical_date=body.logical_date,
        data_interval=body.interval,
        run_after=body.run_after,
        conf=body.conf,
        note=body.note,
        partition_key=body.partition_key,
        dag=dag,
    )
    return RUNS.shown(as_made(run))


_WAIT_SCHEMA = {"type": "object", "properties": {"state": {"type": "string"}, "results": {"type": "object"}}}
_INTERVAL = Annotated[float, Constraint(gt=0, le=3600)]


@operation(
    "GET /dags/{dag_id}/dagRuns/{dag_run_id}/wait",
    may=("read", "run"),
    query=(
        Param("interval", _INTERVAL, required=True, help="Seconds between two looks."),
        Param("result", many=True, help="Tasks whose return value ends the answer."),
    ),
    returns=_WAIT_SCHEMA,
)
def wait_dag_run_until_finished(call: Call, dag_id: str, dag_run_id: str) -> StreamingHttpResponse:
    """Answers a line of JSON per look at the run's state until it is over; the last one also has the results asked for."""
    run = the_run(call, dag_id, dag_run_id)
    tasks = call.query["result"]
    if tasks:
        call.require("read", "xcom", dag_id)
    lines = _watch(run, call.query["interval"], tasks)
    response = StreamingHttpResponse(lines, headers={"X-Accel-Buffering": "no"})
    del response["Content-Type"]  # Airflow names none here, and clients that see NDJSON read a list
    return response


async def _watch(run: Run, interval: float, tasks: list[str] | None) -> AsyncIterator[bytes]:
    state: str | None = run.state
    while True:
        over = state is None or state in RUN_FINISHED
        line: dict[str, Any] = {"state": state}
        if over and tasks:
            line["results"] = await sync_to_async(_results)(run.pk, tasks)
        yield exact_dumps(line) + b"\n"
        if over:
            return
        await asyncio.sleep(interval)
        state = await sync_to_async(_state)(run.pk)


def _state(run_pk: int) -> str | None:
    close_old_connections()
    return Run.objects.filter(pk=run_pk).values_list("state", flat=True).first()


def _results(run_pk: int, tasks: list[str]) -> dict[str, Any]:
    """Return values by task; those of mapped tasks as a list in the order of the map index."""
    rows = XCom.objects.filter(run=run_pk, task_id__in=tasks, key="return_value").order_by("task_id", "map_index")
    out: dict[str, Any] = dict.fromkeys(tasks)
    for xcom in rows:
        value = xcoms.for_people(xcom)
        out[xcom.task_id] = value if xcom.map_index < 0 else [*(out[xcom.task_id] or []), value]
    return out
