"""The main job as a person does it, in a real Chromium: switch on, trigger, watch it move, read its log, see it fail,
clear it, see it succeed. Nothing is reloaded by the test unless a person would have to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.support.server import ROOT, Server, until

CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome") if Path(p).exists()), None)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
SHOTS = ROOT / "test-artifacts" / "browser"
WAIT = 30_000
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium, then these tests run too"),
]


@pytest.fixture
def page(trackside: Server) -> Iterator[Page]:
    """A signed-in page; whatever it complains about on its console fails the test."""
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=trackside.url)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.goto("/login")
        page.get_by_label("Name").fill(trackside.user)
        page.get_by_label("Password").fill(trackside.password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(trackside.url + "/")
        yield page
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / "main-job-end.png")
        browser.close()
    assert not complaints, complaints


def cell(page: Page, task: str, state: str) -> None:
    """Wait until the newest run's cell of a task shows a state, on the page as it is."""
    page.wait_for_function(
        """([task, state]) => { const g = window.tracksideGrid; if (!g || !g.model.runs.length) return false;
           const shown = g.cellAt(task, g.model.runs[g.model.runs.length - 1].id);
           return document.documentElement.dataset.stamp === "kept" && shown === state }""",
        arg=[task, state],
        timeout=WAIT,
    )


def trigger(page: Page, seconds: int, *, fail: bool) -> None:
    """Fill in the form of the trigger dialog."""
    page.get_by_role("link", name="Trigger…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("seconds").fill(str(seconds))
    box = dialog.get_by_label("fail")
    if fail:
        box.check()
    dialog.get_by_role("button", name="Trigger").click()


@pytest.mark.timeout(240)
def test_unpause_trigger_watch_read_fail_clear_succeed(trackside: Server, page: Page):
    trackside.wait_dag("hello")
    trackside.call("PATCH", "/dags/hello", json={"is_paused": True})

    page.goto("/dags")
    switch = page.get_by_role("switch", name="hello runs on schedule")
    expect(switch).to_have_attribute("aria-checked", "false")
    switch.click()
    expect(switch).to_have_attribute("aria-checked", "true")
    until(lambda: not trackside.get("/dags/hello")["is_paused"], "the switch reached the server", 20)

    page.get_by_role("link", name="hello", exact=True).click()
    trigger(page, 4, fail=True)
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.wait_for_load_state("load")
    # a mark on the document shows that the page was not loaded anew while its cells changed
    page.evaluate("document.documentElement.dataset.stamp = 'kept'")
    cell(page, "greet", "success")
    cell(page, "talk", "running")

    (run_id,) = [r["dag_run_id"] for r in trackside.get("/dags/hello/dagRuns", order_by="-id", limit=1)["dag_runs"]]
    log = page.context.new_page()
    log.goto(f"/dags/hello/runs/{run_id}/tasks/talk")
    expect(log.get_by_text("2 of 4: still here")).to_be_visible(timeout=WAIT)
    assert trackside.states("hello", run_id)["talk"] == "running"
    expect(log.get_by_text("4 of 4: still here")).to_be_visible(timeout=WAIT)

    cell(page, "talk", "failed")
    cell(page, "say_goodbye", "upstream_failed")
    expect(log.get_by_text("You asked for a failure").first).to_be_visible(timeout=WAIT)

    log.get_by_role("link", name="Clear…").click()
    dialog = log.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Clear ")).to_contain_text("task")
    dialog.get_by_role("button", name="Clear ").click()

    cell(page, "talk", "success")
    cell(page, "say_goodbye", "success")
    assert trackside.wait_run("hello", run_id)["state"] == "success"
    log.close()


def test_the_pages_do_not_overflow_on_a_phone(trackside: Server, page: Page):
    trackside.run_dag("hello", {"seconds": 0})
    (run_id,) = [r["dag_run_id"] for r in trackside.get("/dags/hello/dagRuns", order_by="-id", limit=1)["dag_runs"]]
    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("/", "/dags", "/dags/hello", "/dags/hello/graph", f"/dags/hello/runs/{run_id}", f"/dags/hello/runs/{run_id}/tasks/talk"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, path
