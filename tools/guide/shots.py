"""Takes the pictures of docs/guide from a Trackside of its own: `make shots`.

A server in a temporary home runs the examples and the DAGs of an invented shop (`dags/`): days loaded by a backfill, one of them bad,
reports driven by their asset, a run that waits for its pool. Everything on the pictures was done by the product. The script waits for
conditions, never for a time; it ends the server and removes its home.
"""

from __future__ import annotations

import argparse
import base64
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Page, sync_playwright  # noqa: E402

from tests.support import server  # noqa: E402

GUIDE = ROOT / "docs" / "guide"
CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome") if Path(p).exists()), None)
QUALITY = 82
LARGEST = 60_000
"""Bytes of a picture: the guide stays small in a clone."""
DAYS = 16
WAIT = 60_000


@dataclass
class World:
    """The runs that pictures are about."""

    bad: str = ""
    mapped: str = ""
    waiting: str = ""
    report: str = ""


@dataclass
class Shot:
    """A picture: file name, address, what is done there, and how it is looked at."""

    name: str
    path: str
    act: Callable[[Page], object] = lambda page: None
    dark: bool = False
    phone: bool = False


def furnish(trackside: server.Server) -> World:
    """Let things happen: good, bad, mapped, driven by assets, waiting, running."""
    world = World()
    trackside.call("POST", "/pools", json={"name": "scanners", "slots": 1, "description": "Hand scanners of the warehouse"})
    trackside.add_connection("warehouse", conn_type="postgres", host="warehouse.shop.example", schema="shop", login="loader", port=5432)
    for dag_id in ("orders_daily", "revenue_report", "stock_sync", "release_prices", "hello", "quality_gate", "flaky_download"):
        trackside.unpause(dag_id)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    world.mapped = trackside.trigger("quality_gate")
    trackside.trigger("hello", {"name": "Mara", "seconds": 0, "fail": True})
    trackside.trigger("flaky_download")
    trackside.trigger("release_prices")
    begin, end = today - timedelta(days=DAYS), today - timedelta(days=1)
    body = {"dag_id": "orders_daily", "from_date": begin.isoformat(), "to_date": end.isoformat(), "max_active_runs": 3}
    trackside.call("POST", "/backfills", json=body)

    def loaded() -> bool:
        found = trackside.get("/dags/orders_daily/dagRuns", limit=100)["dag_runs"]
        return len(found) >= DAYS - 1 and all(r["state"] in server.FINISHED for r in found)

    server.until(loaded, "the days were loaded", 300)
    first = trackside.get("/dags/orders_daily/dagRuns", order_by="-logical_date", state="failed", limit=1)["dag_runs"]
    world.bad = first[0]["dag_run_id"]
    server.until(
        lambda: trackside.get("/dags/revenue_report/dagRuns", state="success", limit=1)["total_entries"], "reports followed the loads", 120
    )
    stock = [trackside.trigger("stock_sync", {"warehouse": w}) for w in ("Hamburg", "Lyon")]

    def held() -> bool:
        states = {trackside.states("stock_sync", run).get("count_shelves") for run in stock}
        return "running" in states and bool(states & {"queued", "scheduled"})

    server.until(held, "one delivery runs and one waits")
    world.waiting = next(r for r in stock if trackside.states("stock_sync", r)["count_shelves"] != "running")
    trackside.wait_run("quality_gate", world.mapped, 120)
    return world


def shots(world: World) -> list[Shot]:
    """All pictures of the guide."""
    bad, waiting = f"/dags/orders_daily/runs/{world.bad}", f"/dags/stock_sync/runs/{world.waiting}"
    task = f"{bad}/tasks/check"

    def press(key: str, then: str) -> Callable[[Page], object]:
        def act(page: Page) -> object:
            page.keyboard.press(key)
            return page.wait_for_selector(then)

        return act

    def drawer(page: Page) -> None:
        page.focus(".gwrap")
        page.keyboard.press("f")
        page.wait_for_selector(".drawer .why, .drawer h2")

    def find(page: Page) -> None:
        page.keyboard.press("Control+k")
        page.keyboard.type("load")
        page.wait_for_selector("dialog[open] [role=option]:has-text('Search logs for “load”')")

    def why(page: Page) -> None:
        page.click(".chain summary")
        page.wait_for_selector(".chain[open] li")

    def backfill(page: Page) -> None:
        page.click("text=Backfill…")
        page.fill("dialog [name=from]", f"{datetime.now(UTC) - timedelta(days=DAYS + 5):%Y-%m-%dT00:00}")
        page.keyboard.press("Tab")
        page.wait_for_selector("dialog #clear-preview:not(:has-text('0 runs')):has-text('runs will be queued')")

    def log(page: Page) -> None:
        page.wait_for_selector(".log .l:has-text('have no customer')")

    return [
        Shot("home", "/"), Shot("home-dark", "/", dark=True), Shot("home-390", "/", phone=True),
        Shot("dags", "/dags"), Shot("palette", "/dags", find),
        Shot("grid", "/dags/orders_daily", drawer), Shot("grid-dark", "/dags/orders_daily", dark=True),
        Shot("graph", "/dags/quality_gate/graph"), Shot("gantt", f"/dags/quality_gate/runs/{world.mapped}?tab=gantt"),
        Shot("calendar", "/dags/orders_daily/calendar"),
        Shot("run", bad, why), Shot("run-390", bad, phone=True), Shot("waiting", waiting),
        Shot("task", task, log), Shot("task-dark", task, log, dark=True),
        Shot("trigger", "/dags/stock_sync", press("t", "dialog[open] #dlg-t, dialog[open] h2")),
        Shot("clear", bad, press("c", "dialog[open] #clear-preview")),
        Shot("backfill", "/dags/orders_daily/backfills", backfill),
        Shot("actions", "/required-actions"), Shot("assets", "/assets"), Shot("data", "/data"), Shot("data-390", "/data", phone=True),
        Shot("processes", "/processes"), Shot("audit", "/audit"), Shot("admin", "/admin/access/connection/"),
    ]  # fmt: skip


def settled(page: Page) -> None:
    """What moves by itself is there: the line is up, canvases and graphs are drawn."""
    if page.locator("[data-live-topic], [data-grid]").count():
        page.wait_for_selector('.live[data-live="connected"]')
    if page.locator(".gwrap").count():
        page.wait_for_function("() => window.tracksideGrid?.model.runs.length > 0")
    if page.locator("#graph").count():
        page.wait_for_selector("#g a.n")
    page.evaluate("() => document.fonts.ready.then(() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn))))")


def take(page: Page, folder: Path, shot: Shot) -> int:
    """One picture; its size in bytes. Quality goes down until it is small enough."""
    page.emulate_media(color_scheme="dark" if shot.dark else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": 390, "height": 844} if shot.phone else {"width": 1440, "height": 900})
    answer = page.goto(shot.path)
    assert answer is not None and answer.status < 400, f"{shot.path}: {answer and answer.status}"
    settled(page)
    shot.act(page)
    page.mouse.move(0, 0)
    settled(page)
    line = page.context.new_cdp_session(page)
    for quality in range(QUALITY, 20, -12):
        data = line.send("Page.captureScreenshot", {"format": "webp", "quality": quality})["data"]
        picture = base64.b64decode(data)
        if len(picture) <= LARGEST:
            break
    line.detach()
    (folder / f"{shot.name}.webp").write_bytes(picture)
    return len(picture)


def sign_in(page: Page, trackside: server.Server) -> None:
    page.goto("/login")
    page.fill("#id_username", trackside.user)
    page.fill("#id_password", trackside.password)
    page.click("main button")
    page.wait_for_url(f"{trackside.url}/")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=GUIDE, help="folder of the pictures")
    parser.add_argument("--only", nargs="*", help="names of pictures; default: all")
    parser.add_argument("--port", type=int, help="of the server; default: a free one")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    home = server.temporary_home("trackside-shots-")
    trackside: server.Server | None = None
    try:
        shutil.copytree(ROOT / "examples", home / "dags", ignore=shutil.ignore_patterns("__pycache__", "*.md"))
        shutil.copy(Path(__file__).with_name("dags") / "shop.py", home / "dags")
        trackside = server.start(home, home / "dags", port=options.port, environment={"HOME": str(home)})
        todo = [s for s in shots(furnish(trackside)) if not options.only or s.name in options.only]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            context: Any = browser.new_context(base_url=trackside.url, timezone_id="UTC", locale="en-GB")
            page = context.new_page()
            page.set_default_timeout(WAIT)
            sign_in(page, trackside)
            total = 0
            for shot in todo:
                total += (size := take(page, options.to, shot))
                print(f"{shot.name}.webp  {size:,} bytes", flush=True)
            browser.close()
        print(f"{len(todo)} pictures, {total:,} bytes")
    finally:
        if trackside is not None:
            trackside.stop()
        server.remove(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
