"""The graph's data: assets and other DAGs around the tasks, of the version that is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.db.models import Q
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.dags.models import Asset, Dag, DagVersion
from apps.ui.queries import surroundings
from apps.ui.tests import factories
from trackside.core.spec import DagSpec

pytestmark = pytest.mark.django_db


def around(dag_id: str = "orders") -> DagSpec:
    spec = factories.spec(dag_id, ["extract", "load"], asset_expression={"any": [{"asset": {"name": "raw", "uri": "s3://raw"}}]})
    extract, load = spec.tasks
    extract.attributes = {"external_dag_id": "upstream"}
    load.attributes = {"trigger_dag_id": "report"}
    load.inlets = [{"type": "asset", "name": "orders", "uri": "s3://orders"}]
    load.outlets = [{"type": "asset", "name": "orders", "uri": "s3://orders"}, {"type": "other", "value": "x"}]
    return spec


def graph(client: Client, **query: str) -> Any:
    return client.get(reverse("graph_data", args=["orders"]), query).json()


def test_assets_and_other_dags_stand_on_their_side_of_the_tasks(client: Client) -> None:
    client.force_login(factories.user())
    factories.dag(made=around())
    factories.dag("report")
    asset = Asset.objects.create(name="orders", uri="s3://orders", is_active=True)
    data = graph(client)
    outside = {n["id"]: n for n in data["nodes"] if n.get("kind")}
    assert {(a, b) for a, b, _ in data["edges"]} == {
        ("extract", "load"), ("before:asset:raw", "extract"), ("before:dag:upstream", "extract"), ("before:asset:orders", "load"),
        ("load", "after:asset:orders"), ("load", "after:dag:report"),
    }  # fmt: skip
    assert outside["after:dag:report"]["href"] == reverse("dag", args=["report"])
    assert outside["after:asset:orders"]["href"] == outside["before:asset:orders"]["href"] == reverse("asset", args=[asset.pk])
    assert outside["before:dag:upstream"]["href"] == "" == outside["before:asset:raw"]["href"]
    assert not [n for n in graph(client, around="0")["nodes"] if n.get("kind")]


def calling() -> None:
    """`nightly` starts orders, `report` waits for its task load, `billing` for the whole of it; `other` has nothing to do with it."""
    for dag_id, attributes in (
        ("nightly", {"trigger_dag_id": "orders"}), ("report", {"external_dag_id": "orders", "external_task_id": "load"}),
        ("billing", {"external_dag_id": "orders"}), ("other", {"trigger_dag_id": "order"}),
    ):  # fmt: skip
        spec = factories.spec(dag_id, ["call"])
        spec.tasks[0].attributes = attributes
        factories.dag(dag_id, made=spec)


def test_dags_that_start_this_one_or_wait_for_it_are_drawn(client: Client) -> None:
    client.force_login(factories.user())
    factories.dag(made=factories.spec("orders", ["extract", "load", "check"]))
    calling()
    data = graph(client)
    outside = {n["id"]: n for n in data["nodes"] if n.get("kind")}
    assert set(outside) == {"before:dag:nightly", "after:dag:report", "after:dag:billing"}
    lines = {(a, b) for a, b, _ in data["edges"]}
    assert {("before:dag:nightly", "extract"), ("load", "after:dag:report"), ("check", "after:dag:billing")} <= lines
    assert outside["before:dag:nightly"]["op"] == "DAG that starts this one"
    assert outside["after:dag:report"]["op"] == "DAG that waits for this one"
    assert outside["after:dag:report"]["href"] == reverse("dag", args=["report"])
    assert not [n for n in graph(client, around="0")["nodes"] if n.get("kind")]


def test_callers_that_one_may_not_see_or_that_are_gone_are_not_drawn(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.force_login(factories.user())
    factories.dag(made=factories.spec("orders", ["extract", "load"]))
    calling()
    Dag.objects.filter(pk="billing").update(is_stale=True)
    from apps.access import policy

    monkeypatch.setattr(policy, "visible_dags", lambda user, field="pk": Q(**{f"{field}__in": ["orders", "nightly", "billing"]}))
    assert [n["label"] for n in graph(client)["nodes"] if n.get("kind")] == ["nightly"]


def test_who_calls_a_dag_is_found_by_an_index() -> None:
    calling()
    with connection.cursor() as cursor, CaptureQueriesContext(connection) as seen:
        surroundings.callers(factories.user(), "orders", ())
        for way in ("seqscan", "nestloop", "indexscan", "indexonlyscan"):  # a handful of rows: what is dearer with many must not be cheaper
            cursor.execute(f"SET LOCAL enable_{way} = off")
        cursor.execute("EXPLAIN " + next(q["sql"] for q in seen if "trigger_dag_id" in q["sql"]))
        assert "dags_dagversion_names_dags" in str(cursor.fetchall())


def test_a_dag_that_one_may_not_see_has_no_link(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    factories.dag(made=around())
    factories.dag("report")
    client.force_login(factories.user())
    from apps.access import policy

    monkeypatch.setattr(policy, "visible_dags", lambda user, field="pk": Q(**{f"{field}__in": ["orders"]}))
    found = {n["id"]: n for n in graph(client)["nodes"]}
    assert found["after:dag:report"]["href"] == ""


def test_an_old_version_is_drawn_with_its_own_tasks_and_surroundings(client: Client) -> None:
    client.force_login(factories.user())
    dag = factories.dag(made=around())
    newer = factories.spec("orders", ["extract", "load", "check"])
    dag.current_version = DagVersion.objects.create(dag=dag, number=2, spec=newer.to_dict(), spec_hash=newer.structure_hash(), source="")
    dag.save()
    assert [n["id"] for n in graph(client)["nodes"]] == ["extract", "load", "check"]
    assert len(graph(client, version="1")["nodes"]) == 7
    for wrong in ("3", "x", "-1", "9" * 30):
        assert client.get(reverse("graph_data", args=["orders"]), {"version": wrong}).status_code == 404
    page = client.get(reverse("dag_graph", args=["orders"]), {"version": "1", "dir": "TB"}).content.decode()
    assert '<option value="1" selected>v1' in page and 'data-dir="TB"' in page and "&amp;version=1" in page


def test_names_that_are_templates_are_left_out_and_numbers_of_neighbours_cost_no_statements(client: Client) -> None:
    client.force_login(factories.user())
    spec = factories.spec("orders", [f"t{k}" for k in range(30)])
    factories.dag(made=spec)
    with CaptureQueriesContext(connection) as bare:
        graph(client)
    for k, task in enumerate(spec.tasks):
        task.attributes = {"trigger_dag_id": f"d{k}" if k else "{{ params.dag }}"}
        task.outlets = [{"type": "asset", "name": f"a{k}", "uri": f"s3://a{k}"}]
    Dag.objects.filter(pk="orders").delete()
    factories.dag(made=spec)
    with CaptureQueriesContext(connection) as full:
        data = graph(client)
    assert len([n for n in data["nodes"] if n.get("kind") == "dag"]) == 29
    assert len(full) <= len(bare) + 2
