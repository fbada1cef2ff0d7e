"""The tab Code: one version, or what changed between two."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.access.models import User
from apps.dags.models import Dag, DagVersion
from apps.ui.queries import versions
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def mara(client: Client) -> Client:
    client.force_login(factories.user())
    return client


def another(dag: Dag, number: int, source: str, **task: Any) -> DagVersion:
    made = factories.spec("orders", ["extract", "load", "audit"]).to_dict()
    made["tasks"][1].update(task)
    return DagVersion.objects.create(dag=dag, number=number, spec=made, spec_hash=str(number), source=source)


def page(client: Client, query: str = "") -> str:
    response = client.get(reverse("dag_code", args=["orders"]) + query)
    assert response.status_code == 200
    return response.content.decode()


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_a_diff_shows_changed_lines_with_the_numbers_of_both_sides(mara: Client) -> None:
    dag = factories.dag()
    another(dag, 2, "import os\nprint('hello')\nprint('<world>')\n", retries=3)
    shown = page(mara, "?v=2&diff=1")
    assert '<li class="add"><i></i><i>1</i><b>+</b><span>import os</span></li>' in shown
    assert '<li class="same"><i>1</i><i>2</i>' in shown
    assert "&lt;world&gt;" in shown and "<world>" not in shown
    said = words(shown)
    assert "From v1 to v2: 2 lines added , 0 removed ." in said
    assert "check task removed" in said and "audit task added" in said
    assert re.search(r"load retries 0 3 ", said)


def test_the_other_way_round_adds_become_removals(mara: Client) -> None:
    another(factories.dag(), 2, "print('hello')\nprint(2)\n")
    assert '<li class="del"><i>2</i><i></i><b>−</b><span>print(2)</span></li>' in page(mara, "?v=1&diff=2")


def test_every_version_links_to_what_changed_since_the_one_before(mara: Client) -> None:
    dag = factories.dag()
    another(dag, 2, "x")
    another(dag, 4, "y")
    shown = page(mara)
    assert 'href="?v=4&amp;diff=2"' in shown and 'href="?v=2&amp;diff=1"' in shown and "the first" in shown
    assert "print" in page(mara, "?v=1") and "print" in page(mara, "?version=1")


@pytest.mark.parametrize("query", ["?v=77", "?v=1&diff=77", "?v=none", "?v=-1&diff=x", "?v=99999999999999999999"])
def test_a_version_that_does_not_exist_is_said_not_broken(mara: Client, query: str) -> None:
    factories.dag()
    shown = page(mara, query)
    assert ("There is no version 77" in shown) == ("77" in query)


def test_the_same_source_twice_says_so(mara: Client) -> None:
    another(factories.dag(), 2, "print('hello')\n")
    assert "the same source" in page(mara, "?v=2&diff=1")


def test_files_that_are_too_long_are_not_compared() -> None:
    assert versions.lines("x\n" * versions.LINES_COMPARED, "y") is None


def test_statements_do_not_grow_with_versions(mara: Client) -> None:
    dag = factories.dag()
    another(dag, 2, "a")
    page(mara)
    with CaptureQueriesContext(connection) as few:
        page(mara, "?v=2&diff=1")
    for n in range(3, 23):
        another(dag, n, "a")
    with CaptureQueriesContext(connection) as many:
        page(mara, "?v=22&diff=1")
    assert len(few) == len(many) <= 14


def test_who_may_not_read_the_dag_may_not_read_its_source(client: Client) -> None:
    factories.dag()
    client.force_login(User.objects.create_user("guest"))
    assert client.get(reverse("dag_code", args=["orders"]) + "?v=1&diff=1").status_code == 403
