"""A scheduler's pass: due runs, the beginning of runs, limits, poison, time-outs, and a sentence for everything that waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.dags import catalogue
from apps.dags.models import Dag, DagVersion
from apps.runs import admission, brain, compiled, scheduler, sql
from apps.runs.actions import clearing, marking
from apps.runs.models import Run, TaskInstance
from apps.runs.tests import support
from apps.runs.tests.support import ACTOR, Worker, woken  # noqa: F401
from trackside.core.spec import DagSpec, TaskSpec
from trackside.core.timetables import from_schedule

pytestmark = pytest.mark.django_db

HOURLY = from_schedule("@hourly", create_cron_data_intervals=True).to_dict()


def _scheduled(dag_id: str = "orders", *, hours: int = 5, catchup: bool = True, **fields: Any) -> Dag:
    """An hourly DAG that began some hours ago and was just unpaused."""
    now = sql.now()
    start = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours)
    tasks = fields.pop("tasks", None) or support.chain("a")
    made = support.dag(tasks, dag_id, paused=True, timetable=HOURLY, start_date=start.isoformat(), catchup=catchup, **fields)
    catalogue.set_paused([dag_id], False, actor=ACTOR)
    made.refresh_from_db()
    return made


def _dates(dag_id: str = "orders") -> list[datetime]:
    return list(Run.objects.filter(dag_id=dag_id).order_by("logical_date").values_list("logical_date", flat=True))


# --- 1 runs that are due ----------------------------------------------------------------------------------------------------
def test_with_catchup_every_missed_interval_gets_its_run_once() -> None:
    _scheduled(hours=5)
    support.tick(3)
    hour = sql.now().replace(minute=0, second=0, microsecond=0)
    assert _dates() == [hour - timedelta(hours=h) for h in (5, 4, 3, 2, 1)]
    for made in Run.objects.all():
        assert (made.data_interval_start, made.data_interval_end) == (made.logical_date, made.logical_date + timedelta(hours=1))
        assert made.run_after == made.data_interval_end and made.run_id.startswith("scheduled__") and made.state == "running"
    assert Dag.objects.get().next_run_after == hour + timedelta(hours=1)


def test_without_catchup_only_the_newest_interval_runs() -> None:
    _scheduled(hours=50, catchup=False)
    support.tick(3)
    assert _dates() == [sql.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)]


def test_no_more_runs_are_created_than_may_be_active_and_the_dag_says_so() -> None:
    _scheduled(hours=5, max_active_runs=2)
    support.tick(3)
    assert Run.objects.count() == 2
    assert "max_active_runs is 2" in (Dag.objects.get().blocked_reason or "")
    worker = Worker()
    for expected in (4, 5, 5):
        worker.work()
        support.tick(2)
        assert Run.objects.count() == expected
    worker.work()
    support.tick()
    assert Dag.objects.get().blocked_reason is None and set(Run.objects.values_list("state", flat=True)) == {"success"}


def test_a_paused_dag_creates_nothing_until_it_is_unpaused() -> None:
    _scheduled(hours=3)
    catalogue.set_paused(["orders"], True, actor=ACTOR)
    support.tick(2)
    assert not Run.objects.exists()
    catalogue.set_paused(["orders"], False, actor=ACTOR)
    support.tick()
    assert Run.objects.count() == 3


@pytest.mark.parametrize("column", ["is_stale", "has_import_errors"])
def test_a_dag_whose_file_is_broken_or_gone_creates_nothing(column: str) -> None:
    _scheduled()
    Dag.objects.update(**{column: True})
    support.tick()
    assert not Run.objects.exists()


def test_an_interval_that_has_its_run_already_is_passed_over() -> None:
    made = _scheduled(hours=3)
    taken = made.next_logical_date
    assert taken is not None
    support.run("orders", begin=False, logical_date=taken, run_after=taken)
    support.tick(2)
    assert len(_dates()) == 3 and Run.objects.filter(run_type="manual").count() == 1


def test_a_dag_whose_timetable_is_poison_says_so_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    poisoned = _scheduled("poisoned")
    _scheduled("healthy", hours=1)
    Dag.objects.filter(pk=poisoned.pk).update(timetable={"kind": "cron", "expression": 17}, next_run_after=sql.now() - timedelta(hours=3))
    compiled_spec = poisoned.current_version
    assert compiled_spec is not None
    DagVersion.objects.filter(pk=compiled_spec.pk).update(spec={"dag_id": 5, "tasks": [{"no": "id"}]}, spec_hash="poison")
    support.tick(2)
    assert Run.objects.filter(dag_id="healthy").count() == 1
    assert not Run.objects.filter(dag_id="poisoned").exists()
    after = Dag.objects.get(pk="poisoned")
    assert after.blocked_reason and "no version that can be read" in after.blocked_reason
    assert after.next_run_after is not None and after.next_run_after < sql.now(), "its due moment stays what it is"
    assert scheduler.next_due(sql.now()) > sql.now(), "it is not tried again at once"


# --- 2 runs that may begin --------------------------------------------------------------------------------------------------
def test_runs_begin_oldest_first_under_max_active_runs() -> None:
    support.dag(support.chain("a"), max_active_runs=1)
    third, first, second = (support.run("orders", day=d, begin=False) for d in (3, 1, 2))
    worker = Worker()
    support.tick()
    assert [support.state(r) for r in (first, second, third)] == ["running", "queued", "queued"]
    assert support.reason(second) == "max_active_runs"
    for following in (second, third):
        worker.work()
        support.tick()
        assert support.state(following) == "running" and support.reason(following) is None


def test_a_run_of_a_paused_dag_waits_and_says_why() -> None:
    of = support.run(support.dag(support.chain("a"), paused=True))
    assert (support.state(of), support.reason(of)) == ("queued", "paused")
    catalogue.set_paused(["orders"], False, actor=ACTOR)
    support.tick()
    assert (support.state(of), support.reason(of)) == ("running", None)


def test_a_run_of_the_future_waits_for_its_moment() -> None:
    support.dag(support.chain("a"))
    at = sql.now() + timedelta(hours=1)
    of = support.run("orders", run_after=at)
    assert (support.state(of), support.reason(of)) == ("queued", "run_after")
    support.later(seconds=3601)
    support.tick()
    assert support.state(of) == "running"


def test_thousands_of_waiting_runs_of_one_dag_hold_up_no_other() -> None:
    hoarder = support.dag(support.chain("a"), "hoarder", max_active_runs=1)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    Run.objects.bulk_create(
        Run(dag=hoarder, run_id=f"r{i}", run_type="manual", run_after=long_ago, dag_version=hoarder.current_version) for i in range(2500)
    )
    support.tick()
    of = support.run(support.dag(support.chain("a"), "other"))
    assert support.state(of) == "running"
    support.tick()
    assert Run.objects.filter(dag=hoarder).exclude(state="queued").count() == 3, "one in each pass (they have no tasks, so they end in it)"
    assert set(Run.objects.filter(dag=hoarder, state="queued").values_list("reason_code", flat=True)) == {"max_active_runs"}


# --- 3 planning ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("poison", ["spec", "plan"])
def test_a_poison_run_is_pushed_away_and_the_others_go_on(poison: str, monkeypatch: pytest.MonkeyPatch) -> None:
    support.dag(support.chain("a"), "bad")
    bad = support.run("bad", begin=False)
    good = support.run(support.dag(support.chain("a"), "good"), begin=False)
    if poison == "spec":
        DagVersion.objects.filter(dag_id="bad").update(spec={"dag_id": "bad", "tasks": [{"no": "id"}]}, spec_hash="poison")
        compiled._cache.clear()
    else:
        real = brain.plan

        def plan(snapshot: Any, now: datetime) -> Any:
            return real(snapshot, now) if snapshot.dag.spec.dag_id == "good" else 1 / 0

        monkeypatch.setattr(brain, "plan", plan)
    waits = []
    for _ in range(4):
        support.tick()
        row = Run.objects.get(pk=bad.pk)
        assert (row.state, row.reason_code) == ("running", "trouble") and "tried again" in (row.reason or "")
        assert row.advance_at is not None
        waits.append((row.advance_at - sql.now()).total_seconds())
        support.later(seconds=waits[-1] + 0.1)
    assert row.troubles == 4 and waits == sorted(waits) and 13 < waits[-1] <= 15
    assert support.states(good) == {"a": "queued"}
    Worker().do(good, "a")
    assert support.state(good) == "success"


def test_a_poison_run_is_healed_by_the_next_good_version() -> None:
    made = support.dag(support.chain("a"))
    spec = made.current_version.spec  # type: ignore[union-attr]
    of = support.run("orders", begin=False)
    DagVersion.objects.update(spec={"tasks": 5}, spec_hash="poison")
    support.tick()
    assert support.reason(of) == "trouble"
    DagVersion.objects.update(spec=spec, spec_hash="healed")
    support.later(seconds=2)
    support.tick()
    assert support.states(of) == {"a": "queued"} and support.reason(of) is None and Run.objects.get().troubles == 0


def test_a_run_over_its_timeout_fails_and_skips_what_is_left() -> None:
    of = support.run(support.dag(support.chain("a", "b"), dagrun_timeout=30.0))
    support.later(seconds=31)
    support.tick()
    assert (support.state(of), support.reason(of)) == ("failed", "timed_out")
    assert support.states(of) == {"a": "skipped", "b": "skipped"} and support.reason(of, "b") == "timed_out"


def test_a_dag_is_paused_after_too_many_failures_in_a_row() -> None:
    support.dag(support.chain("a"), max_consecutive_failed_dag_runs=2)
    worker = Worker()
    for day, outcome in ((1, "failed"), (2, "success"), (3, "failed"), (4, "failed")):
        assert not Dag.objects.get().is_paused
        worker.do(support.run("orders", day=day), "a", outcome)
    assert Dag.objects.get().is_paused and "last 2 runs failed" in (Dag.objects.get().blocked_reason or "")
    waiting = support.run("orders", day=5)
    assert support.reason(waiting) == "paused"


def test_depends_on_past_hands_over_from_run_to_run(django_capture_on_commit_callbacks: Any) -> None:
    support.dag(support.chain("a", depends_on_past=True))
    runs = [support.run("orders", day=d) for d in (1, 2, 3)]
    assert [support.states(r)["a"] for r in runs] == ["queued", "none", "none"]
    assert support.reason(runs[1], "a") == "past_run" and support.reason(runs[2]) == "past_run"
    worker = Worker()
    for i, of in enumerate(runs):
        with django_capture_on_commit_callbacks(execute=True):
            worker.do(of, "a")
        support.tick()
        assert [support.states(r)["a"] for r in runs] == (["success"] * (i + 1) + ["queued"] + ["none"] * 2)[:3]
    assert [support.state(r) for r in runs] == ["success"] * 3


def test_a_failed_past_holds_the_next_run_until_somebody_decides(django_capture_on_commit_callbacks: Any) -> None:
    support.dag(support.chain("a", depends_on_past=True))
    first, second = (support.run("orders", day=d) for d in (1, 2))
    worker = Worker()
    worker.do(first, "a", "failed")
    support.later(seconds=11)
    support.tick()
    assert support.state(second) == "running" and "it is failed" in (support.ti(second, "a").reason or "")
    with django_capture_on_commit_callbacks(execute=True):
        marking.mark(marking.MarkRequest(first, ["a"], "success"), actor=ACTOR)
    support.later(seconds=11)
    support.tick()
    assert support.states(second) == {"a": "queued"}


def test_tasks_of_a_running_run_of_a_paused_dag_wait_and_say_why(django_capture_on_commit_callbacks: Any) -> None:
    of = support.run(support.dag(support.chain("a", "b")))
    order = Worker()
    order.take()
    catalogue.set_paused(["orders"], True, actor=ACTOR)
    order.work()
    support.tick()
    assert support.states(of) == {"a": "success", "b": "none"} and support.reason(of) == "paused"
    with django_capture_on_commit_callbacks(execute=True):
        catalogue.set_paused(["orders"], False, actor=ACTOR)
    support.tick()
    assert support.states(of)["b"] == "queued"


# --- 4 limits -------------------------------------------------------------------------------------------------------------------
def _queued() -> int:
    return TaskInstance.objects.filter(state__in=("queued", "running")).count()


def test_max_active_tasks_limits_a_run_and_every_waiting_task_says_so() -> None:
    of = support.run(support.dag([support.task(f"t{i}") for i in range(700)], max_active_tasks=3))
    assert _queued() == 3
    support.tick()
    waiting = TaskInstance.objects.filter(run=of, state="scheduled")
    assert waiting.count() == 697 and set(waiting.values_list("reason_code", flat=True)) == {"run_limit"}
    worker = Worker()
    for name in list(worker.take())[:2]:
        worker.do(of, name)
        assert _queued() == 3


def test_a_full_run_of_thousands_hides_nobody_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "BATCH", 10)
    monkeypatch.setattr(admission, "MAX_BATCHES", 3)
    support.run(support.dag([support.task(f"t{i}", priority_weight=9) for i in range(100)], "large", max_active_tasks=1))
    of = support.run(support.dag(support.chain("a"), "small"))
    assert support.states(of) == {"a": "queued"}


def test_pool_slots_are_counted_and_a_small_task_passes_a_large_one() -> None:
    support.pool("p", 3)
    tasks = [support.task("two", pool="p", pool_slots=2, priority_weight=9),
             support.task("large", pool="p", pool_slots=3, priority_weight=5),
             support.task("one", pool="p"), support.task("huge", pool="p", pool_slots=4), support.task("nowhere", pool="gone")]  # fmt: skip
    of = support.run(support.dag(tasks))
    support.tick()
    assert support.states(of) == {"two": "queued", "large": "scheduled", "one": "queued", "huge": "scheduled", "nowhere": "scheduled"}
    assert [support.reason(of, t) for t in ("large", "huge", "nowhere")] == ["pool_full", "pool_full", "pool_missing"]
    Worker().work()
    support.tick()
    assert support.states(of)["large"] == "success"
    support.pool("p", 4), support.pool("gone", 1)
    for _ in range(3):
        support.tick()
        Worker().work()
    assert support.state(of) == "success"


def test_a_task_limit_counts_over_all_runs_and_one_per_run_only_there() -> None:
    tasks = [support.task(f"m{i}") for i in range(2)]
    tasks[0].max_active_tis_per_dag, tasks[1].max_active_tis_per_dagrun = 1, 1
    support.dag(tasks)
    runs = [support.run("orders", day=d) for d in (1, 2)]
    assert [support.states(r) for r in runs] == [{"m0": "queued", "m1": "queued"}, {"m0": "scheduled", "m1": "queued"}]
    assert support.reason(runs[1], "m0") == "task_limit"


# --- words ------------------------------------------------------------------------------------------------------------------------
def test_everything_that_waits_says_why() -> None:
    """One of each: every unfinished run and task that does not run has a code and a sentence, and none says it twice."""
    support.pool("full", 1), support.pool("empty", 0)
    support.dag([support.task("up", "down"), support.task("down"), support.task("sensor"), support.task("again", retries=1),
                 support.task("p1", pool="full", priority_weight=9), support.task("p2", pool="full"), support.task("zero", pool="empty"),
                 support.task("nobody", queue="gpu"), support.task("here")], "waits")  # fmt: skip
    of = support.run("waits")
    worker = Worker(slots=8)
    worker.take()
    worker.do(of, "sensor", "rescheduled", reschedule_at=(sql.now() + timedelta(hours=1)).isoformat())
    worker.do(of, "again", "failed", error="x")
    worker.exchange()
    support.run(support.dag([support.task("x")], "paused_later"))
    catalogue.set_paused(["paused_later"], True, actor=ACTOR)
    TaskInstance.objects.filter(dag_id="paused_later").update(state="scheduled", reason_code=None, reason=None)
    support.run(support.dag([support.task("x")], "requeued"))
    requeued = Run.objects.get(dag_id="requeued")
    marking.mark_run(requeued, "queued", actor=ACTOR)
    Dag.objects.filter(pk="requeued").update(max_active_runs=0)
    TaskInstance.objects.filter(dag_id="requeued").update(state="scheduled", reason_code=None, reason=None)
    support.later(seconds=4)
    Run.objects.update(run_after=sql.now() - timedelta(seconds=1))
    worker.exchange()
    support.tick(2)
    found = {
        f"{ti.dag_id}.{ti.task_id}": ti.reason_code
        for ti in TaskInstance.objects.exclude(state__in=("success", "failed", "skipped", "running"))
    }
    assert found == {
        "waits.down": "upstream", "waits.sensor": "reschedule", "waits.again": "retry", "waits.p2": "pool_full",
        "waits.zero": "pool_too_small",
        "waits.nobody": "no_worker", "paused_later.x": "paused", "requeued.x": "run_waits",
    }  # fmt: skip
    assert all(len(ti.reason or "") > 20 and ti.reason_since for ti in TaskInstance.objects.filter(reason_code__isnull=False))
    assert support.reason(requeued) == "max_active_runs"


def test_reasons_go_when_the_task_goes() -> None:
    of, worker = support.run(support.dag(support.chain("a", "b"))), Worker()
    worker.take()
    assert support.reason(of, "a") is None and support.reason(of, "b") == "upstream"
    worker.work()
    assert support.reason(of, "b") is None and support.reason(of) is None


# --- a new version of the DAG ---------------------------------------------------------------------------------------------------
def test_an_open_run_follows_the_newest_version_of_its_dag() -> None:
    made = support.dag(support.chain("a", "b"))
    of, worker = support.run("orders"), Worker()
    worker.do(of, "a")
    spec = made.current_version.spec | {"tasks": [TaskSpec("a", downstream=["c"]).to_dict(), TaskSpec("c", retries=2).to_dict()]}  # type: ignore[union-attr]
    support.new_version(made, DagSpec.from_dict(spec), 2)
    Run.objects.update(advance_at=sql.now())
    support.tick()
    assert support.states(of) == {"a": "success", "b": "queued", "c": "queued"}, "what was handed over already may end"
    assert support.ti(of, "c").max_tries == 2


# --- 6 when to look again, and how much it costs ------------------------------------------------------------------------------------
def test_the_next_pass_is_due_with_the_first_retry_timeout_schedule_or_run() -> None:
    now = sql.now()
    assert scheduler.next_due(now) == now + scheduler.SAFETY
    made = support.dag(support.chain("a", retries=1, retry_delay=2.0))
    of = support.run(made)
    Worker().do(of, "a", "failed")
    assert support.tick().next_at == support.ti(of, "a").next_at
    Dag.objects.update(next_run_after=now + timedelta(seconds=1))
    assert scheduler.next_due(now) == now + timedelta(seconds=1)
    Dag.objects.update(is_paused=True)
    assert scheduler.next_due(now) != now + timedelta(seconds=1)
    support.run("orders", begin=False, run_after=now + timedelta(milliseconds=500))
    assert scheduler.next_due(now) == now + timedelta(milliseconds=500)


def test_a_pass_with_nothing_to_do_does_not_ask_for_the_next_at_once() -> None:
    made = _scheduled(hours=2, max_active_runs=1)
    support.run(support.dag(support.chain("a"), "other"))
    support.tick()
    now = sql.now()
    assert support.tick().next_at > now, "a blocked DAG waits for the end of a run"
    Dag.objects.filter(pk=made.pk).update(current_version=None, blocked_reason=None)
    Run.objects.filter(dag=made).update(state="success", end_date=now)
    assert support.tick().next_at > now, "a DAG without a version does not spin"


def _statements(tasks: int) -> int:
    tasks_ = [support.task("first", *(f"t{k}" for k in range(tasks)))] + [support.task(f"t{k}") for k in range(tasks)]
    of = support.run(support.dag(tasks_, f"wide{tasks}", max_active_tasks=10_000))
    Worker().do(of, "first")
    clearing.clear(clearing.ClearRequest(of.dag_id, run_pks=[of.pk]), actor=ACTOR)
    support.tick()
    Run.objects.filter(pk=of.pk).update(advance_at=sql.now())
    TaskInstance.objects.filter(run=of, task_id="first").update(state="success")
    count = 0

    original_rows, original_run = sql.rows, sql.run

    def rows(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        return original_rows(*args, **kwargs)

    def run(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        return original_run(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, CaptureQueriesContext(connection) as django:
        patch.setattr(sql, "rows", rows)
        patch.setattr(sql, "run", run)
        support.tick()
    assert TaskInstance.objects.filter(run=of, state="queued").count() == tasks
    return count + len(django)


def test_a_pass_costs_the_same_number_of_statements_for_few_and_many_tasks() -> None:
    support.pool("default_pool", 10_000)
    few = _statements(4)
    assert _statements(400) == few
