"""Links of plugins (Airflow's external views) on the pages they are for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.dags.models import PluginReport
from apps.ui import outside
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db
LINK = re.compile(r'<a href="([^"]*)" target="_blank" rel="noopener noreferrer">.*?<span class="cut">([^<]*)</span>')


@pytest.fixture
def site(client: Client, settings: Any, tmp_path: Path) -> Any:
    """Puts views into the report of plugins; a page's links, by name."""
    settings.PLUGINS_FOLDER = tmp_path
    (tmp_path / "mine.py").write_text("")
    client.force_login(factories.user())
    outside.forget()

    def pages(*views: dict[str, Any], url: str, menu: tuple[dict[str, Any], ...] = ()) -> dict[str, str]:
        data = {"plugins": [{"name": "mine", "external_views": list(views), "appbuilder_menu_items": list(menu)}]}
        PluginReport.objects.update_or_create(key="plugins", defaults={"data": data})
        outside.forget()
        return {name: href for href, name in LINK.findall(client.get(url).content.decode())}

    yield pages
    outside.forget()


VIEWS = [
    {"name": "Wiki", "href": "https://wiki.example"}, {"name": "Start", "href": "/start", "destination": "base"},
    {"name": "Dag", "href": "https://x/{DAG_ID}", "destination": "dag"},
    {"name": "Run", "href": "https://x/{DAG_ID}?run={RUN_ID}", "destination": "dag_run"},
    {"name": "Task", "href": "https://x/{TASK_ID}", "destination": "task"},
    {"name": "Instance", "href": "https://x/{DAG_ID}/{RUN_ID}/{TASK_ID}/{MAP_INDEX}", "destination": "task_instance"},
]  # fmt: skip


def test_each_page_has_the_links_of_its_destination_with_its_names(site: Any) -> None:
    run = factories.run(factories.dag("orders"), states={"extract": "success"})
    at = {name: reverse(name, args=args) for name, args in {
        "home": [], "dag": ["orders"], "run": ["orders", run.run_id], "task": ["orders", run.run_id, "extract"]}.items()}  # fmt: skip
    always = {"Wiki": "https://wiki.example", "Start": "/start"}
    escaped = run.run_id.replace(":", "%3A").replace("+", "%2B")
    assert site(*VIEWS, url=at["home"]) == always
    assert site(*VIEWS, url=at["dag"]) == always | {"Dag": "https://x/orders"}
    assert site(*VIEWS, url=at["run"]) == always | {"Run": f"https://x/orders?run={escaped}"}
    instance = f"https://x/orders/{escaped}/extract/-1"
    assert site(*VIEWS, url=at["task"]) == always | {"Task": "https://x/extract", "Instance": instance}


@pytest.mark.parametrize("href", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "wiki.example", ""])
def test_what_is_no_page_is_no_link(site: Any, href: str) -> None:
    assert site({"name": "Bad", "href": href}, {"href": "https://nameless"}, url=reverse("home")) == {}


def test_names_are_text_and_menu_items_count_too(site: Any) -> None:
    menu = ({"name": "Docs", "href": "https://docs", "category": "Help"},)
    found = site({"name": "<b>&", "href": "https://x/?a=1&b=\"<"}, url=reverse("home"), menu=menu)
    assert found == {"&lt;b&gt;&amp;": "https://x/?a=1&amp;b=&quot;&lt;", "Docs": "https://docs"}


def test_a_site_without_plugins_asks_nothing(client: Client, settings: Any, tmp_path: Path, django_assert_num_queries: Any) -> None:
    settings.PLUGINS_FOLDER = tmp_path / "none"
    with django_assert_num_queries(0):
        assert outside.links({}, "") == []
