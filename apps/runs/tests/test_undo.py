"""Taking back what a person did: exactly what was there before, unless something has started from it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from apps.dags import catalogue
from apps.dags.models import Dag
from apps.runs.actions import clearing, marking, undo
from apps.runs.errors import Conflict, NotFound
from apps.runs.models import Event, Run, TaskInstance, Try, Undo
from apps.runs.tests import support
from apps.runs.tests.support import ACTOR, Worker, woken  # noqa: F401

pytestmark = pytest.mark.django_db
NOT_COMPARED = {"updated_at", "advance_at"}


def ledger(run: Run) -> list[dict[str, Any]]:
    """Everything the ledger says about a run and its task instances."""
    rows = list(Run.objects.filter(pk=run.pk).values()) + list(TaskInstance.objects.filter(run=run).order_by("pk").values())
    return [{k: v for k, v in row.items() if k not in NOT_COMPARED} for row in rows]


@pytest.fixture
def failed() -> Run:
    """a → b → c, where b failed."""
    support.dag(support.chain("a", "b", "c"))
    run = support.run("orders", day=1)
    Worker().work(lambda o: {"outcome": "failed"} if o["task_id"] == "b" else {})
    assert support.state(run) == "failed"
    return run


def clear(run: Run, *task_ids: str) -> Any:
    request = clearing.ClearRequest("orders", run_pks=[run.pk], task_ids=list(task_ids) or None)
    found = clearing.preview(request)
    return undo.remembering(lambda: clearing.clear(request, actor=ACTOR), [run.pk], found, "Clear 1 task", ACTOR)[1]


def mark(run: Run, task_id: str, state: str) -> Any:
    request = marking.MarkRequest(run=run, task_ids=[task_id], state=state)
    return undo.remembering(lambda: marking.mark(request, actor=ACTOR), [run.pk], marking.preview(request), "Mark b", ACTOR)[1]


def test_a_clear_that_only_queued_things_leaves_no_trace_when_undone(failed: Run) -> None:
    before = ledger(failed)
    kept = clear(failed)
    support.tick()
    assert support.state(failed) == "running" and Try.objects.filter(state="queued").exists()
    assert undo.undo(kept, actor=ACTOR) == "Undone: Clear 1 task."
    assert ledger(failed) == before
    assert not Try.objects.filter(state="queued").exists()
    assert Event.objects.filter(verb="undo", kind="task").count() == 3  # success, failed, upstream_failed: one row each


def test_what_was_undone_can_be_cleared_again_and_runs(failed: Run) -> None:
    undo.undo(clear(failed), actor=ACTOR)
    clear(failed, "b", "c")
    support.tick()
    Worker().work(lambda o: {})
    assert support.state(failed) == "success"


def test_a_mark_is_undone_with_what_the_planner_made_of_it(failed: Run) -> None:
    TaskInstance.objects.filter(run=failed, task_id="c").delete()
    before = ledger(failed)
    kept = mark(failed, "b", "success")
    support.tick()
    assert support.state(failed) != "failed" or ledger(failed) != before
    undo.undo(kept, actor=ACTOR)
    assert [r for r in ledger(failed) if r.get("task_id") != "c"] == before


def test_nothing_is_undone_once_a_task_has_started(failed: Run) -> None:
    kept = clear(failed)
    support.tick()
    Worker().work(lambda o: {})
    before = ledger(failed)
    with pytest.raises(Conflict, match="a has started since"):
        undo.undo(kept, actor=ACTOR)
    assert ledger(failed) == before


def test_what_was_stopped_is_not_offered_to_be_undone() -> None:
    support.dag(support.chain("a", "b"))
    run = support.run("orders", day=1)
    support.tick()
    assert TaskInstance.objects.get(run=run, task_id="a").state == "queued"
    assert mark(run, "a", "failed") is None


def test_somebody_elses_later_action_is_not_overwritten(failed: Run) -> None:
    kept = clear(failed, "c")
    marking.mark(marking.MarkRequest(run=failed, task_ids=["a"], state="failed"), actor=ACTOR)
    with pytest.raises(Conflict, match="has changed this run since"):
        undo.undo(kept, actor=ACTOR)


def test_undo_works_once_and_for_ten_minutes(failed: Run) -> None:
    kept = clear(failed)
    undo.undo(kept, actor=ACTOR)
    with pytest.raises(Conflict, match="already"):
        undo.undo(kept, actor=ACTOR)
    late = clear(failed)
    Undo.objects.filter(pk=late).update(at=Undo.objects.get(pk=late).at - timedelta(minutes=11))
    with pytest.raises(Conflict, match="10 minutes"):
        undo.undo(late, actor=ACTOR)
    Undo.objects.all().delete()
    with pytest.raises(NotFound):
        undo.undo(late, actor=ACTOR)


def test_a_pause_is_undone() -> None:
    support.dag(support.chain("a"))
    kept = undo.remember_pause(catalogue.set_paused(["orders"], True, actor=ACTOR), True, actor=ACTOR)
    assert undo.undo(kept, actor=ACTOR) == "Undone: orders runs on schedule again."
    assert not Dag.objects.get(pk="orders").is_paused


def test_every_column_of_a_run_and_an_instance_is_put_back_or_known_to_stay() -> None:
    """A new column must be decided on: does an action change it?"""
    from apps.runs.transitions import people

    stay = {
        "runs_taskinstance": {
            "id", "run_id", "dag_id", "task_id", "updated_at", "hostname", "unixname", "pid", "rendered_fields", "task_display_name",
        },
        "runs_run": {
            "id", "dag_id", "run_id", "run_type",
            "logical_date", "data_interval_start", "data_interval_end", "run_after", "updated_at", "conf",
            "triggered_by", "triggering_user_name", "bundle_version", "partition_key", "partition_date", "backfill_id", "backfill_order",
            "expanded", "advance_at", "troubles",
        },
    }  # fmt: skip
    back = {"runs_taskinstance": set(people.BACK), "runs_run": set(people.RUN_BACK)}
    with connection.cursor() as cursor:
        for table, columns in back.items():
            cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", [table])
            assert {r[0] for r in cursor.fetchall()} == columns | stay[table]
