"""An errand whose answer somebody waits for: own timetables, asked by people's actions (a manual run, a backfill).

Never called while a row lock is held: the answer comes from another process.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection

from apps.runs.errands import queue
from apps.runs.errands.models import FAILED, SUCCESS, Errand
from apps.runs.errors import ActionRefused


class NoAnswer(ActionRefused):
    """Nobody ran the user's code in time; nothing was changed, so it may be tried again."""

    status = 503


WAIT_S = 15.0
LOOK_S = 0.03


def ask(kind: str, title: str, payload: dict[str, Any], *, dag_id: str, seconds: float = WAIT_S) -> Any:
    """The value the errand's child gave. Raises ActionRefused with its error, NoAnswer when nobody answers in time."""
    if not connection.in_atomic_block or _in_test():
        return _ask(kind, title, payload, dag_id, seconds)
    # a call of REST is one transaction, whose rows nobody else sees: asked over a connection of its own
    with ThreadPoolExecutor(1, thread_name_prefix="asking") as pool:
        return pool.submit(_ask_and_close, kind, title, payload, dag_id, seconds).result()


def _ask_and_close(*arguments: Any) -> Any:
    try:
        return _ask(*arguments)
    finally:
        connection.close()


def _ask(kind: str, title: str, payload: dict[str, Any], dag_id: str, seconds: float) -> Any:
    errand = queue.put(kind, title, payload, dag_id=dag_id)
    give_up = time.monotonic() + seconds
    while True:
        status, result, error = Errand.objects.filter(pk=errand.pk).values_list("status", "result", "error")[0]
        if status == SUCCESS:
            return result
        if status == FAILED:
            raise ActionRefused(f"{title} of {dag_id} failed: {error}")
        if time.monotonic() > give_up:
            Errand.objects.filter(pk=errand.pk).delete()
            raise NoAnswer(
                f"{title} of {dag_id} did not answer within {seconds:g} s. "
                "Is a DAG processor running (trackside dag_processor)? Then try again."
            )
        time.sleep(LOOK_S)


def _in_test() -> bool:
    """Tests wrap everything in a transaction; they play the runner themselves."""
    return any(getattr(a, "_from_testcase", False) for a in connection.atomic_blocks)
