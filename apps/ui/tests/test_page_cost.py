"""What a page costs does not grow with its rows: the same number of statements for one run or DAG and for many."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.runs.models import TaskInstance
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db
WIDE = [f"t{k}" for k in range(40)]


def statements(client: Client, paths: dict[str, str]) -> dict[str, int]:
    found = {}
    for name, path in paths.items():
        assert client.get(path).status_code == 200, path  # what is read once per process is read
        with CaptureQueriesContext(connection) as queries:
            client.get(path)
        found[name] = len(queries)
    return found


def pages(dag_id: str, run: Any) -> dict[str, str]:
    one = f"/dags/{dag_id}/runs/{run.run_id}"
    return {
        "home": "/", "dags": "/dags", "runs": "/runs", "tasks": "/tasks", "grid": f"/dags/{dag_id}",
        "grid data": f"/ui/grid/{dag_id}?runs=365",
        "graph data": f"/ui/graph/{dag_id}?run={run.run_id}", "run": one, "task": f"{one}/tasks/t0", "dag runs": f"/dags/{dag_id}/runs",
    }  # fmt: skip


def test_no_page_asks_more_of_the_database_for_more_rows(client: Client) -> None:
    client.force_login(factories.user())
    small = factories.run(factories.dag("small", WIDE[:2]), state="failed", states={"t0": "failed"}, reason="x")
    others = (("running", "failed", "success", "queued")[k % 4] for k in range(1000))
    for k in range(4):
        factories.run(factories.dag(f"one{k}", WIDE[:2]), state=next(others), states={"t1": "running"})
    few = statements(client, pages("small", small))
    large = factories.dag("large", WIDE)
    runs = [factories.run(large, state="failed", states={"t0": "failed", "t1": "failed"}, reason=f"cause {k}") for k in range(30)]
    for k in range(40):
        factories.run(factories.dag(f"more{k}", WIDE[:2]), state=next(others), states={"t1": "running"})
    assert TaskInstance.objects.count() > 1000
    many = statements(client, pages("large", runs[0]))
    assert {name: many[name] - few[name] for name in few if many[name] > few[name]} == {}


def test_the_page_of_a_large_run_stays_small_and_all_its_tasks_can_be_reached_without_scripts(client: Client) -> None:
    client.force_login(factories.user())
    run = factories.run(factories.dag("wide", [f"task_number_{k:04}" for k in range(600)]))
    address, rows = f"/dags/wide/runs/{run.run_id}", []
    for offset in (0, 250, 500):
        html = client.get(f"{address}?offset={offset}").content.decode()
        assert len(html) < 250_000
        assert ("offset=" + str(offset + 250) in html) == (offset < 500)
        rows += re.findall(r'<tr data-task="(\w+)"', html)
    assert rows == [f"task_number_{k:04}" for k in range(600)]
    bars = client.get(f"{address}?tab=gantt&offset=500").content.decode()
    assert bars.count('<li class="gr">') == 100 and len(bars) < 250_000
    assert client.get(f"{address}?offset=99999999").content.decode().count("<tr data-task=") == 250
