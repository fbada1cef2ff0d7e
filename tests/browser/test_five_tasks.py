"""Five things a new user comes for, each within three interactions from home (a click, a choice, a text typed and entered)."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils.timezone import now

from apps.dags.models import Asset, AssetUse, Dag
from apps.runs import logs
from apps.runs.models import Run, TaskInstance
from apps.ui import assets
from apps.ui.tests import factories

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(assets.island("pages") is None, reason="the front end is not built: python frontend/build.py"),
]
MOST = 3


class Person:
    """Counts what a person does. Looking and waiting cost nothing."""

    def __init__(self, page: Any) -> None:
        self.page, self.did = page, 0
        page.goto("/")

    def click(self, selector: str) -> None:
        self.did += 1
        assert self.did <= MOST, f"the click on {selector} is one interaction too many"
        self.page.click(selector)

    def choose(self, selector: str, value: str) -> None:
        self.did += 1
        assert self.did <= MOST, f"the choice of {value} is one interaction too many"
        self.page.select_option(selector, value)

    def sees(self, selector: str) -> None:
        self.page.wait_for_selector(selector, timeout=20_000)


@pytest.fixture
def failed(transactional_db: None) -> Run:
    run = factories.run(factories.dag(), state="failed", states={"load": "failed", "check": "upstream_failed"})
    TaskInstance.objects.filter(run=run, task_id="load").update(reason="The warehouse refused the connection.")
    return run


def test_why_yesterdays_run_is_not_done(page: Any) -> None:
    dag = factories.dag()
    yesterday = factories.run(dag, state="running", at=now() - timedelta(days=1), states={"extract": "queued"})
    TaskInstance.objects.filter(run=yesterday, task_id="extract").update(reason="Pool etl is full, 3rd in line.")
    factories.run(dag, at=now())
    person = Person(page)
    person.click(f"ul.run a[href$='{yesterday.run_id}']")
    person.sees(".why:has-text('Pool etl is full, 3rd in line.')")


def test_the_first_error_of_the_newest_failure(page: Any, failed: Run, settings: Any, tmp_path: Path) -> None:
    settings.LOGS_FOLDER = tmp_path
    row = factories.a_try(TaskInstance.objects.get(run=failed, task_id="load"), state="failed", log_ended=True)
    said = [("info", f"step {n}") for n in range(300)] + [("error", "the disk is full"), ("error", "another one")]
    lines = [json.dumps({"t": "2026-11-18T14:10:51.118000Z", "level": level, "event": text, "src": "log"}) for level, text in said]
    logs.append(row.pk, 0, "".join(f"{line}\n" for line in lines).encode())
    person = Person(page)
    person.click(f".inc a[href$='{failed.run_id}/tasks/load']")
    person.sees(".log .l:has-text('the disk is full')")
    assert person.did == 1


def test_only_the_failed_part_of_a_run_runs_again(page: Any, failed: Run) -> None:
    person = Person(page)
    person.click(".inc >> text=Clear…")
    person.click("dialog #dlg-go:has-text('2 tasks')")
    person.sees(".toast:has-text('2 tasks will run again')")
    states = dict(TaskInstance.objects.filter(run=failed).values_list("task_id", "state"))
    assert states["extract"] == "success" and not {"failed", "upstream_failed"} & set(states.values())


def test_everything_with_a_tag_is_paused(page: Any) -> None:
    for name in ("one", "two", "three"):
        factories.dag(name).tags.create(name="even" if name == "two" else "odd")
    person = Person(page)
    person.click("nav >> text=DAGs")
    person.choose("[name=tag]", "odd")
    person.click("text=Pause all 2 of them")
    person.sees("text=2 DAGs paused")
    person.sees("main button:has-text('Undo'), .toast button:has-text('Undo')")
    assert set(Dag.objects.filter(is_paused=True).values_list("dag_id", flat=True)) == {"one", "three"}


def test_which_dag_writes_an_asset(page: Any) -> None:
    for name in ("orders.daily", "customers"):
        asset = Asset.objects.create(name=name, uri=f"s3://{name}", is_active=True)
        AssetUse.objects.create(dag=factories.dag(f"make_{name}"), kind="outlet", task_id="extract", asset=asset)
    person = Person(page)
    person.click("nav >> text=Assets")
    person.sees("tr:has-text('orders.daily') td:nth-child(2):has-text('make_orders.daily')")
    assert person.did == 1
