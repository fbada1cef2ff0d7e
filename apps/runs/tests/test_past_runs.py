"""Which run is the one before, and what a task needs of it (rows 1.174 and 2.032 to 2.037, as Airflow 3.3.2 decides)."""

from __future__ import annotations

from typing import Any

import pytest

from apps.runs.models import TaskInstance
from apps.runs.tests.support import Worker, chain, dag, later, new_version, reason, run, state, states, task, tick
from apps.runs.tests.support import woken as woken
from trackside.core.spec import DagSpec

pytestmark = pytest.mark.django_db(transaction=True)


def look() -> None:
    later(seconds=11)
    tick()


@pytest.mark.parametrize(("catchup", "waits"), [(False, True), (True, False)])
def test_a_manual_run_is_a_past_only_without_catchup(catchup: bool, waits: bool) -> None:
    dag(chain("a", depends_on_past=True), catchup=catchup, start_date="2025-01-01T00:00:00+00:00")
    manual = run("orders", day=1)
    scheduled = run("orders", day=2, run_type="scheduled")
    assert states(manual) == {"a": "queued"}
    assert (states(scheduled)["a"] == "none") is waits
    assert (reason(scheduled, "a") == "past_run") is waits


def test_the_past_is_the_run_before_by_logical_date_whenever_it_was_made() -> None:
    dag(chain("a", depends_on_past=True))
    third, first = run("orders", day=3), run("orders", day=1)
    second = run("orders", day=2)
    assert [states(r)["a"] for r in (first, second, third)] == ["queued", "none", "queued"]


def test_runs_without_a_logical_date_have_no_past_and_are_none() -> None:
    dag(chain("a", depends_on_past=True))
    Worker().do(run("orders", day=1), "a", "failed")
    assert states(run("orders")) == {"a": "queued"}


def test_all_indexes_of_the_past_count_and_skipped_ones_are_good() -> None:
    dag([task("a", depends_on_past=True, mapped=True, expand={"kind": "dict", "value": {"x": [1, 2]}})])
    first, second = run("orders", day=1), run("orders", day=2)
    assert states(first) == {"a[0]": "queued", "a[1]": "queued"}
    worker = Worker()
    worker.do(first, "a", "skipped", map_index=0)
    worker.do(first, "a", "failed", map_index=1)
    look()
    assert set(states(second).values()) == {"none"}
    TaskInstance.objects.filter(run=first, map_index=1).update(state="success")
    look()
    assert set(states(second).values()) == {"queued"}


@pytest.mark.parametrize(("ignored", "goes"), [(True, True), (False, False)])
def test_a_task_that_the_past_does_not_have_waits_unless_its_first_run_is_let_go(ignored: bool, goes: bool) -> None:
    row = dag(chain("a"))
    Worker().do(run("orders", day=1), "a")
    new = task("b", depends_on_past=True, ignore_first_depends_on_past=ignored)
    new_version(row, DagSpec(dag_id="orders", tasks=[task("a"), new], root_children=["a", "b"]), 2)
    second = run("orders", day=2)
    assert states(second) == {"a": "queued", "b": "queued" if goes else "none"}


def test_a_task_that_ran_once_before_is_not_on_its_first_run() -> None:
    """ignore_first_depends_on_past looks at all runs before, not at the last one only."""
    both = [task("a"), task("b", depends_on_past=True, ignore_first_depends_on_past=True)]
    row = dag(both)
    worker = Worker()
    first = run("orders", day=1)
    worker.do(first, "a")
    worker.do(first, "b")
    new_version(row, DagSpec(dag_id="orders", tasks=[task("a")], root_children=["a"]), 2)
    worker.do(run("orders", day=2), "a")
    new_version(row, DagSpec(dag_id="orders", tasks=both, root_children=["a", "b"]), 3)
    third = run("orders", day=3)
    assert states(third) == {"a": "queued", "b": "none"}


@pytest.mark.parametrize("catchup", [True, False])
def test_with_catchup_a_past_before_the_tasks_start_date_is_none(catchup: bool) -> None:
    fields: dict[str, Any] = {"depends_on_past": True, "ignore_first_depends_on_past": False, "start_date": "2026-01-02T00:00:00+00:00"}
    dag([task("a"), task("b", **fields)], catchup=catchup, start_date="2025-01-01T00:00:00+00:00")
    first, second = (run("orders", day=d, run_type="scheduled") for d in (1, 2))
    assert "b" not in states(first)
    assert states(second)["b"] == ("queued" if catchup else "none")


def test_a_skip_may_wait_for_the_past() -> None:
    last = task("a", depends_on_past=True, trigger_rule="one_success", wait_for_past_depends_before_skipping=True)
    dag([task("gate", "a"), last])
    first, second = (run("orders", day=d) for d in (1, 2))
    worker = Worker()
    worker.do(first, "gate")
    worker.take()
    worker.do(second, "gate", "skipped")
    assert states(second) == {"gate": "skipped", "a": "none"} and reason(second, "a") == "past_run"
    worker.do(first, "a")
    look()
    assert states(second)["a"] == "skipped" and state(second) == "success"


def test_what_follows_the_task_in_the_past_may_have_to_end_too() -> None:
    dag(chain("a", "b", "c", wait_for_downstream=True, depends_on_past=True))
    first, second = (run("orders", day=d) for d in (1, 2))
    worker = Worker()
    worker.do(first, "a")
    look()
    assert states(second)["a"] == "none"
    worker.do(first, "b")
    look()
    assert states(second)["a"] == "queued" and states(first)["c"] in ("queued", "running")
