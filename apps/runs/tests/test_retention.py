"""Old runs go while others run: what is kept, what goes with a run, and that nobody waits for it."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from apps.access.models import AuditEvent
from apps.runs import listening, logs, retention, sql
from apps.runs.metrics.counting import CountingScheduler
from apps.runs.models import Run, TaskInstance, Try, XCom
from apps.runs.tests import support
from apps.runs.tests.support import Worker, woken  # noqa: F401

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def log_store(settings: Any, tmp_path: Any) -> None:
    settings.LOGS_FOLDER = tmp_path


def aged(days: int, dag_id: str = "orders", *, finish: bool = True, **fields: Any) -> Run:
    """A run of this many days ago."""
    run = support.run(dag_id)
    if finish:
        Worker().work(lambda order: {"xcoms": []})
    then = sql.now() - timedelta(days=days)
    ended = {"end_date": then, "run_after": then} if finish else {"run_after": then, "queued_at": then}
    Run.objects.filter(pk=run.pk).update(**ended, **fields)
    run.refresh_from_db()
    return run


def left() -> set[int]:
    return set(Run.objects.values_list("pk", flat=True))


def test_runs_whose_time_is_over_go_with_all_that_hangs_on_them(django_capture_on_commit_callbacks: Any) -> None:
    support.dag(support.chain("a", "b"), "orders")
    old, young = aged(40), aged(3)
    one = Try.objects.filter(ti__run=old).first()
    assert one is not None
    logs.append(one.id, 0, b'{"event": "hello"}\n')
    XCom.objects.create(run=old, dag_id="orders", task_id="a", key="k", value="1")
    with django_capture_on_commit_callbacks(execute=True):
        done = retention.prune_once(30)
    assert (done.runs, done.task_instances, done.more) == (1, 2, False) and left() == {young.pk}
    assert not TaskInstance.objects.filter(run_id=old.pk).exists() and not Try.objects.filter(pk=one.pk).exists()
    assert not XCom.objects.exists()
    assert logs.size_of(one.id) == 0
    assert AuditEvent.objects.filter(action="prune_dag_runs").count() == 1


def test_a_run_in_progress_is_untouched_however_old_it_is() -> None:
    support.dag(support.chain("a", "b"), "orders")
    old = aged(50)
    running = aged(45, finish=False)
    aged(1)
    before = list(TaskInstance.objects.filter(run=running).order_by("id").values())
    retention.prune_once(30)
    assert running.pk in left() and old.pk not in left()
    assert list(TaskInstance.objects.filter(run=running).order_by("id").values()) == before
    Worker().work()
    assert support.state(running) == "success"


def test_each_dag_keeps_its_newest_run_and_the_one_its_next_interval_is_counted_from() -> None:
    support.dag(support.chain("a"), "orders")
    support.dag(support.chain("a"), "rare")
    oldest, scheduled, manual = aged(60), aged(50, run_type="scheduled"), aged(40)
    rare = aged(400, "rare")
    retention.prune_once(30)
    assert left() == {scheduled.pk, manual.pk, rare.pk} and oldest.pk not in left()


def test_the_next_interval_is_counted_from_the_latest_logical_date_not_from_the_run_that_was_made_last() -> None:
    support.dag(support.chain("a"), "orders")
    counted = aged(60, run_type="scheduled")
    interval = {"logical_date": counted.run_after, "data_interval_start": counted.run_after, "data_interval_end": counted.run_after}
    Run.objects.filter(pk=counted.pk).update(**interval)
    long_ago = {name: value - timedelta(days=300) for name, value in interval.items()}
    of_old_dates, by_asset = aged(50, run_type="backfill", **long_ago), aged(40, run_type="asset_triggered")
    before = listening.last_automated_interval("orders")
    retention.prune_once(30)
    assert before is not None and listening.last_automated_interval("orders") == before
    assert left() == {counted.pk, by_asset.pk} and of_old_dates.pk not in left()


def test_it_bites_small_pieces_and_says_that_there_is_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BITE", 4)
    support.dag(support.chain("a", "b"), "orders")
    for days in (90, 80, 70, 60, 50):
        aged(days)
    assert [(p.runs, p.more) for p in (retention.prune_once(30), retention.prune_once(30), retention.prune_once(30))] == [
        (2, True), (2, False), (0, False),
    ]  # fmt: skip


def test_nothing_goes_unless_a_retention_is_set(settings: Any) -> None:
    support.dag(support.chain("a"), "orders")
    aged(400)
    aged(300)
    scheduler = CountingScheduler()
    assert settings.RUN_RETENTION_DAYS == 0
    scheduler.step()
    assert len(left()) == 2
    settings.RUN_RETENTION_DAYS = 30
    scheduler.step()
    assert len(left()) == 1


def test_by_hand_it_can_be_counted_first() -> None:
    support.dag(support.chain("a", "b"), "orders")
    aged(40)
    aged(1)
    out = StringIO()
    call_command("db_prune", "--days", "30", "--dry-run", stdout=out)
    assert out.getvalue() == "1 runs with 2 task instances would go.\n" and len(left()) == 2
    call_command("db_prune", "--days", "30", stdout=out)
    assert len(left()) == 1
