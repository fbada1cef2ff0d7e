"""The graph as people use it: surroundings, directions, versions, and the picture as a file."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from apps.dags.models import DagVersion
from apps.ui import assets
from apps.ui.tests import factories

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(assets.island("graph") is None, reason="the front end is not built: python frontend/build.py"),
]


def place(page: Any, node: str) -> Any:
    return page.locator(f"#g .n[data-id='{node}'] .box").bounding_box()


def test_the_graph_turns_shows_surroundings_and_versions_and_is_saved_as_a_picture(page: Any) -> None:
    spec = factories.spec("orders", ["a", "b"])
    spec.tasks[1].attributes = {"trigger_dag_id": "report"}
    spec.tasks[0].inlets = [{"type": "asset", "name": "raw", "uri": "s3://raw"}]
    dag = factories.dag(made=spec)
    factories.dag("report")
    factories.run(dag, state="failed", states={"b": "failed"})
    newer = factories.spec("orders", ["a", "b", "c"])
    dag.current_version = DagVersion.objects.create(dag=dag, number=2, spec=newer.to_dict(), spec_hash=newer.structure_hash(), source="")
    dag.save()
    page.goto("/dags/orders/graph")
    page.wait_for_selector("#g .n[data-id='after:dag:report']", timeout=20_000)
    assert page.get_attribute("#g .n[data-id='after:dag:report']", "href") == "/dags/report"
    assert place(page, "before:asset:raw")["x"] < place(page, "a")["x"] < place(page, "b")["x"]
    with page.expect_download() as got:
        page.click("[data-export='svg']")
    assert got.value.suggested_filename == "orders.svg"
    text = Path(got.value.path()).read_text()
    ET.fromstring(text)
    assert "report" in text and "<use" not in text and not re.search(r'href="/', text)
    with page.expect_download() as got:
        page.click("[data-export='png']")
    assert Path(got.value.path()).read_bytes().startswith(b"\x89PNG")
    page.select_option("[name='dir']", "BT")
    page.wait_for_url("**dir=BT**")
    page.wait_for_selector("#g .n[data-id='b']", timeout=20_000)
    assert place(page, "b")["y"] < place(page, "a")["y"]
    page.select_option("[name='around']", "0")
    page.wait_for_url("**around=0**")
    page.wait_for_selector("#g .n[data-id='b']", timeout=20_000)
    assert page.locator("#g .n").count() == 2
    page.select_option("[name='version']", "2")
    page.wait_for_url("**version=2**")
    page.wait_for_selector("#g .n[data-id='c']", timeout=20_000)


def test_a_small_screen_has_the_choices_of_the_graph_too(page: Any) -> None:
    dag = factories.dag(made=factories.spec("orders", ["a", "b"]))
    factories.run(dag, state="failed", states={"b": "failed"})
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/dags/orders/graph")
    page.wait_for_selector("#g .n[data-id='b']", timeout=20_000)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator("#graph").bounding_box()["height"] > 300
    for name in ("run", "dir", "around"):
        box = page.locator(f"#gform [name='{name}']").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    page.select_option("[name='dir']", "TB")
    page.wait_for_url("**dir=TB**")
    page.wait_for_selector("#g .n[data-id='b']", timeout=20_000)
    assert place(page, "a")["y"] < place(page, "b")["y"]
