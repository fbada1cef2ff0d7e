"""The tab Trends: durations of the last runs, how often they fail, which tasks take the time."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from apps.runs.models import Run, TaskInstance
from apps.ui.queries import trends
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def mara(client: Client) -> Client:
    client.force_login(factories.user())
    return client


def page(client: Client) -> str:
    response = client.get(reverse("dag_trends", args=["orders"]))
    assert response.status_code == 200 and " style=" not in response.content.decode()
    return response.content.decode()


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_the_answer_comes_first_and_failures_are_marked(mara: Client) -> None:
    dag, at = factories.dag(), now()
    for k in range(25):
        run = factories.run(dag, at=at - timedelta(hours=k), state="failed" if k == 20 else "success")
        if k < 10:
            Run.objects.filter(pk=run.pk).update(end_date=run.start_date + timedelta(seconds=90))
    html = page(mara)
    assert "24 of the last 25 runs succeeded, usually in 1 min. The last 10 took 50 % longer than those before." in html
    assert html.count('class="r" data-s="failed"') == 2  # the bar and its notch
    assert "96 %" in words(html) and "1 of 25 failed" in words(html)


def test_tasks_are_listed_by_their_share_of_the_time(mara: Client) -> None:
    dag = factories.dag()
    run = factories.run(dag)
    TaskInstance.objects.filter(run=run, task_id="load").update(
        end_date=run.start_date + timedelta(seconds=380), queued_at=run.start_date - timedelta(seconds=30), state="failed"
    )
    said = words(page(mara)).split("Where the time goes")[1]
    assert re.search(r"load 76 % median 6 min 20 s longest 6 min 20 s waits 30 s 1 of 1 failed", said)
    assert said.index("load") < said.index("extract")


def test_a_hung_run_does_not_flatten_the_others() -> None:
    bars = [trends.Bar(str(k), "success", now(), 0.0, 60.0) for k in range(9)] + [trends.Bar("9", "failed", now(), 0.0, 90_000.0)]
    chart = trends.chart(bars)
    assert chart["bars"][0].took_height == trends.HEIGHT / trends.CUT
    assert chart["bars"][9].cut and chart["bars"][9].took_height == trends.HEIGHT and chart["cut"] == 300


def test_waiting_and_running_stack_up_to_the_height_of_the_chart() -> None:
    bar = trends.chart([trends.Bar("1", "success", now(), 30.0, 30.0)])["bars"][0]
    assert (bar.wait_height, bar.took_height, bar.took_y) == (80, 80, trends.PAD)


def test_a_dag_without_runs_says_what_to_do(mara: Client) -> None:
    factories.dag()
    assert "No runs yet" in page(mara)


def test_runs_that_wait_or_go_on_are_no_trouble(mara: Client) -> None:
    dag = factories.dag()
    factories.run(dag, state="running")
    Run.objects.filter(pk=factories.run(dag, state="queued").pk).update(start_date=None)
    assert "No run has ended yet." in page(mara)


def test_statements_do_not_grow_with_runs(mara: Client) -> None:
    dag = factories.dag()
    factories.run(dag)
    page(mara)
    with CaptureQueriesContext(connection) as few:
        page(mara)
    for k in range(trends.RUNS + 5):
        factories.run(dag, at=now() - timedelta(hours=k))
    with CaptureQueriesContext(connection) as many:
        assert page(mara).count('class="hit"') == trends.RUNS
    assert len(few) == len(many) <= 12
