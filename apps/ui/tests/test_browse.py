"""Task instances of all DAGs, with filters and the reason of each."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from apps.access.models import User
from apps.runs.models import Pool, TaskInstance
from apps.ui.queries import browse
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def mara(client: Client) -> Client:
    client.force_login(factories.user())
    return client


def html(client: Client, query: str = "") -> str:
    response = client.get(reverse("tasks") + query)
    assert response.status_code == 200
    return response.content.decode()


def found(client: Client, query: str = "") -> list[str]:
    return re.findall(r'data-ti="(\d+)"', html(client, query))


def test_a_row_says_why_a_task_does_not_move(mara: Client) -> None:
    run = factories.run(factories.dag(), state="running", states={"load": "scheduled"})
    TaskInstance.objects.filter(run=run, task_id="load").update(reason="Pool etl is full, 3rd in line.", map_index=2)
    shown = html(mara, "?state=scheduled")
    assert "Pool etl is full, 3rd in line." in shown
    assert f'href="{reverse("task", args=["orders", run.run_id, "load"])}?map_index=2"' in shown


def test_filters_narrow_by_state_dag_pool_operator_and_days(mara: Client) -> None:
    Pool.objects.create(name="etl", slots=3)
    run = factories.run(factories.dag(), state="failed", states={"load": "failed"})
    factories.run(factories.dag("orders_eu"), at=now() - timedelta(days=3))
    factories.run(factories.dag("ancient"), at=now() - timedelta(days=90))
    TaskInstance.objects.filter(run=run, task_id="load").update(pool="etl", operator="BashOperator")
    assert len(found(mara)) == 6
    assert len(found(mara, "?state=failed")) == 1
    assert len(found(mara, "?dag=orders")) == 3 and len(found(mara, "?dag=*orders*")) == 6
    assert len(found(mara, "?pool=etl")) == 1
    assert len(found(mara, "?operator=bash")) == 1
    assert len(found(mara, "?days=1")) == 3 and len(found(mara, "?days=all")) == 9
    assert len(found(mara, "?days=many&before=x")) == 6


def test_pages_neither_repeat_nor_leave_out_an_instance(mara: Client) -> None:
    factories.run(factories.dag("large", [f"t{k}" for k in range(browse.PAGE * 2 + 5)]))
    seen, query = found(mara), ""
    while older := re.search(r'href="(\?before=\d+)">Older', html(mara, query)):
        query = older[1]
        seen += found(mara, query)
    assert len(seen) == len(set(seen)) == browse.PAGE * 2 + 5


def test_nothing_found_leads_to_the_wider_view(mara: Client) -> None:
    assert "Nothing ran in the last 7 days." in html(mara)
    assert "Show all of the last 7 days" in html(mara, "?state=failed")


def test_people_see_only_tasks_of_dags_that_they_may_read(client: Client) -> None:
    factories.run(factories.dag())
    client.force_login(User.objects.create_user("guest"))
    assert found(client) == []


def test_statements_do_not_grow_with_rows(mara: Client) -> None:
    factories.run(factories.dag())
    with CaptureQueriesContext(connection) as few:
        html(mara)
    for k in range(12):
        factories.run(factories.dag(f"d{k}"))
    with CaptureQueriesContext(connection) as many:
        assert len(found(mara)) == 39
    assert len(few) == len(many) <= 7
