"""The frame of every page, as a person uses it: how dense rows are."""

from __future__ import annotations

from typing import Any

import pytest

from apps.ui import assets
from apps.ui.tests import factories

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(assets.island("shell") is None, reason="the front end is not built: python frontend/build.py"),
]
ROW = "document.querySelector('.tbl td').getBoundingClientRect().height"


def test_rows_become_comfortable_by_a_switch_and_stay_so_in_this_browser(page: Any) -> None:
    run = factories.run(factories.dag())
    address = f"/dags/orders/runs/{run.run_id}"
    page.goto(address)
    compact, switch = page.evaluate(ROW), page.get_by_role("button", name="Comfortable rows")
    assert compact < 40 and switch.get_attribute("aria-pressed") == "false"
    switch.press("Enter")
    assert page.evaluate(ROW) >= 40 and switch.get_attribute("aria-pressed") == "true"
    page.reload()
    assert page.evaluate(ROW) >= 40 and switch.get_attribute("aria-pressed") == "true"
    switch.click()
    page.goto("/")
    page.goto(address)
    assert page.evaluate(ROW) == compact
