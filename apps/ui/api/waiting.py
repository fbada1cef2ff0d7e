"""REST: wait for many runs in one call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import orjson
from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.http import StreamingHttpResponse
from pydantic import Field

from apps.access.rest.body import Body
from apps.access.rest.operations import Call
from apps.runs.api.lookups import run_not_found, run_rows
from apps.runs.models import Run
from apps.ui.api import own, streams
from trackside.core.states import RUN_FINISHED

MAX_RUNS = 1000
FIRST_LOOK, LAST_LOOK = 0.1, 1.0
"""Seconds between two looks: short at first, one indexed statement each."""
NDJSON = "application/x-ndjson"


class WaitedRun(Body):
    """Names a run."""

    dag_id: str
    run_id: str


class WaitBody(Body):
    """Which runs, and until when."""

    runs: Annotated[list[WaitedRun], Field(min_length=1, max_length=MAX_RUNS)]
    until: Literal["all", "any", "failed"] = "all"
    """All are over, any is over, or one failed (else all are over)."""
    timeout: Annotated[float, Field(gt=0, le=86_400)] = 3600.0


@own("POST /wait", may=("read", "run"), body=WaitBody, returns={"type": "string"}, media=(NDJSON,), filtered=True)
def wait_for_runs(call: Call) -> StreamingHttpResponse:
    """Wait for many runs at once: a line for each as it ends, then one that says how it all ended (`done` or timeout)."""
    body: WaitBody = call.body
    wanted = {(r.dag_id, r.run_id) for r in body.runs}
    rows = run_rows(call).filter(dag_id__in={d for d, _ in wanted}, run_id__in={r for _, r in wanted})
    found = {(dag, run): pk for pk, dag, run in rows.values_list("pk", "dag_id", "run_id") if (dag, run) in wanted}
    for key in sorted(wanted - found.keys()):
        raise run_not_found(*key)
    return streams.answer(_lines({pk: key for key, pk in found.items()}, body), NDJSON)


async def _lines(runs: dict[int, tuple[str, str]], body: WaitBody) -> AsyncIterator[bytes]:
    deadline, pause = time.monotonic() + body.timeout, FIRST_LOOK
    states: dict[int, str | None] = {}
    while True:
        over = {pk: state for pk, state in (await _states(list(runs))).items() if state is None or state in RUN_FINISHED}
        for pk in over.keys() - states.keys():
            yield _line(dag_id=runs[pk][0], run_id=runs[pk][1], state=over[pk])
        states |= over
        failed = any(state != "success" for state in states.values())
        if len(states) == len(runs) or (states and body.until == "any") or (failed and body.until == "failed"):
            yield _line(done=True, finished=len(states), failed=sum(s != "success" for s in states.values()), left=len(runs) - len(states))
            return
        if (left := deadline - time.monotonic()) <= 0:
            yield _line(done=False, finished=len(states), failed=sum(s != "success" for s in states.values()), left=len(runs) - len(states))
            return
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.3, LAST_LOOK)


def _line(**values: Any) -> bytes:
    return orjson.dumps(values) + b"\n"


@sync_to_async
def _states(pks: list[int]) -> dict[int, str | None]:
    """State by run; None for one that was deleted meanwhile."""
    close_old_connections()
    return dict.fromkeys(pks) | dict(Run.objects.filter(pk__in=pks).values_list("pk", "state"))
