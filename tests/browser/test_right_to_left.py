"""Pages laid out from right to left fit their screens. German plays the language that is read so: its words are there already."""

from __future__ import annotations

from typing import Any

import pytest

from apps.ui import assets
from apps.ui.tests import factories

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(assets.island("grid") is None, reason="the front end is not built: python frontend/build.py"),
]


@pytest.mark.parametrize("width", [390, 1440])
def test_pages_from_right_to_left_have_no_sideways_scrolling(page: Any, web: str, settings: Any, width: int) -> None:
    settings.LANGUAGES_BIDI = ["de"]
    states = {"extract": "success", "load_into_the_warehouse": "failed", "report": "upstream_failed"}
    run = factories.run(factories.dag("orders", list(states)), state="failed", states=states, reason="load_into_the_warehouse failed.")
    page.context.add_cookies([{"name": "lang", "value": "de", "url": web}])
    page.set_viewport_size({"width": width, "height": 900})
    one = f"/dags/orders/runs/{run.run_id}"
    for path in ("/", "/dags", "/runs", "/dags/orders", one, f"{one}/tasks/load_into_the_warehouse", f"{one}/clear"):
        page.goto(web + path)
        assert page.evaluate("[document.documentElement.dir, getComputedStyle(document.body).direction]") == ["rtl", "rtl"], path
        reach = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert reach[0] <= reach[1], f"{path} at {width}: {reach}"
        start = page.evaluate("document.querySelector('main').getBoundingClientRect().right")
        assert start <= width, path
    if width > 1000:
        left = page.evaluate("document.querySelector('.side').getBoundingClientRect().left")
        assert left > width / 2  # navigation stands where reading begins


def test_texts_of_the_islands_come_in_the_language_of_the_page(page: Any, web: str) -> None:
    run = factories.run(factories.dag("orders", ["extract"]), state="running", states={"extract": "running"})
    page.context.add_cookies([{"name": "lang", "value": "de", "url": web}])
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{web}/dags/orders/runs/{run.run_id}")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Tasten").wait_for()
    page.keyboard.press("Escape")
    page.locator("[data-live-text]").get_by_text("Live").wait_for()
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="DAGs, Tasks, Läufe, Assets, Logs suchen").wait_for()
    page.goto(f"{web}/dags")
    page.get_by_label("Sprache").select_option("en")
    page.get_by_role("heading", name="DAGs").wait_for()
    page.wait_for_function("document.documentElement.lang === 'en'")
