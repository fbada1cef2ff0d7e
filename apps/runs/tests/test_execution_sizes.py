"""Sizes and numbers over the execution API: what is too much is refused with a sentence, what is merely much costs the same each time."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from apps.runs.models import XCom
from apps.runs.tests import support
from apps.runs.tests.support import Worker, woken  # noqa: F401
from apps.runs.tests.test_execution_routes import call, in_this_thread, order  # noqa: F401

pytestmark = pytest.mark.django_db
BEATS, KEYS = 1000, 300


def test_a_thousand_heartbeats_cost_the_same_each_and_leave_one_row(order: dict[str, Any]) -> None:  # noqa: F811
    path = f"/tries/{order['try_id']}/heartbeat"
    rows = "SELECT (SELECT count(*) FROM runs_try), (SELECT count(*) FROM runs_event), (SELECT count(*) FROM access_auditevent)"

    def counted() -> tuple[Any, ...]:
        with connection.cursor() as cursor:
            cursor.execute(rows)
            return tuple(cursor.fetchone())

    before = counted()
    answers = {(call("POST", path, order["token"], {})[0]) for _ in range(BEATS)}
    assert answers == {200} and counted() == before
    with CaptureQueriesContext(connection) as seen:
        call("POST", path, order["token"], {})
    assert len(seen) <= 3
    guessed = {call("POST", path, f"{order['try_id']}.guess-{n}", {})[0] for n in range(50)}
    assert guessed == {410} and counted() == before


@override_settings(MAX_XCOM_BYTES=1000)
def test_an_xcom_over_the_limit_is_refused_with_the_way_out_and_one_at_the_limit_is_kept(order: dict[str, Any]) -> None:  # noqa: F811
    status, answer = call("POST", "/xcoms", order["token"], {"key": "big", "value": "x" * 1000})
    assert status == 413 and "limit is 1,000" in str(answer) and not XCom.objects.exists()
    assert call("POST", "/xcoms", order["token"], {"key": "fits", "value": "x" * 998})[0] == 200
    assert len(XCom.objects.get().value) == 1000


def test_many_keys_of_one_task_are_kept_and_written_without_a_statement_each() -> None:
    of, worker = support.run(support.dag(support.chain("a", "b"))), Worker()
    held = worker.take()["a"]
    with CaptureQueriesContext(connection) as few:
        pass
    with CaptureQueriesContext(connection) as seen:
        worker.finish(held, xcoms=[{"key": f"k{n}", "value": n} for n in range(KEYS)])
    assert XCom.objects.filter(run=of).count() == KEYS
    assert len(seen) - len(few) < KEYS / 5


@pytest.mark.parametrize("key", ["", "x" * 513, "x\x00"])
def test_a_key_that_cannot_be_kept_is_refused(order: dict[str, Any], key: str) -> None:  # noqa: F811
    assert call("POST", "/xcoms", order["token"], {"key": key, "value": 1})[0] in (400, 422)
    assert not XCom.objects.exists()
