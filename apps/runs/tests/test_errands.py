"""Errands: who asks for them, who gets them, and what is left when their process dies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from apps.access.models import Variable
from apps.dags.models import Asset
from apps.runs import housekeeping, processes, sql
from apps.runs.actions import clearing, marking
from apps.runs.errands import callbacks, deadlines, desk, plugin_report
from apps.runs.models import Deadline, Errand, Process, Run
from apps.runs.tests import support
from apps.runs.tests.support import ACTOR, Worker, woken  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db
BOTH = ["on_failure_callback", "on_retry_callback"]
SOON = {"name": "soon", "reference": {"reference_type": "DagRunQueuedAtDeadline"}, "interval": 60.0,
        "callback": {"kind": "sync", "path": "m.f", "kwargs": {"a": 1}}}  # fmt: skip


@pytest.fixture(autouse=True)
def no_plugins() -> None:
    plugin_report.forget()


def listen(*events: str) -> None:
    plugin_report.write("mark", {**plugin_report.EMPTY, "listens": list(events)}, sql.now())


def asked() -> list[str]:
    return [e.title for e in Errand.objects.order_by("id")]


def runner() -> Process:
    return processes.register("dag_processor")


# --- who asks -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("own", "expected"), [(True, []), (False, ["on_retry_callback of a, try 1", "on_failure_callback of a, try 2"])])
def test_only_tries_that_did_not_run_their_callbacks_have_them_asked_for(own: bool, expected: list[str]) -> None:
    of = support.run(support.dag([support.task("a", retries=1, retry_delay=0.0, callbacks=BOTH)]))
    worker = Worker()
    for _ in range(2):
        worker.do(of, "a", "failed", error="gone", own_callbacks=own)
        support.tick()
    assert support.states(of) == {"a": "failed"}
    assert asked() == expected


def test_a_try_that_was_lost_has_its_retry_callback_asked_for_with_the_reason() -> None:
    of = support.run(support.dag([support.task("a", callbacks=BOTH)]))
    Worker().do(of, "a", "lost")
    (errand,) = Errand.objects.all()
    assert (errand.payload["callback"], errand.payload["state"], errand.ti) == ("on_retry_callback", "up_for_retry", support.ti(of, "a"))
    assert "lost" in errand.payload["error"] and errand.payload["try"]["try_number"] == 1


def test_a_task_without_callbacks_asks_for_nothing() -> None:
    of = support.run(support.dag([support.task("a")]))
    Worker().do(of, "a", "failed", error="gone")
    assert asked() == []


@pytest.mark.parametrize(("outcome", "reason"), [("success", "success"), ("failed_no_retry", "task_failure")])
def test_the_end_of_a_run_asks_for_its_callback_with_a_reason(outcome: str, reason: str) -> None:
    of = support.run(support.dag([support.task("a")], callbacks=["on_success_callback", "on_failure_callback"]))
    Worker().do(of, "a", outcome, own_callbacks=True, error="no")
    support.tick()
    (errand,) = Errand.objects.all()
    assert (errand.kind, errand.payload["reason"]) == ("dag_callback", reason)


def test_a_run_that_takes_too_long_says_so_to_its_callback() -> None:
    of = support.run(support.dag([support.task("a")], dagrun_timeout=5.0, callbacks=["on_failure_callback"]))
    Run.objects.filter(pk=of.pk).update(start_date=Now() - timedelta(seconds=6), advance_at=Now())
    support.tick()
    assert (support.state(of), Errand.objects.get().payload["reason"]) == ("failed", "timed_out")


def test_nothing_is_written_for_events_nobody_listens_to() -> None:
    listen("on_dag_run_failed")
    of = support.run(support.dag([support.task("a")]))
    Worker().do(of, "a")
    support.tick()
    assert asked() == []


def test_listeners_of_runs_and_marks_are_asked_for() -> None:
    listen("on_dag_run_running", "on_dag_run_success", "on_dag_run_failed")
    row = support.dag([support.task("a")])
    of = support.run(row)
    Worker().do(of, "a")
    support.tick()
    other = support.run(row, day=2)
    marking.mark_run(other, "failed", actor=ACTOR)
    assert asked().count("on_dag_run_success") == 1
    assert asked()[-1] == "on_dag_run_failed"


# --- who gets them --------------------------------------------------------------------------------------------------------
def _errand(**fields: Any) -> Errand:
    return Errand.objects.create(**{"kind": "plugins", "title": "t", **fields})


def test_an_errand_is_taken_once_and_its_end_is_noted_once() -> None:
    _errand()
    mine, other = runner(), runner()
    (taken,) = desk.take(mine.pk, 5)
    assert desk.take(other.pk, 5) == []
    desk.finish(taken.errand.pk, ok=True, result=3, output="said")
    desk.finish(taken.errand.pk, ok=False, error="late")
    errand = Errand.objects.get()
    assert (errand.status, errand.result, errand.output, errand.error) == ("success", 3, "said", None)
    assert desk.take(other.pk, 5) == []


def test_what_a_dead_runner_had_is_done_again_and_given_up_in_the_end() -> None:
    _errand()
    for _ in range(desk.MAX_ATTEMPTS):
        dying = runner()
        assert len(desk.take(dying.pk, 5)) == 1
        processes.end(dying.pk)
    assert desk.take(runner().pk, 5) == []
    errand = Errand.objects.get()
    assert errand.status == "failed" and "died 3 times" in (errand.error or "")


def test_errands_of_the_triggerer_are_not_taken_by_the_processor() -> None:
    _errand(runs_in="triggerer")
    assert desk.take(runner().pk, 5) == []
    assert len(desk.take(runner().pk, 5, runs_in="triggerer")) == 1


def test_a_callback_is_told_about_its_own_try_although_the_next_has_begun() -> None:
    of = support.run(support.dag([support.task("a", retries=1, retry_delay=0.0, callbacks=BOTH)]))
    worker = Worker()
    worker.do(of, "a", "failed", error="gone")
    support.tick()
    worker.take()
    (taken,) = desk.take(runner().pk, 5)
    assert taken.job["order"]["try_number"] == 1 and taken.job["error"] == "gone" and taken.job["order"]["token"] == ""
    assert taken.job["dag_file"] == "/dags/orders.py"
    status, body = desk.answer(taken.errand, "GET", "/runs/state", {})
    assert (status, body) == (200, {"state": "running"})
    assert desk.answer(taken.errand, "POST", "/xcoms", {})[0] == 403


def test_old_errands_are_forgotten() -> None:
    _errand(status="success", ended_at=sql.now() - timedelta(days=400))
    _errand()
    housekeeping.run_once()
    assert Errand.objects.count() == 1


# --- deadlines ------------------------------------------------------------------------------------------------------------
def _late(of: Run) -> None:
    Deadline.objects.filter(run=of).update(deadline_time=sql.now() - timedelta(seconds=1))


def test_a_missed_deadline_calls_once_and_stays_missed() -> None:
    of = support.run(support.dag([support.task("a")], deadlines=[SOON]))
    deadline = Deadline.objects.get()
    assert deadline.deadline_time == Run.objects.get(pk=of.pk).queued_at + timedelta(seconds=60)
    assert deadlines.run_once(sql.now()) == 0
    _late(of)
    assert (deadlines.run_once(sql.now()), deadlines.run_once(sql.now())) == (1, 0)
    errand = Errand.objects.get()
    assert (errand.kind, errand.payload["path"], errand.payload["kwargs"]) == ("function", "m.f", {"a": 1})
    assert errand.payload["context"]["deadline"]["alert_name"] == "soon"
    Worker().do(of, "a")
    support.tick()
    assert Deadline.objects.get().missed and support.state(of) == "success"


@pytest.mark.parametrize(("outcome", "left"), [("success", 0), ("failed_no_retry", 1)])
def test_success_in_time_ends_a_deadline_and_failure_does_not(outcome: str, left: int) -> None:
    of = support.run(support.dag([support.task("a")], deadlines=[SOON]))
    Worker().do(of, "a", outcome, error="no", own_callbacks=True)
    support.tick()
    assert Deadline.objects.count() == left


def test_clearing_a_run_counts_deadlines_of_the_queueing_anew() -> None:
    of = support.run(support.dag([support.task("a")], deadlines=[SOON]))
    Worker().do(of, "a", "failed_no_retry", error="no", own_callbacks=True)
    support.tick()
    _late(of)
    deadlines.run_once(sql.now())
    clearing.clear_run(of, actor=ACTOR)
    deadline = Deadline.objects.get()
    assert not deadline.missed and deadline.deadline_time > sql.now()


def test_references_and_intervals_that_give_no_moment_make_no_deadline() -> None:
    average = {"reference": {"reference_type": "AverageRuntimeDeadline", "max_runs": 2, "min_runs": 1}, "interval": 5.0, "callback": {}}
    at = {"reference_type": "FixedDatetimeDeadline", "datetime": "2030-01-01T00:00:00+00:00"}
    fixed = {"reference": at, "interval": {"variable": "span"}, "callback": {}}
    row = support.dag([support.task("a")], deadlines=[average, fixed])
    support.run(row)
    assert Deadline.objects.count() == 0
    Run.objects.update(state="success", start_date=Now() - timedelta(seconds=10), end_date=Now())
    Variable.objects.create(key="span", value="30")
    support.run(row, day=2)
    found = {d.reference: d.deadline_time for d in Deadline.objects.all()}
    assert found["FixedDatetimeDeadline"] == datetime(2030, 1, 1, 0, 0, 30, tzinfo=UTC)
    assert timedelta(seconds=10) < found["AverageRuntimeDeadline"] - sql.now() <= timedelta(seconds=15)


def test_the_usual_length_is_that_of_successful_runs_the_newest_first() -> None:
    average = {"reference": {"reference_type": "AverageRuntimeDeadline", "max_runs": 2, "min_runs": 2}, "interval": 0.0, "callback": {}}
    row = support.dag([support.task("a")], deadlines=[average])
    lengths = {1: ("success", 500), 2: ("success", 10), 3: ("failed", 900), 4: ("success", 30)}
    for day, (state, seconds) in lengths.items():
        made = support.run(row, day=day, begin=False)
        Run.objects.filter(pk=made.pk).update(state=state, start_date=Now() - timedelta(seconds=seconds), end_date=Now())
    Deadline.objects.all().delete()
    support.run(row, day=9, begin=False)
    found = Deadline.objects.get().deadline_time - sql.now()
    assert timedelta(seconds=10) < found <= timedelta(seconds=20)


def test_an_own_reference_is_an_errand_and_its_answer_a_deadline() -> None:
    own = {"reference": {"reference_type": "Own", "classpath": "m.Own"}, "interval": 10.0, "callback": {}, "name": "own"}
    support.run(support.dag([support.task("a")], deadlines=[own]))
    errand = Errand.objects.get()
    assert errand.kind == "deadline" and Deadline.objects.count() == 0
    desk.take(runner().pk, 1)
    desk.finish(errand.pk, ok=True, result="2030-01-01T00:00:00+00:00")
    assert Deadline.objects.get().deadline_time == datetime(2030, 1, 1, 0, 0, 10, tzinfo=UTC)


# --- per try --------------------------------------------------------------------------------------------------------------
def test_weight_and_pool_slots_follow_the_number_of_the_try() -> None:
    wishes = [{"priority_weight": 9}, {"priority_weight": 4, "pool_slots": 3}]
    of = support.run(support.dag([support.task("a", retries=2, retry_delay=0.0, by_try=wishes)]))
    worker = Worker()
    for _ in range(3):
        worker.do(of, "a", "failed", error="no", own_callbacks=True)
        support.tick()
    tries = support.tries(support.ti(of, "a"))
    assert [(t.snapshot["priority_weight"], t.snapshot["pool_slots"]) for t in tries] == [(9, 1), (4, 3), (4, 3)]


@pytest.mark.parametrize(("event", "expected"), [("on_asset_changed", ["on_asset_changed"]), ("on_dag_run_failed", [])])
def test_asset_news_reach_listeners_only_if_there_are_any(event: str, expected: list[str]) -> None:
    listen(event)
    asset = Asset.objects.create(name="a", uri="s3://a", group="asset")
    callbacks.asset_news([(1, (asset.pk, "{}", "orders", "t", "r", -1, None))], sql.now())
    assert asked() == expected
