"""A hundred callers at once: one run per id and per key, and nobody's change of another field is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from apps.access.models import AuditEvent, Variable
from apps.access.tests.resthelp import Api
from apps.runs.models import Pool, Run
from apps.runs.tests.restworld import make_dag
from apps.runs.tests.support import woken  # noqa: F401 - nobody listens

pytestmark = pytest.mark.django_db(transaction=True)
CALLERS, THREADS = 100, 8


def at_once(call: Callable[[int], Any]) -> list[Any]:
    def one(number: int) -> Any:
        try:
            return call(number)
        finally:
            connection.close()  # the thread's own

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(one, range(CALLERS)))


def test_a_hundred_triggers_of_one_run_id_make_one_run() -> None:
    make_dag("d")
    api = Api("User")
    found = Counter(status for status, _ in at_once(lambda n: api("POST", "/dags/d/dagRuns", {"logical_date": None, "dag_run_id": "same"})))
    assert found == {200: 1, 409: CALLERS - 1}
    assert Run.objects.count() == 1 and AuditEvent.objects.filter(action="trigger_dag_run").count() == 1


def test_a_hundred_triggers_under_one_key_make_one_run_and_hear_the_same() -> None:
    make_dag("d")
    api = Api("User")
    once = {"Idempotency-Key": "again"}
    found = at_once(lambda n: api("POST", "/dags/d/dagRuns", {"logical_date": None}, headers=once))
    assert Run.objects.count() == 1
    assert Counter((status, answer["dag_run_id"]) for status, answer in found) == {(200, Run.objects.get().run_id): CALLERS}


def test_changes_of_different_fields_at_once_are_all_kept() -> None:
    Pool.objects.create(name="p", slots=1)
    Variable.objects.create(key="v", value="0")
    api = Api("Op")

    def change(number: int) -> tuple[int, Any]:
        if number % 2:
            return api("PATCH", "/variables/v", {"key": "v", "value": f"{number}"}, {"update_mask": "value"})
        return api("PATCH", "/variables/v", {"key": "v", "value": "lost", "description": f"{number}"}, {"update_mask": "description"})

    assert {status for status, _ in at_once(change)} == {200}
    found = Variable.objects.get(key="v")
    trail = list(AuditEvent.objects.filter(object_id="v").order_by("id"))
    assert len(trail) == CALLERS and int(found.value) % 2 == 1 and int(found.description or "1") % 2 == 0
    told = [e.extra["after"]["description"] for e in trail if "description" in e.extra["after"]]
    assert told[-1] == found.description, "each change saw the one before"
    assert [e.extra["before"]["description"] for e in trail if "description" in e.extra["after"]] == [None, *told[:-1]]


@pytest.mark.parametrize("header", [{"If-Match": '"3"'}, {"If-Unmodified-Since": "Mon, 23 Nov 2026 08:00:00 GMT"}])
def test_a_condition_that_cannot_be_checked_is_no_permission(header: dict[str, str]) -> None:
    Variable.objects.create(key="v", value="0")
    api = Api("Op")
    status, answer = api("PATCH", "/variables/v", {"key": "v", "value": "1"}, headers=header)
    assert status == 412 and "update_mask" in answer["detail"]
    assert api("DELETE", "/variables/v", headers=header)[0] == 412
    assert Variable.objects.get(key="v").value == "0"
    assert api("PATCH", "/variables/v", {"key": "v", "value": "1"}, headers={"If-Match": "*"})[0] == 200
