"""XComs as people read them: a tree that folds, a table for records, a picture if it is one; small whatever the value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.access.models import User
from apps.runs.models import Run, XCom
from apps.ui import valuetree
from apps.ui.tests import factories

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def count(node: valuetree.Node) -> int:
    return 1 + sum(len(r) for r in node.rows) + sum(count(c) for c in node.children)


def shown(client: Client, value: Any, raw: str | None = None) -> str:
    client.force_login(User.objects.first() or factories.user())
    run = Run.objects.first() or factories.run(factories.dag())
    XCom.objects.all().delete()
    text = json.dumps(value) if raw is None else raw
    XCom.objects.create(run=run, dag_id="orders", task_id="load", key="return_value", value=text)
    response = client.get(reverse("task", args=["orders", run.run_id, "load"]) + "?tab=xcom")
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.django_db
def test_values_under_sensitive_names_are_hidden_in_values_of_any_size(client: Client) -> None:
    assert "s3cret" not in shown(client, {"a": [{"password": "s3cret", "b": 1}]})
    assert "s3cret" not in shown(client, None, '{"password": "s3cret')
    long = {"region": "eu-1", "api_key": 's3cret "one"', "n": 1, "tokens": {"a": "s3cret two"}, "x": "y" * valuetree.PARSED}
    page = shown(client, long)
    assert "s3cret" not in page and "eu-1" in page and "***" in page
    deep = '{"a":' * 3000 + '{"secret": "s3cret"}' + "}" * 3000
    assert "s3cret" not in shown(client, None, deep)


def test_objects_that_share_fields_are_a_table_and_others_a_list() -> None:
    table = valuetree.tree([{"a": 1, "b": [2]}, {"a": 3, "c": None}])
    assert (table.kind, table.columns, table.rows) == ("table", ["a", "b", "c"], [["1", "[2]", ""], ["3", "", "null"]])
    for other in ([{"a": 1}], [{"a": 1}, {"b": 1}], [{"a": 1}, 2], [{}, {}], [1, 2]):
        assert valuetree.tree(other).kind == "list"


@pytest.mark.parametrize(
    "value",
    [
        list(range(100_000)), {str(k): {"x": k} for k in range(50_000)}, [{f"c{c}": c for c in range(100)} for _ in range(5_000)],
        {"a": [[{"x": 1, "y": 2}] * 300] * 300},
    ],
)  # fmt: skip
def test_the_page_stays_small_and_says_what_is_left_out(value: Any) -> None:
    node = valuetree.tree(value)
    assert count(node) <= valuetree.NODES + 200
    assert "more" in json.dumps(node, default=lambda n: {s: getattr(n, s) for s in n.__slots__})


def test_a_value_deeper_than_the_tree_is_cut() -> None:
    value: Any = 1
    for _ in range(200):
        value = {"in": value}
    node, depth = valuetree.tree(value), 0
    while node.children:
        node, depth = node.children[0], depth + 1
    assert depth == valuetree.DEPTH and node.kind == "text"


@pytest.mark.django_db
def test_a_value_folds_and_its_text_is_text(client: Client) -> None:
    page = shown(client, {"rows": 7, "ok": True, "name": "<script>alert(1)</script>", "deep": {"er": {"x": None}}, "none": []})
    assert "<details open>" in page and '<span class="v-number">7</span>' in page and '<span class="v-word">true</span>' in page
    assert "&lt;script&gt;" in page and "<script>alert" not in page


@pytest.mark.django_db
def test_envelopes_are_taken_off_and_records_become_a_table(client: Client) -> None:
    page = shown(client, {"__classname__": "x.Y", "__version__": 1, "__data__": [{"id": 1, "n": "a"}, {"id": 2, "n": "b"}]})
    assert "2 records" in page and '<th scope="col">id</th>' in page and "<td>b</td>" in page and "__data__" not in page


@pytest.mark.django_db
def test_a_picture_is_shown_as_one_and_other_addresses_are_text(client: Client) -> None:
    page = shown(client, {"good": PIXEL, "bad": 'data:image/png;base64,x" onerror="alert(1)', "svg": "data:image/svg+xml;base64,AAAA"})
    assert page.count("<img") == 1 and f'src="{PIXEL}"' in page


@pytest.mark.django_db
@pytest.mark.parametrize("raw", ["[" * 50_000 + "]" * 50_000, '{"broken"', '"' + "x" * 3_000_000 + '"', "plain"])
def test_what_cannot_be_a_tree_is_shown_as_text(client: Client, raw: str) -> None:
    page = shown(client, None, raw)
    assert raw[1:6].replace('"', "&quot;") in page and len(page) < 120_000
