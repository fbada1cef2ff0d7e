"""Links that task code makes for notifications lead to the page they promise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client

from apps.runs.models import TaskInstance
from apps.ui.tests import factories
from apps.ui.tests.test_questions import ask
from trackside.core.messages import StartOrder
from trackside.sdk.execution.comms import MemoryComms
from trackside.sdk.execution.ti import RuntimeTaskInstance
from trackside.sdk.operators.hitl import HITLOperator
from trackside.sdk.param import Param

pytestmark = pytest.mark.django_db


def page(client: Client, link: str) -> str:
    parts = urlsplit(link)
    assert f"{parts.scheme}://{parts.netloc}" == "https://site.example"
    response = client.get(f"{parts.path}?{parts.query}")
    assert response.status_code == 200, link
    return response.content.decode()


@pytest.fixture
def mara(client: Client, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://site.example/")
    client.force_login(factories.user())
    return client


@pytest.mark.parametrize("index", [-1, 3])
def test_the_logs_address_of_a_try_is_its_page(mara: Client, index: int) -> None:
    run = factories.run(factories.dag("orders"), states={"extract": "failed"})
    TaskInstance.objects.filter(run=run, task_id="extract").update(map_index=index, rendered_map_index="third" if index > 0 else None)
    names = {"dag_id": "orders", "run_id": run.run_id}
    order = StartOrder(try_id="t", token="t", dag_id="orders", task_id="extract", map_index=index, run=names)
    ti = RuntimeTaskInstance(order, SimpleNamespace(task_id="extract"), SimpleNamespace(dag_id="orders"), MemoryComms())
    said = page(mara, ti.log_url)
    assert ("third" in said) == (index > 0)
    assert ti.mark_success_url == ti.log_url


def test_the_link_of_a_question_is_its_form_filled_in(mara: Client) -> None:
    asked = ask(params={"amount": {"value": 1, "schema": {"type": "integer"}}, "who": {"value": "", "schema": {"type": "string"}}})
    task: Any = HITLOperator(
        task_id="extract", subject="Ship it?", options=["Yes", "No"],
        params={"amount": Param(1, type="integer"), "who": Param("", type="string")},
    )  # fmt: skip
    me = SimpleNamespace(dag_id="orders", run_id=asked.ti.run.run_id, task_id="extract", map_index=-1)
    said = page(mara, task.generate_link_to_ui(task_instance=me, options=["No"], params_input={"amount": 4, "who": "a & b"}))
    assert 'value="No" checked' in said and 'value="4"' in said and 'value="a &amp; b"' in said
