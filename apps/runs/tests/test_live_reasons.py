"""A sentence that changes is told to open pages in the statement that writes it; one that stays the same is not."""

from __future__ import annotations

from typing import Any

import pytest

from apps.runs import sql, transitions
from apps.runs.models import Run, TaskInstance
from apps.runs.tests import support
from apps.runs.tests.support import woken  # noqa: F401
from trackside.core.reasons import Reason

pytestmark = pytest.mark.django_db


def told(kind: str) -> list[Any]:
    return [(e.run_id, [t[1] for t in e.payload.get("tis", [])], e.payload.get("state")) for e in support.events("explain", kind)]


def test_only_what_really_changed_is_told() -> None:
    support.dag(support.chain("a", "b", "c"))
    run = support.run("orders", day=1)
    before = len(told("task"))
    b, c = (TaskInstance.objects.get(run=run, task_id=t).pk for t in "bc")
    why: dict[int, Reason | None] = {b: Reason("pool", "3rd in line."), c: Reason("upstream", "Waits for b.")}
    assert transitions.explain(why, sql.now()) == 2
    assert told("task")[before:] == [(run.run_id, ["b", "c"], None)]
    assert transitions.explain(why, sql.now()) == 0
    assert len(told("task")) == before + 1
    assert transitions.explain({b: Reason("pool", "2nd in line."), c: why[c]}, sql.now()) == 1
    assert told("task")[-1] == (run.run_id, ["b"], None)


def test_a_run_tells_its_new_sentence_once() -> None:
    support.dag(support.chain("a"))
    run = support.run("orders", day=1)
    before = len(told("run"))
    for _ in range(2):
        transitions.planned_run(run.pk, sql.now(), Reason("stuck", "Nothing can go on."), None)
    assert told("run")[before:] == [(run.run_id, [], None)]
    assert Run.objects.get(pk=run.pk).reason == "Nothing can go on."


def test_a_queued_run_that_waits_for_a_place_tells_why() -> None:
    support.dag(support.chain("a"), max_active_runs=1)
    support.run("orders", day=1)
    second = support.run("orders", day=2)
    assert (second.run_id, [], None) in told("run")
