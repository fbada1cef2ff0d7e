"""A run beside another one: what changed, in one sentence first."""

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
from apps.dags.models import DagVersion
from apps.runs.models import Run, TaskInstance
from apps.ui.queries import comparison
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def mara(client: Client) -> Client:
    client.force_login(factories.user())
    return client


def page(client: Client, run: Run, query: str = "") -> str:
    response = client.get(reverse("run_compare", args=[run.dag_id, run.run_id]) + query)
    assert response.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def slow(run: Run, task_id: str, seconds: int) -> None:
    """Make a task, and with it the run, take that long."""
    TaskInstance.objects.filter(run=run, task_id=task_id).update(end_date=run.start_date + timedelta(seconds=seconds))
    Run.objects.filter(pk=run.pk).update(end_date=run.start_date + timedelta(seconds=seconds))


def test_a_run_is_compared_with_the_last_success_before_it(mara: Client) -> None:
    dag, at = factories.dag(), now()
    factories.run(dag, at=at - timedelta(hours=3))
    good = factories.run(dag, at=at - timedelta(hours=2), conf={"day": 1, "deep": {"x": [1, 2]}})
    factories.run(dag, at=at - timedelta(hours=1), state="failed")
    factories.run(dag, at=at + timedelta(hours=1))
    run = factories.run(dag, at=at, state="failed", states={"check": "failed"}, conf={"day": 2, "deep": {"x": [1, 3]}})
    slow(run, "load", 200)
    shown = page(mara, run)
    assert "It took 2 min 20 s longer: 3 min 20 s, not 1 min. 1 task ended otherwise. load alone: +2 min 20 s." in shown
    assert "day 2 1" in shown and "deep.x[1] 3 2" in shown and "deep.x[0]" not in shown
    assert "extract" not in shown and "Show 1 more that went alike" in shown
    assert "extract" in page(mara, run, "?show=all")
    assert "The same code in both, v1." in shown
    assert f'value="{good.run_id}" selected' in mara.get(reverse("run_compare", args=["orders", run.run_id])).content.decode()


def test_another_version_is_named_and_leads_to_what_changed(mara: Client) -> None:
    dag = factories.dag()
    old = factories.run(dag, at=now() - timedelta(hours=1))
    made = factories.spec("orders", ["extract", "load", "audit"])
    dag.current_version = DagVersion.objects.create(dag=dag, number=2, spec=made.to_dict(), spec_hash="2", source="")
    run = factories.run(dag)
    html = mara.get(reverse("run_compare", args=["orders", run.run_id]) + f"?with={old.run_id}").content.decode()
    assert "?v=2&amp;diff=1" in html and "3 differences in tasks and settings" in html
    assert page(mara, run).count("not in it") == 2


def test_the_first_run_has_nothing_to_compare_with(mara: Client) -> None:
    assert "Nothing to compare with" in page(mara, factories.run(factories.dag()))


def test_a_run_that_does_not_exist_is_said(mara: Client) -> None:
    dag = factories.dag()
    factories.run(dag, at=now() - timedelta(hours=1))
    shown = page(mara, factories.run(dag), "?with=nothing")
    assert "DAG orders has no run nothing." in shown and "The last success before is shown instead." in shown


def test_a_run_that_still_goes_can_be_compared(mara: Client) -> None:
    dag = factories.dag()
    factories.run(dag, at=now() - timedelta(hours=1))
    assert "This run is running, the other one success." in page(mara, factories.run(dag, state="running"))


def test_runs_of_other_dags_are_not_compared(mara: Client) -> None:
    other = factories.run(factories.dag("other"))
    assert "has no run" in page(mara, factories.run(factories.dag()), f"?with={other.run_id}")


def test_true_and_one_are_different_values_of_a_conf() -> None:
    assert [c["name"] for c in comparison.conf_changes({"a": True, "b": None}, {"a": 1, "c": {}})] == ["a", "b", "c"]
    assert comparison.conf_changes({}, {}) == []


def test_statements_do_not_grow_with_tasks(mara: Client) -> None:
    counts = []
    for dag in (factories.dag("small"), factories.dag("large", [f"t{k}" for k in range(120)])):
        factories.run(dag, at=now() - timedelta(hours=1))
        run = factories.run(dag, state="failed", states={"t3": "failed"})
        page(mara, run)
        with CaptureQueriesContext(connection) as caught:
            page(mara, run, "?show=all")
        counts.append(len(caught))
    assert counts[0] == counts[1] <= 10


def test_who_may_not_read_the_dag_may_not_compare_its_runs(client: Client) -> None:
    run = factories.run(factories.dag())
    client.force_login(User.objects.create_user("guest"))
    assert client.get(reverse("run_compare", args=["orders", run.run_id])).status_code == 403
    client.force_login(factories.user())
    assert reverse("run_compare", args=["orders", run.run_id]) in client.get(reverse("run", args=["orders", run.run_id])).content.decode()
