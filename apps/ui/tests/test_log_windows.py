"""Windows of a log: what it holds, by number and by place, in views, searched, while it grows; for pages and REST."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.access.tests.resthelp import Own
from apps.runs import logs
from apps.runs.models import TaskInstance, Try
from apps.ui import logindex, logview, logwindow
from apps.ui.logwindow import View
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db
ERRORS = View(frozenset({"error"}))


@pytest.fixture
def row(db: None, settings: Any, tmp_path: Path, monkeypatch: Any) -> Try:
    settings.LOGS_FOLDER = tmp_path
    monkeypatch.setattr(logindex, "_cache", type(logindex._cache)())
    run = factories.run(factories.dag(), state="failed", states={"load": "failed"})
    ti = TaskInstance.objects.get(run=run, task_id="load")
    return factories.a_try(ti, state="failed", log_ended=True)


def say(row: Try, *events: dict[str, Any] | str) -> None:
    raw = b"".join((e if isinstance(e, str) else json.dumps(e)).encode() + b"\n" for e in events)
    logs.append(row.pk, logs.size_of(row.pk), raw)


def many(row: Try, count: int, start: int = 0) -> None:
    """Every tenth is an error said by stderr, every third of the rest is debug."""
    say(row, *(
        {"event": f"record {k}", "src": "log", "level": "debug" if k % 3 == 0 else "info"}
        | ({"level": "error", "src": "stderr"} if k % 10 == 0 else {})
        for k in range(start + 1, start + count + 1)
    ))  # fmt: skip


def test_the_index_tells_what_a_log_holds_and_where_its_first_error_is(row: Try) -> None:
    many(row, 1000)
    told = logwindow.about(row)
    assert (told["records"], told["shown"], told["complete"]) == (1000, 1000, True)
    assert told["levels"] == {"debug": 300, "info": 600, "warning": 0, "error": 100}
    assert told["sources"] == {"log": 900, "stdout": 0, "stderr": 100, "system": 0}
    assert told["first_error"] == [10, 9] and logwindow.about(row, ERRORS)["first_error"] == [10, 0]
    assert logwindow.about(row, View(frozenset({"info"})))["first_error"] is None


@pytest.mark.parametrize(
    "view", [View(), ERRORS, View(frozenset({"info", "error"})), View(sources=frozenset({"log"})), View(frozenset({"warning"}))]
)
def test_windows_put_together_are_the_view_and_every_record_is_found_by_its_number(row: Try, view: View) -> None:
    many(row, 2000)
    whole = [k for k in range(1, 2001) if view.table()[_code(k)]]
    got: list[int] = []
    while True:
        part = logwindow.window(row, view, at=len(got), count=170)
        assert [line["event"] for line in part["lines"]] == [f"record {n}" for n in part["numbers"]]
        if not part["numbers"]:
            break
        got += part["numbers"]
    assert got == whole and part["shown"] == len(whole)
    for line in (1, 10, 257, 1023, 1999):
        part = logwindow.window(row, view, line=line, count=1)
        assert part["numbers"] == [n for n in whole if n >= line][:1]
        assert part["at"] == sum(n < line for n in whole)


def _code(k: int) -> int:
    return 3 | 2 << 2 if k % 10 == 0 else 0 if k % 3 == 0 else 1


def test_a_growing_log_is_read_on_where_the_index_ended(row: Try, monkeypatch: Any) -> None:
    many(row, 700)
    assert logwindow.about(row)["records"] == 700
    read: list[int] = []
    plain = logindex.parsed
    monkeypatch.setattr(logindex, "parsed", lambda lines: read.append(len(lines)) or plain(lines))
    many(row, 30, start=700)
    logs.append(row.pk, logs.size_of(row.pk), b'{"event": "half a li')
    assert (logwindow.about(row)["records"], sum(read)) == (730, 30)
    assert not logwindow.about(row)["complete"]  # the rest of the last line is missing
    logs.append(row.pk, logs.size_of(row.pk), b'ne"}\n')
    assert logwindow.window(row, line=731)["lines"] == [{"event": "half a line"}]


def test_a_large_index_lies_beside_the_log_serves_another_process_and_goes_with_it(row: Try, monkeypatch: Any) -> None:
    monkeypatch.setattr(logindex, "KEEP_FROM", 20)
    many(row, 600)
    say(row, {"event": "::group::g"})
    before = logwindow.about(row)
    logindex._cache.clear()
    say(row, {"event": "after"})
    read: list[int] = []
    plain = logindex.parsed
    monkeypatch.setattr(logindex, "parsed", lambda lines: read.append(len(lines)) or plain(lines))
    after = logwindow.about(row)
    assert (after["records"], after["groups"], sum(read)) == (before["records"] + 1, before["groups"], 1)
    assert logwindow.window(row, at=599, count=1)["lines"][0]["event"] == "record 600"
    logs.index_path_of(logs.path(row)).write_bytes(b"trackside log index 1\nnonsense")
    logindex._cache.clear()
    assert logwindow.about(row)["records"] == 602  # a broken one is made again
    logs.delete([row.pk])
    assert list(logs.path(row).parent.iterdir()) == []


def test_groups_are_told_by_number_and_by_place_in_the_view(row: Try) -> None:
    head, end, bad, info = {"event": "::group::G"}, {"event": "::endgroup::"}, {"event": "x", "level": "error"}, {"event": "y"}
    say(row, info, head, info, end, head, head, bad, end, info, end, head, info)
    assert logwindow.about(row)["groups"] == [[2, 1, 3, 0], [5, 3, 7, 1], [6, 4, 6, 1], [11, 7, None, 0]]
    assert logwindow.about(row)["shown"] == 9  # ends of groups are no lines
    assert logwindow.about(row, ERRORS)["groups"] == [[2, -1, 0, 0], [5, -1, 1, 1], [6, -1, 1, 1], [11, -1, None, 0]]


def test_lines_that_are_no_records_and_very_long_ones_keep_their_numbers(row: Try) -> None:
    say(row, "not json", {"event": "z" * 300_000}, '"text"', "", {"event": "last", "level": 5})
    part = logwindow.window(row)
    assert part["numbers"] == [1, 2, 3, 4] and part["lines"][0]["event"] == "not json" and part["lines"][3]["event"] == "last"
    assert len(part["lines"][1]["event"]) < 11_000 and "290000 more characters" in part["lines"][1]["event"]
    assert sum(len(piece) for piece in logview.as_text(row)) > 300_000  # the download has all of it


def test_a_window_ends_before_it_is_too_large(row: Try) -> None:
    say(row, *({"event": "w" * 300_000} for _ in range(8)))
    part = logwindow.window(row, count=200)
    assert part["numbers"] == [1, 2, 3] and logwindow.window(row, at=3)["numbers"][0] == 4


TRACEBACK = '  File "/x/y.py", line 1, in _deep\n    z()\nKeyError'
SEARCHED = (
    {"event": "Loading ORDERS"},
    {"event": 'a "quoted" word\nand orders below'},
    {"event": "col\x1b[31mour\x1b[0m", "level": "error"},
    {"event": "Größe"},
    {"event": "broke", "level": "error", "error_detail": [{"exc_type": "KeyError", "exc_value": "orders", "text": TRACEBACK}]},
)


@pytest.mark.parametrize(
    ("text", "regex", "found"),
    [
        ("orders", False, [1, 2, 5]), ('"quoted"', False, [2]), ("colour", False, [3]), ("GRÖSSE", False, []), ("größ", False, [4]),
        ("_deep", False, [5]), ("and orders", False, [2]), ("error_detail", False, []), ("level", False, []), (";", False, []),
        (r"^a .*word$", True, [2]), (r"ORD.RS", True, [1, 2, 5]),
    ],
)  # fmt: skip
def test_searching_finds_what_people_see_whatever_its_case(row: Try, text: str, regex: bool, found: list[int]) -> None:
    say(row, *SEARCHED)
    told = logwindow.search(row, text, regex=regex)
    assert ([n for n, _ in told["hits"]], told["next"]) == (found, None)


def test_a_search_goes_on_where_it_stopped_and_knows_the_place_in_the_view(row: Try, monkeypatch: Any) -> None:
    many(row, 3000)
    hits, after, calls = [], 0, 0
    while after is not None:
        told = logwindow.search(row, "record 1", ERRORS, after=after, limit=7)
        hits, after, calls = hits + told["hits"], told["next"], calls + 1
    errors = list(range(10, 3001, 10))
    assert [n for n, _ in hits] == [n for n in errors if str(n).startswith("1")] and calls > 5
    assert all(errors[rank] == n for n, rank in hits)
    monkeypatch.setattr(logindex, "CHUNK", 1000)
    told = logwindow.search(row, "record 3000", seconds=0)
    assert told["hits"] == [] and 0 < told["next"] < 3000  # out of time: it says where to go on
    assert logwindow.errors(row, after=10)["hits"] == [[20, 19]]


@pytest.mark.parametrize("bad", ["(", "a(?=b)", r"(a)\1"])
def test_a_pattern_that_cannot_be_run_safely_is_refused_with_its_reason(row: Try, client: Client, bad: str) -> None:
    say(row, *SEARCHED)
    client.force_login(factories.user())
    answer = client.get(reverse("log_search", args=[row.pk]), {"q": bad, "regex": "1"})
    assert answer.status_code == 422 and "Not a regular expression" in answer.json()["detail"]


def test_the_viewer_reads_windows_with_few_statements_and_only_who_may_sees_them(row: Try, client: Client) -> None:
    many(row, 900)
    names = ("log_about", "log_lines", "log_search", "log_text")
    assert [client.get(reverse(name, args=[row.pk])).status_code for name in names] == [302] * 4
    client.force_login(factories.user())
    with CaptureQueriesContext(connection) as queries:
        told = client.get(reverse("log_lines", args=[row.pk]), {"at": "880", "count": "50", "level": ["error", "info", "debug"]}).json()
    assert told["numbers"] == list(range(881, 901)) and len(queries) <= 4
    assert client.get(reverse("log_search", args=[row.pk]), {"errors": "1", "after": "800"}).json()["hits"] == [[810, 809]]
    assert client.get(reverse("log_search", args=[row.pk])).json()["hits"] == []
    assert client.get(reverse("log_lines", args=[row.pk]), {"line": "9" * 17}).json()["numbers"] == []
    assert client.get(reverse("log_about", args=["00000000-0000-0000-0000-000000000000"])).status_code == 404


def test_the_drawer_reads_only_the_end(row: Try, monkeypatch: Any) -> None:
    many(row, 2000)
    logwindow.about(row)
    monkeypatch.setattr(logs, "read", None)
    assert [(line["n"], line["text"]) for line in logview.last(row, 3)["lines"]] == [(n, f"record {n}") for n in (1998, 1999, 2000)]


def test_rest_reads_a_log_by_lines_tells_what_it_holds_and_searches(row: Try) -> None:
    many(row, 500)
    api, path = Own("Viewer"), f"/dags/orders/runs/{row.ti.run.run_id}/tasks/load/log"
    status, part = api.get(path, line=400, count=3)
    assert (status, part["numbers"], part["lines"][0]["event"]) == (200, [400, 401, 402], "record 400")
    assert api.get(path, line=401, count=2, level="error")[1]["numbers"] == [410, 420]
    assert api.get(f"{path}/about", source="stderr")[1]["shown"] == 50
    assert api.get(f"{path}/search", q="RECORD 5", level="error")[1]["hits"] == [[50, 4], [500, 49]]
    assert api.get(f"{path}/search", q="record (7|8)$", regex=True)[1]["hits"] == [[7, 6], [8, 7]]
    assert [api.get(f"{path}/search", **wrong)[0] for wrong in ({}, {"q": "("} | {"regex": True}, {"q": "x", "limit": 0})] == [
        422,
        400,
        422,
    ]
    assert api.get(path, line=0)[0] == 422 and api.get(path, level="error")[0] == 400 and api.get(path, line=1, level="loud")[0] == 422
