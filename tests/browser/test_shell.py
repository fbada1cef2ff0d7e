"""The frame of every page, as a person uses it: how dense rows are, the switchers of the breadcrumb."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils.timezone import now

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


def test_the_breadcrumb_leads_to_another_run_and_another_dag_by_keyboard_and_stays_on_the_task(page: Any) -> None:
    dag = factories.dag("orders")
    old, new = factories.run(dag, state="failed", at=now() - timedelta(days=2)), factories.run(dag)
    factories.dag("stock")
    page.goto(f"/dags/orders/runs/{new.run_id}/tasks/load?tab=details")
    page.focus(".crumbs [data-from*='switch/orders']")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.palette [role=option]:nth-of-type(2)")
    page.keyboard.type("failed")
    page.wait_for_selector("dialog.palette [role=option]:only-child")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs/{old.run_id}/tasks/load?tab=details")
    page.goto("/dags/orders/calendar")
    page.click(".crumbs [data-from*='switch']")
    page.click("dialog.palette [role=option]:has-text('stock')")
    page.wait_for_url("**/dags/stock/calendar")


def test_the_palette_leads_to_a_task_and_to_the_logs_for_what_was_typed(page: Any) -> None:
    run = factories.run(factories.dag("orders", ["extract", "load_orders"]))
    page.goto("/runs")
    page.keyboard.press("Control+k")
    page.keyboard.type("load_o")
    page.wait_for_selector("dialog.palette [role=option][aria-selected=true]:has-text('task of orders')")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs/{run.run_id}/tasks/load_orders")
    page.keyboard.press("Control+k")
    page.keyboard.type("connection refused")
    page.wait_for_selector("dialog.palette [role=option][aria-selected=true]:has-text('Search logs for “connection refused”')")
    page.keyboard.press("Enter")
    page.wait_for_url("**/logs?q=connection+refused")
    page.wait_for_selector("h2:has-text('Nothing found')")


def test_the_brackets_walk_runs_on_the_same_tab_and_tasks_of_the_runs_beside(page: Any) -> None:
    dag = factories.dag("orders")
    old, new = factories.run(dag, at=now() - timedelta(days=2)), factories.run(dag)
    page.goto(f"/dags/orders/runs/{new.run_id}?tab=gantt")
    page.keyboard.press("[")
    page.wait_for_url(f"**/runs/{old.run_id}?tab=gantt")
    page.keyboard.press("]")
    page.wait_for_url(f"**/runs/{new.run_id}?tab=gantt")
    page.goto(f"/dags/orders/runs/{new.run_id}/tasks/load?tab=details")
    page.keyboard.press("[")
    page.wait_for_url(f"**/runs/{old.run_id}/tasks/load?tab=details")
