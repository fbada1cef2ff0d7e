"""Where the keys `[` and `]` lead: the run before and after on the same tab; on a task its tries, then the task in the runs beside."""

from __future__ import annotations

import html
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from apps.runs.models import Run, TaskInstance, Try
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def mara(client: Client) -> Client:
    client.force_login(factories.user())
    return client


def runs(count: int) -> list[Run]:
    dag = factories.dag()
    return [factories.run(dag, at=now() - timedelta(hours=count - k)) for k in range(count)]


def beside(client: Client, address: str) -> dict[str, str]:
    page = client.get(address)
    assert page.status_code == 200
    links = re.findall(r'<a class="ibtn" href="([^"]*)"[^>]*data-key="([\[\]])"', page.content.decode())
    return {key: html.unescape(href) for href, key in links}


def test_the_runs_beside_one_open_on_its_tab(mara: Client) -> None:
    old, this, new = runs(3)
    of = [reverse("run", args=["orders", r.run_id]) for r in (old, this, new)]
    assert beside(mara, of[1]) == {"[": of[0], "]": of[2]}
    assert beside(mara, of[1] + "?tab=gantt") == {"[": of[0] + "?tab=gantt", "]": of[2] + "?tab=gantt"}
    assert beside(mara, of[0]) == {"]": of[1]} and beside(mara, of[1] + "?tab=nonsense")["["] == of[0]


def test_on_a_task_they_walk_its_tries_and_then_the_runs_that_have_it(mara: Client) -> None:
    old, this, new, bare = runs(4)
    TaskInstance.objects.filter(run=bare, task_id="load").delete()
    of = [reverse("task", args=["orders", r.run_id, "load"]) for r in (old, this, new)]
    assert beside(mara, of[1]) == {"[": of[0], "]": of[2]}
    assert beside(mara, of[2] + "?tab=details") == {"[": of[1] + "?tab=details"}, "the run after it has no such task"
    ti = TaskInstance.objects.get(run=this, task_id="load")
    TaskInstance.objects.filter(pk=ti.pk).update(try_number=2)
    Try.objects.create(ti=ti, number=1, id="00000000-0000-4000-8000-000000000001", state="failed")
    Try.objects.create(ti=ti, number=2, id=ti.try_id, state="success")
    assert beside(mara, of[1]) == {"[": "?try=1", "]": of[2]}
    assert beside(mara, of[1] + "?try=1&tab=xcom") == {"[": of[0] + "?tab=xcom", "]": "?tab=xcom&try=2"}
    assert beside(mara, of[1] + "?try=99") == {"[": of[0], "]": of[2]}


def test_a_mapped_instance_leads_to_the_same_one_where_there_is_one(mara: Client) -> None:
    old, this, new = runs(3)
    TaskInstance.objects.filter(run__in=[old, this, new], task_id="load").update(map_index=0)
    for run in (old, this):
        TaskInstance.objects.create(run=run, dag_id="orders", task_id="load", map_index=1, dag_version=run.dag_version)
    of = [reverse("task", args=["orders", r.run_id, "load"]) for r in (old, this, new)]
    assert beside(mara, of[1] + "?map_index=1") == {"[": of[0] + "?map_index=1", "]": of[2]}


def test_they_cost_two_statements_for_any_number_of_runs() -> None:
    from apps.ui.queries import runs as queries

    counts = []
    (first,) = runs(1)
    for _ in range(2):
        with CaptureQueriesContext(connection) as asked:
            queries.neighbours_with(first, "load", -1)
        counts.append(len(asked))
        for k in range(30):
            factories.run(first.dag, at=now() + timedelta(hours=k))
    assert counts == [2, 2]
