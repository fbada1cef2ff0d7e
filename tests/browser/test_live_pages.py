"""What a person sees: pages that follow the database without being loaded again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils.timezone import now

from apps.dags.models import Dag
from apps.runs import listening, wake
from apps.runs.models import Process, Run, TaskInstance
from apps.ui import assets
from apps.ui.live import consumer
from apps.ui.queries import shell
from apps.ui.tests import factories

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(assets.island("grid") is None, reason="the front end is not built: python frontend/build.py"),
]


def cell(page: Any, task: str, run_id: str) -> Any:
    return page.evaluate("([t, r]) => window.tracksideGrid?.cellAt(t, r)", [task, run_id])


def wait_for_cell(page: Any, task: str, run_id: str, state: str) -> None:
    page.wait_for_function("([t, r, s]) => window.tracksideGrid?.cellAt(t, r) === s", arg=[task, run_id, state], timeout=15_000)


def test_the_grid_follows_changes_and_catches_up_after_a_broken_line(page: Any) -> None:
    run = factories.run(factories.dag(), state="running")
    first, second, third = TaskInstance.objects.filter(run=run).order_by("pk")
    page.goto("/dags/orders")
    wait_for_cell(page, "extract", run.run_id, "none")
    page.wait_for_selector('.live[data-live="connected"]')
    factories.move(first, "running")
    wake.send(wake.LIVE)
    wait_for_cell(page, "extract", run.run_id, "running")
    page.evaluate("sockets.forEach(s => s.close())")
    page.wait_for_selector('.live[data-live="reconnecting"]')
    factories.move(first, "success")
    factories.move(second, "failed")
    page.wait_for_selector('.live[data-live="connected"]')
    assert page.evaluate("sockets.length") == 2
    factories.move(third, "upstream_failed")
    wake.send(wake.LIVE)
    for task, state in [("extract", "success"), ("load", "failed"), ("check", "upstream_failed")]:
        wait_for_cell(page, task, run.run_id, state)


def test_arrow_keys_select_a_tile_and_enter_opens_it(page: Any) -> None:
    run = factories.run(factories.dag(), state="failed", states={"load": "failed"})
    TaskInstance.objects.filter(run=run, task_id="load").update(reason="The warehouse refused the connection.")
    page.goto("/dags/orders")
    wait_for_cell(page, "load", run.run_id, "failed")
    page.focus(".gwrap")
    page.keyboard.press("f")
    page.wait_for_selector(".drawer h2:has-text('load')")
    assert "The warehouse refused the connection." in page.inner_text(".drawer")
    assert "load" in page.inner_text("#gsay") and "task=load" in page.url
    page.keyboard.press("Escape")
    assert not page.is_visible(".drawer")


def test_a_dag_is_triggered_from_its_dialog(page: Any) -> None:
    params = {"rows": {"value": 10, "schema": {"type": "integer", "minimum": 1, "maximum": 100}}}
    factories.dag(made=factories.spec("orders", ["a"], params=params))
    page.goto("/dags/orders")
    page.keyboard.press("t")
    page.fill("[name='param.rows']", "500")
    page.click("dialog button.pri")
    page.wait_for_selector("dialog [aria-invalid='true']")
    page.fill("[name='param.rows']", "50")
    page.click("dialog button.pri")
    page.wait_for_selector(".toast")
    assert Run.objects.get().conf == {"rows": 50}


def test_the_head_of_a_dag_follows_what_others_do_and_its_own_dialog(page: Any) -> None:
    factories.dag()
    Dag.objects.update(is_paused=True)
    page.goto("/dags/orders")
    page.wait_for_selector('.live[data-live="connected"]')
    page.wait_for_selector("#dag-head .sw[aria-checked='false']")
    page.keyboard.press("t")
    page.click("dialog button.pri")  # "switch the DAG on" is ticked
    page.wait_for_selector("#dag-head .sw[aria-checked='true']")
    page.wait_for_selector("#dag-head a:has-text('Clear…')")
    Dag.objects.filter(pk="orders").update(is_paused=True, timetable_description="At noon")
    listening.dag_changed(["orders"], "paused")
    page.wait_for_selector("#dag-head .sw[aria-checked='false']")
    page.wait_for_selector("#dag-head :text('At noon')")


def test_what_the_navigation_counts_follows(page: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(shell, "GOOD_FOR", 0.0)
    monkeypatch.setattr(consumer, "RECHECK", 0.2)
    page.goto("/dags")
    page.wait_for_selector('.live[data-live="connected"]')
    assert page.is_visible(".foot :text('No scheduler runs')") and page.is_hidden("[data-count=questions]")
    run = factories.run(factories.dag(), state="running")
    TaskInstance.objects.filter(run=run, task_id="load").update(state="awaiting_input")
    Process.objects.create(kind="scheduler", name="one", lease_until=now() + timedelta(minutes=1))
    page.wait_for_selector("[data-count=running]:text-is('1')")
    page.wait_for_selector("[data-count=questions]:text-is('1')")
    page.wait_for_selector(".foot :text('Scheduler runs')")
    assert page.is_hidden(".foot :text('No scheduler runs')")


def test_a_switch_pauses_at_once(page: Any) -> None:
    factories.dag()
    page.goto("/dags")
    page.click("tr[data-dag='orders'] .sw")
    page.wait_for_selector(".toast:has-text('paused')")
    assert page.get_attribute("tr[data-dag='orders'] .sw", "aria-checked") == "false"
    assert Dag.objects.get(pk="orders").is_paused


@pytest.mark.parametrize("key", ["c", "m"], ids=["clear", "mark"])
def test_what_a_dialog_did_is_taken_back_by_its_toast(page: Any, key: str) -> None:
    run = factories.run(factories.dag(), state="failed", states={"load": "failed", "check": "upstream_failed"})
    states = lambda: dict(TaskInstance.objects.filter(run=run).values_list("task_id", "state"))  # noqa: E731
    before = states()
    page.goto(f"/dags/orders/runs/{run.run_id}/tasks/load")
    page.keyboard.press(key)
    page.click("dialog[open] #dlg-go")
    page.wait_for_selector(".toast button:has-text('Undo')")
    assert states() != before
    page.click(".toast button:has-text('Undo')")
    page.wait_for_selector(".toast:has-text('Undone')")
    assert states() == before


def test_the_list_and_the_run_show_a_failure_as_it_happens(page: Any) -> None:
    run = factories.run(factories.dag(), state="running")
    page.goto(f"/dags/orders/runs/{run.run_id}")
    page.wait_for_selector('.live[data-live="connected"]')
    ti = TaskInstance.objects.get(run=run, task_id="load")
    TaskInstance.objects.filter(pk=ti.pk).update(reason="Disk full.")
    factories.move(ti, "failed")
    wake.send(wake.LIVE)
    page.wait_for_selector("tr[data-task='load'] :text('Failed')", timeout=15_000)
    page.wait_for_selector("tr[data-task='load'] :text('Disk full.')", timeout=15_000)


def test_bars_of_the_list_lead_to_their_runs_by_mouse_and_keyboard_and_live_changes_keep_the_focus(page: Any) -> None:
    dag = factories.dag()
    old, new = factories.run(dag, state="failed", at=now() - timedelta(hours=2)), factories.run(dag, state="running")
    page.goto("/dags")
    bars = page.locator(".bars a")
    bars.nth(0).hover(position={"x": 3, "y": 2})  # above the bar itself: the whole height leads there
    page.wait_for_selector(".tip:has-text('Failed, run of')")
    bars.nth(1).focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.getAttribute('href')") == f"/r/{old.pk}"
    page.wait_for_selector('.live[data-live="connected"]')
    factories.move(TaskInstance.objects.filter(run=new).first(), "running")
    Run.objects.filter(pk=new.pk).update(state="failed", end_date=now())
    wake.send(wake.LIVE)
    page.wait_for_selector("[data-dag=orders] .lr :text('Failed')")
    assert page.evaluate("document.activeElement.getAttribute('href')") == f"/r/{old.pk}"
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/dags/orders/runs/{old.run_id}")


def test_a_page_whose_shell_comes_late_says_that_it_is_live(page: Any) -> None:
    run = factories.run(factories.dag(), state="running")
    held: list[Any] = []
    page.route("**/shell-*.js", lambda route: held.append(route))
    page.goto(f"/dags/orders/runs/{run.run_id}", wait_until="commit")
    page.wait_for_function("() => window.sockets?.[0]?.readyState === 1")
    assert page.is_hidden(".live")
    held[0].continue_()
    page.wait_for_selector('.live[data-live="connected"]')


def test_the_graph_draws_every_task_as_a_link_with_its_state_in_its_name(page: Any) -> None:
    run = factories.run(
        factories.dag(made=factories.spec("orders", ["a", "g.b", "g.c"], {"g": ["g.b", "g.c"]})), state="failed", states={"a": "failed"}
    )
    page.goto("/dags/orders/graph")
    page.wait_for_selector("#g a.n[data-id='a'][data-s='failed']", timeout=20_000)
    assert page.locator("#g a.n").count() == 3
    assert "Failed" in (page.get_attribute("#g a.n[data-id='a']", "aria-label") or "")
    assert run.run_id in (page.get_attribute("#g a.n[data-id='a']", "href") or "")


@pytest.mark.parametrize("path", ["/", "/dags", "/dags/orders", "/dags/orders/graph", "/runs", "/import-errors", "/dags/orders/details"])
def test_no_page_scrolls_sideways_on_a_phone(page: Any, path: str) -> None:
    factories.run(factories.dag(), state="failed", states={"load": "failed"}, reason="a long reason " * 12)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(path)
    page.wait_for_selector("h1")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
