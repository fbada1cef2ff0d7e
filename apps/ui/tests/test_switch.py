"""The breadcrumb's switchers: other DAGs on the same tab, other runs on the same task, only those one may see."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from apps.access.models import User
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def mara(client: Client) -> Client:
    client.force_login(factories.user("mara"))
    return client


def test_other_dags_open_on_the_same_tab(mara: Client) -> None:
    factories.dag("orders")
    factories.dag("stock")
    assert 'data-from="/ui/switch?tab=graph"' in mara.get("/dags/orders/graph").content.decode()
    hits = mara.get("/ui/switch?tab=graph").json()
    assert [(hit["text"], hit["href"]) for hit in hits] == [("orders", "/dags/orders/graph"), ("stock", "/dags/stock/graph")]
    assert [hit["href"] for hit in mara.get("/ui/switch?tab=../../evil&q=STO").json()] == ["/dags/stock"]


def test_other_runs_open_on_the_same_task_newest_first_and_are_found_by_time_state_and_id(mara: Client) -> None:
    dag = factories.dag("orders")
    old = factories.run(dag, state="failed", at=now() - timedelta(days=40))
    new = factories.run(dag)
    page = mara.get(f"/dags/orders/runs/{new.run_id}/tasks/load?tab=xcom").content.decode()
    assert 'data-from="/ui/switch/orders?task=load&amp;tab=xcom"' in page and 'href="/dags/orders/runs" data-act="switch"' in page
    choices = "/ui/switch/orders?task=load&tab=xcom"
    found = [hit["href"] for hit in mara.get(choices).json()]
    assert found == [f"/dags/orders/runs/{run.run_id}/tasks/load?tab=xcom" for run in (new, old)]
    for q in ("failed", old.run_id[-8:], f"{old.run_after:%H:%M}"):
        assert f"/dags/orders/runs/{old.run_id}/tasks/load?tab=xcom" in [hit["href"] for hit in mara.get(f"{choices}&q={q}").json()], q
    assert mara.get("/ui/switch/orders", {"q": "queued"}).json() == []


def test_the_choices_cost_one_statement_for_any_number_of_runs_and_are_for_who_may_see_the_dag(mara: Client) -> None:
    dag = factories.dag("orders")

    def asked() -> int:
        with CaptureQueriesContext(connection) as statements:
            mara.get("/ui/switch/orders")
        return len(statements)

    factories.run(dag)
    one = asked()
    for _ in range(5):
        factories.run(dag)
    assert asked() == one
    guest = Client()
    guest.force_login(User.objects.create_user("guest"))
    assert guest.get("/ui/switch/orders").status_code == 403
    assert guest.get(reverse("switch_dag")).json() == []
