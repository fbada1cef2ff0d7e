"""Names, reasons and values may be words without an end: no page becomes wider than a phone because of them.

The addresses are those that differ most in layout; `tests/support/hostile.py` puts the word wherever people may write.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apps.runs.models import TaskInstance
from apps.ui import assets
from apps.ui.tests import factories
from tests.support import hostile

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(assets.island("pages") is None, reason="the front end is not built: python frontend/build.py"),
]
WORD = "aWordThatDoesNotEnd" * 10
VIEWS = ["home", "dags", "tasks", "assets", "asset", "dag", "dag_code", "run", "task", "audit", "data_status"]
LONG_IDS = ["dag_graph", "run", "task"]
WIDEST = """() => document.documentElement.scrollWidth <= innerWidth ? null : `${document.documentElement.scrollWidth} px: ` +
  [...document.querySelectorAll("main *, header *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
  .map(e => `${e.parentElement.className} > ${e.tagName}.${e.getAttribute("class") ?? ""}`).slice(0, 12).join("; ")"""


@pytest.mark.timeout(120)
def test_no_page_becomes_wider_than_a_phone_by_long_words(page: Any, tmp_path: Path, settings: Any) -> None:
    settings.LOGS_FOLDER = tmp_path
    known = hostile.world(WORD, tmp_path)
    name = "d" + "ag" * 60
    run = factories.run(factories.dag(name, ["t" + "ask" * 40, "second"]), state="failed", states={"second": "failed"})
    task = TaskInstance.objects.get(run=run, task_id__startswith="task")
    named = {"dag_id": name, "run_id": run.run_id, "run_pk": run.pk, "task_id": task.task_id}
    ordinary, long = hostile.addresses(known), hostile.addresses(named)
    addresses = {view: ordinary[view] for view in VIEWS} | {f"long {view}": long[view] for view in LONG_IDS}
    addresses["logs that hold it"] = "/logs?q=aWordThatDoesNotEnd"
    page.set_viewport_size({"width": 390, "height": 844})
    wide: dict[str, str] = {}
    for view, address in addresses.items():
        answer = page.goto(address)
        assert answer.status == 200, view
        if too_wide := page.evaluate(WIDEST):
            wide[view] = too_wide
    assert wide == {}, "\n".join(f"{k} {v}" for k, v in wide.items())


def test_a_reason_that_is_one_long_word_stays_on_a_phone(page: Any) -> None:
    run = factories.run(factories.dag(), state="failed", states={"load": "failed"})
    long = "/data/incoming/" + "a_folder_whose_name_does_not_end/" * 6
    TaskInstance.objects.filter(run=run, task_id="load").update(reason=long)
    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("/", "/dags", f"/dags/orders/runs/{run.run_id}", f"/dags/orders/runs/{run.run_id}/tasks/load"):
        page.goto(path)
        assert long in page.inner_text("main").replace("\n", "") or path == "/dags", path
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, path
