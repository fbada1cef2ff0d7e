"""What a log shows: text, exceptions in short with the whole traceback folded, groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.runs import logs
from apps.runs.models import TaskInstance, Try
from apps.ui import loglines, logview
from apps.ui.tests import factories

CASES = json.loads((Path(__file__).parent / "log_cases.json").read_text())
FAILED = {**CASES[-1]["event"], "level": "error", "t": "2026-11-18T14:10:51.118000Z"}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_a_record_becomes_the_lines_that_both_viewers_show(case: dict[str, Any]) -> None:
    assert [list(piece) for piece in loglines.expand(case["event"])] == case["lines"]


@pytest.mark.parametrize("detail", [[], [1, None], {}, 5, [{}], [{"text": None, "exc_notes": None}]])
def test_odd_details_break_nothing(detail: Any) -> None:
    assert loglines.expand({"event": "x", "error_detail": detail})[0] == ("x", "")


def say(row: Try, *events: dict[str, Any]) -> None:
    logs.append(row.pk, 0, b"".join(json.dumps(e).encode() + b"\n" for e in events))
    Try.objects.filter(pk=row.pk).update(log_ended=True)
    row.refresh_from_db()


@pytest.fixture
def row(db: None, settings: Any, tmp_path: Path) -> Try:
    settings.LOGS_FOLDER = tmp_path
    run = factories.run(factories.dag(), state="failed", states={"load": "failed"})
    ti = TaskInstance.objects.get(run=run, task_id="load")
    return Try.objects.get_or_create(pk=ti.try_id, defaults={"ti": ti, "number": 1, "state": "failed"})[0]


def test_the_page_shows_the_exception_below_its_record_without_scripts(row: Try, client: Client) -> None:
    say(row, {"event": "::group::Quiet"}, {"event": "inside"}, {"event": "::endgroup::"}, FAILED)
    client.force_login(factories.user())
    page = client.get(reverse("task", args=["orders", row.ti.run.run_id, "load"])).content.decode()
    log = page[page.index('class="log static') : page.index('class="tail"')]
    assert log.count("<details") == log.count("</details>") == 2
    assert "RuntimeError: no orders" in page and 'id="L4"' in page and "Complete: 4 lines." in page
    assert page.index("caused by KeyError") < page.index("Whole traceback, 14 lines")


def test_a_group_is_folded_when_it_ended_well_and_open_with_an_error_or_without_an_end(row: Try) -> None:
    group, end, bad = {"event": "::group::G"}, {"event": "::endgroup::"}, {"event": "x", "level": "error"}
    say(row, group, {"event": "a"}, end, group, bad, end, group, {"event": "b"}, end, end, group, {"event": "c"})
    shown = logview.first(row)["lines"]
    assert [line["open"] for line in shown if line["opens"]] == [False, True, False, True]
    assert sum(line["closes"] for line in shown) == 4


def test_the_drawer_shows_exceptions_in_short_and_the_download_whole(row: Try) -> None:
    say(row, {"event": "before"}, FAILED)
    tail = [line["text"] for line in logview.last(row, 30)["lines"]]
    assert "RuntimeError: no orders" in tail and not any("_attempt" in line for line in tail)
    whole = "".join(logview.as_text(row))
    assert "in _attempt" in whole and whole.rstrip().endswith("ask Ann")
