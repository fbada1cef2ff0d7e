"""A log of a million lines in the browser: it opens, its end, a line, an error and a text are reached, and the page stays small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apps.runs import logs
from apps.runs.models import TaskInstance, Try
from apps.ui import assets
from apps.ui.tests import factories

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(assets.island("log") is None, reason="the front end is not built: python frontend/build.py"),
]
LINES = 1_000_000
KEPT = 20 * 200
"""Records the viewer keeps at most (`frontend/src/log/store.ts`)."""
NODES = 3000
HEAP = 40_000_000
"""Bytes of JavaScript; all lines as text alone would be more."""


@pytest.fixture
def row(settings: Any, tmp_path: Path, transactional_db: None) -> Try:
    settings.LOGS_FOLDER = tmp_path
    run = factories.run(factories.dag(), state="running", states={"load": "running"})
    return factories.a_try(TaskInstance.objects.get(run=run, task_id="load"), state="running")


def write(row: Try, first: int, last: int) -> None:
    """Line n says so; 600,001 is the first error, 777,777 holds a word that no other line has."""
    plain = b'{"t":"2026-11-18T14:10:51.118000Z","level":"info","event":"line %d of the load","src":"log"}\n'
    special = {600_001: ("error", "the disk is full"), 777_777: ("info", "needle in the stack"), 800_000: ("error", "again")}
    for start in range(first, last + 1, 50_000):
        numbers = range(start, min(start + 50_000, last + 1))
        data = b"".join(plain % n if n not in special else line(*special[n]) for n in numbers)
        logs.append(row.pk, logs.size_of(row.pk), data)


def line(level: str, text: str) -> bytes:
    return json.dumps({"t": "2026-11-18T14:10:51.118000Z", "level": level, "event": text, "src": "log"}).encode() + b"\n"


def open_page(page: Any, row: Try, anchor: str = "") -> None:
    page.goto(f"/dags/orders/runs/{row.ti.run.run_id}/tasks/load{anchor}")


def wait_for_line(page: Any, text: str) -> None:
    """The line is drawn and in view."""
    page.wait_for_function(
        """text => [...document.querySelectorAll('.log .l')].some(l => {
             const a = l.getBoundingClientRect(), b = document.querySelector('.log').getBoundingClientRect();
             return l.textContent.includes(text) && a.top >= b.top - 1 && a.bottom <= b.bottom + 1; })""",
        arg=text, timeout=30_000,
    )  # fmt: skip


def assert_small(page: Any, session: Any) -> None:
    kept, nodes = page.evaluate("[window.tracksideLog.kept, document.getElementsByTagName('*').length]")
    assert kept <= KEPT and nodes <= NODES
    session.send("HeapProfiler.collectGarbage")
    assert session.send("Runtime.getHeapUsage")["usedSize"] < HEAP


def test_a_million_lines_open_end_search_and_error_within_bounds(page: Any, row: Try) -> None:
    write(row, 1, LINES)
    Try.objects.filter(pk=row.pk).update(log_ended=True)
    session = page.context.new_cdp_session(page)
    open_page(page, row)
    wait_for_line(page, "the disk is full")  # a finished log opens at its first error
    assert "Complete: 1,000,000 lines." in page.inner_text(".tail")
    page.keyboard.press("End")
    wait_for_line(page, f"line {LINES} of the load")
    page.keyboard.press("End")
    assert_small(page, session)

    page.fill("[data-search]", "NEEDLE")
    wait_for_line(page, "needle in the stack")
    page.wait_for_function("() => document.querySelector('#qn').textContent === '1 / 1'", timeout=30_000)
    page.wait_for_selector(".log mark.now")
    page.click("button[data-level=info]")  # errors only: the view is two lines
    page.wait_for_function("() => window.tracksideLog.shown === 2")
    wait_for_line(page, "again")
    page.click("button[data-level=info]")
    page.wait_for_function("() => window.tracksideLog.shown === 1000000")

    for share in range(20):  # all over the log
        page.evaluate("() => document.querySelector('.log').dispatchEvent(new Event('pointerdown'))")
        page.evaluate("k => { const p = document.querySelector('.log'); p.scrollTop = p.scrollHeight * k / 20; }", share)
        page.wait_for_selector(".log .l[data-n]")
    page.wait_for_function("() => document.querySelectorAll('.log .l').length && !document.querySelector('.log .l.wait')", timeout=30_000)
    assert_small(page, session)


def test_a_link_opens_its_line_and_the_end_is_followed_while_it_grows(page: Any, row: Try) -> None:
    write(row, 1, 300_000)
    open_page(page, row, "#L123456")
    wait_for_line(page, "line 123456 of the load")
    assert page.get_attribute(".log .l.at", "data-n") == "123456"
    page.keyboard.press("f")
    wait_for_line(page, "line 300000 of the load")
    write(row, 300_001, 300_500)
    wait_for_line(page, "line 300500 of the load")
    page.evaluate("sockets.forEach(s => s.close())")
    write(row, 300_501, 400_000)  # too much to be streamed: the page asks for the end
    wait_for_line(page, "line 400000 of the load")
    Try.objects.filter(pk=row.pk).update(log_ended=True)
    page.wait_for_function("() => document.querySelector('.tail').textContent.includes('Complete: 400,000 lines.')", timeout=15_000)
    assert page.evaluate("window.tracksideLog.kept") <= KEPT


def test_groups_tracebacks_and_wrapping_work_on_windows(page: Any, row: Try) -> None:
    said = ["before", "::group::Loading", *(f"part {k}" for k in range(500)), "::endgroup::", "w" * 1000, "after"]
    text = b"".join(line("info", t) for t in said)
    logs.append(row.pk, 0, text)
    Try.objects.filter(pk=row.pk).update(log_ended=True)
    open_page(page, row)
    wait_for_line(page, "after")
    page.wait_for_function("() => document.querySelectorAll('.log .l').length === 4")
    page.click(".foldbtn")
    wait_for_line(page, "part 3")
    page.fill("[data-search]", "part 499")
    wait_for_line(page, "part 499")
    page.click(".log .l[data-n='502']")
    page.keyboard.press("w")
    page.keyboard.press("End")
    wait_for_line(page, "after")
    heights = page.evaluate("[...document.querySelectorAll('.log .l')].map(l => l.offsetHeight)")
    assert max(heights) > 36 and all(h % 18 == 0 for h in heights)
    page.click("[aria-label='Regular expression']")
    page.fill("[data-search]", "^after$|^before$")
    page.wait_for_function("() => document.querySelector('#qn').textContent === '1 / 2'")
