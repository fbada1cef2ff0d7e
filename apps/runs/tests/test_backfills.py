"""Backfills make the runs of past slots, under a limit of their own, and can be paused, cancelled and repeated."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from apps.dags.models import Dag
from apps.runs.backfills import actions
from apps.runs.backfills.models import Backfill
from apps.runs.errors import ActionRefused, Conflict, Invalid, NotFound
from apps.runs.models import Run
from apps.runs.tests.support import ACTOR, Worker, chain, dag, later, reason, run, state, states, task, tick
from apps.runs.tests.support import woken as woken

pytestmark = pytest.mark.django_db(transaction=True)

DAILY = {"kind": "cron_trigger", "cron": "0 0 * * *", "timezone": "UTC"}


def day(n: int) -> datetime:
    return datetime(2026, 1, n, tzinfo=UTC)


def daily(**fields: Any) -> Dag:
    return dag(fields.pop("tasks", chain("a")), "daily", timetable=DAILY, **fields)


def wish(first: int = 1, last: int = 3, **fields: Any) -> actions.Request:
    return actions.Request("daily", day(first), day(last), **fields)


def made(backfill: Backfill) -> list[Run]:
    return list(Run.objects.filter(backfill_id=backfill.pk).order_by("backfill_order"))


def days(backfill: Backfill) -> list[int]:
    return [r.logical_date.day for r in made(backfill) if r.logical_date]


def create(request: actions.Request) -> Backfill:
    return actions.create(request, actor=ACTOR)


def test_every_slot_between_the_dates_gets_a_run_and_then_it_is_complete() -> None:
    daily()
    backfill = create(wish(dag_run_conf={"x": 1}))
    assert days(backfill) == [1, 2, 3]
    first = made(backfill)[0]
    assert (first.run_id, first.run_type, first.triggered_by) == ("backfill__2026-01-01T00:00:00+00:00", "backfill", "backfill")
    assert (first.conf, first.triggering_user_name, first.run_after) == ({"x": 1}, "mara", day(1))
    tick()
    assert Backfill.objects.get().completed_at is None
    assert Worker().work() == 3
    tick()
    backfill.refresh_from_db()
    assert backfill.completed_at is not None and {state(r) for r in made(backfill)} == {"success"}


def test_a_preview_shows_what_would_be_made_and_makes_nothing() -> None:
    daily()
    run("daily", day=2)
    assert [s.info.logical_date for s in actions.preview(wish())] == [day(1), day(3)]
    assert [s.info.logical_date for s in actions.preview(wish(run_backwards=True))] == [day(3), day(1)]
    assert not Backfill.objects.exists() and Run.objects.count() == 1


def test_slots_that_are_not_over_are_left_out() -> None:
    row = daily()
    row.timetable = {"kind": "cron_interval", "cron": "0 0 * * *", "timezone": "UTC"}
    row.save()
    found = actions.preview(actions.Request("daily", day(1), datetime(2999, 1, 1, tzinfo=UTC)))
    ends = [s.info.data_interval.end for s in found if s.info.data_interval]
    assert ends and max(ends) < datetime.now(UTC)


def test_backwards_begins_with_the_newest() -> None:
    daily()
    backfill = create(wish(run_backwards=True, max_active_runs=1))
    assert days(backfill) == [3, 2, 1]
    tick()
    assert [state(r) for r in made(backfill)] == ["running", "queued", "queued"]


def test_its_limit_is_its_own() -> None:
    daily(max_active_runs=1)
    own = run("daily", day=20)
    backfill = create(wish(1, 4, max_active_runs=2))
    tick()
    assert state(own) == "running"
    assert [state(r) for r in made(backfill)] == ["running", "running", "queued", "queued"]
    assert reason(made(backfill)[2]) == "max_active_runs"
    waiting = run("daily", day=21)
    assert state(waiting) == "queued"
    worker = Worker()
    worker.do(made(backfill)[0], "a")
    tick()
    assert [state(r) for r in made(backfill)] == ["success", "running", "running", "queued"]
    assert state(waiting) == "queued"


def test_paused_runs_wait_and_say_so_and_go_on_afterwards() -> None:
    daily()
    backfill = create(wish(max_active_runs=1))
    tick()
    actions.set_paused(backfill.pk, True, actor=ACTOR)
    worker = Worker()
    worker.do(made(backfill)[0], "a")
    tick(2)
    assert [state(r) for r in made(backfill)] == ["success", "queued", "queued"]
    assert reason(made(backfill)[1]) == "backfill_paused"
    assert Backfill.objects.get().completed_at is None
    actions.set_paused(backfill.pk, True, actor=ACTOR)
    actions.set_paused(backfill.pk, False, actor=ACTOR)
    tick()
    assert [state(r) for r in made(backfill)] == ["success", "running", "queued"]


def test_a_paused_dag_holds_its_backfill_too() -> None:
    daily(paused=True)
    backfill = create(wish())
    tick()
    assert {state(r) for r in made(backfill)} == {"queued"} and reason(made(backfill)[0]) == "paused"


def test_cancel_fails_what_has_not_begun_and_lets_the_rest_end() -> None:
    daily()
    backfill = create(wish(max_active_runs=1))
    tick()
    cancelled = actions.cancel(backfill.pk, actor=ACTOR)
    assert cancelled.is_paused and cancelled.completed_at is not None
    assert [state(r) for r in made(backfill)] == ["running", "failed", "failed"]
    assert states(made(backfill)[1]) == {"a": "none"}
    Worker().work()
    assert state(made(backfill)[0]) == "success"
    for call in (actions.cancel, lambda pk, actor: actions.set_paused(pk, False, actor=actor)):
        with pytest.raises(Conflict):
            call(backfill.pk, actor=ACTOR)
    assert create(wish(4, 5)).pk != backfill.pk


def test_one_open_backfill_per_dag() -> None:
    daily()
    create(wish())
    with pytest.raises(Conflict):
        create(wish(5, 6))


@pytest.mark.parametrize(
    ("behavior", "again"), [("none", [4]), ("failed", [2, 4]), ("completed", [1, 2, 4])], ids=["none", "failed", "completed"]
)
def test_which_existing_runs_are_made_again(behavior: str, again: list[int]) -> None:
    daily()
    worker = Worker()
    for n, outcome in ((1, "success"), (2, "failed")):
        worker.do(run("daily", day=n, conf={"old": n}), "a", outcome)
    running = run("daily", day=3)
    before = {r.pk for r in Run.objects.all()}
    backfill = create(wish(1, 4, reprocess_behavior=behavior, dag_run_conf={"new": 1}))
    assert sorted(days(backfill)) == again
    for r in made(backfill):
        assert (r.run_type, r.triggered_by, r.conf, r.state) == ("backfill", "backfill", {"new": 1}, "queued")
        assert states(r) == {"a": "none"}
        assert r.clear_number == (1 if r.pk in before else 0)
    assert state(running) == "running" and Run.objects.get(pk=running.pk).backfill_id is None


def test_a_backfill_of_nothing_new_is_complete_at_the_next_look() -> None:
    daily()
    for n in (1, 2):
        Worker().do(run("daily", day=n), "a")
    backfill = create(wish(1, 2))
    tick()
    backfill.refresh_from_db()
    assert made(backfill) == [] and backfill.completed_at is not None


def test_depends_on_past_starts_with_the_first_run_of_the_backfill() -> None:
    daily(tasks=[task("a", depends_on_past=True)])
    with pytest.raises(Invalid):
        create(wish())
    with pytest.raises(Invalid):
        create(wish(reprocess_behavior="completed", run_backwards=True))
    backfill = create(wish(reprocess_behavior="completed"))
    tick()
    assert [states(r)["a"] for r in made(backfill)] == ["queued", "none", "none"]
    worker = Worker()
    for r in made(backfill):
        worker.do(r, "a")
        tick()
    later(seconds=10)
    tick()
    assert {state(r) for r in made(backfill)} == {"success"}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"dag_id": "nope"}, NotFound),
        ({"from_date": day(5)}, Invalid),
        ({"from_date": datetime(2999, 1, 1, tzinfo=UTC), "to_date": datetime(2999, 2, 1, tzinfo=UTC)}, Invalid),
        ({"max_active_runs": 0}, Invalid),
        ({"from_date": datetime(1, 1, 1, tzinfo=UTC)}, Invalid),
    ],
    ids=["no such dag", "from after to", "future", "no runs at all", "too many"],
)
def test_what_cannot_be_backfilled_is_refused(change: dict[str, Any], error: type[ActionRefused]) -> None:
    daily()
    request = wish()
    for name, value in change.items():
        setattr(request, name, value)
    for call in (create, actions.preview):
        with pytest.raises(error):
            call(request)
    assert not Backfill.objects.exists() and not Run.objects.exists()


@pytest.mark.parametrize("timetable", [{"kind": "null"}, {"kind": "once"}, {"kind": "asset"}])
def test_a_dag_without_regular_slots_cannot_be_backfilled(timetable: dict[str, Any]) -> None:
    row = daily()
    row.timetable = timetable
    row.save()
    with pytest.raises(Invalid):
        create(wish())


def test_a_dag_may_forbid_backfills() -> None:
    daily(allowed_run_types=["manual", "scheduled"])
    with pytest.raises(ActionRefused) as refused:
        create(wish())
    assert refused.value.status == 400


def test_tasks_with_dates_take_part_whatever_their_dates() -> None:
    daily(tasks=[task("a", start_date="2026-02-01T00:00:00+00:00")])
    backfill = create(wish(1, 1))
    assert states(made(backfill)[0]) == {"a": "none"}


def test_dates_without_a_slot_are_previewed_as_nothing_and_refused_as_a_backfill() -> None:
    row = daily()
    row.timetable = {"kind": "cron_trigger", "cron": "0 0 * * 1", "timezone": "UTC"}  # the 2nd is a Friday
    row.save()
    assert actions.preview(wish(2, 3)) == []
    with pytest.raises(Invalid, match="No slot"):
        create(wish(2, 3))
    assert not Backfill.objects.exists()


@pytest.mark.parametrize(
    ("of_dag", "asked", "latest"), [(None, None, True), (False, None, False), (False, True, True), (True, False, False)]
)
def test_the_request_decides_on_the_version_else_the_dag_else_it_is_the_newest(
    of_dag: bool | None, asked: bool | None, latest: bool
) -> None:
    daily(rerun_with_latest_version=of_dag)
    assert create(wish(run_on_latest_version=asked)).run_on_latest_version is latest


PARTITIONS = {
    "kind": "cron_partition", "cron": "0 0 * * *", "timezone": "Asia/Taipei", "run_offset": 1, "key_format": "%Y-%m-%d",
}  # fmt: skip


def partitioned() -> Dag:
    row = daily()
    row.timetable = PARTITIONS
    row.save()
    return row


def test_partitions_between_the_dates_get_runs_under_their_keys() -> None:
    partitioned()
    backfill = create(wish(1, 3, run_backwards=True))
    runs = made(backfill)
    assert [r.partition_key for r in runs] == ["2026-01-03", "2026-01-02", "2026-01-01"]  # midnights there, whatever UTC says
    first = runs[2]
    assert first.partition_date == first.run_after == datetime(2025, 12, 31, 16, tzinfo=UTC)
    assert (first.logical_date, first.data_interval_start, first.run_type) == (None, None, "backfill")
    assert first.run_id.startswith("backfill__2025-12-31T16:00:00+00:00__2026-01-01__")
    tick()
    assert Worker().work() == 3
    assert {state(r) for r in made(backfill)} == {"success"}


@pytest.mark.parametrize(
    ("behavior", "again"), [("none", [4]), ("failed", [2, 4]), ("completed", [1, 2, 4])], ids=["none", "failed", "completed"]
)
def test_a_partition_that_runs_again_gets_a_run_beside_the_old_one(behavior: str, again: list[int]) -> None:
    partitioned()
    old = made(create(wish(1, 3)))
    tick()
    worker = Worker()
    worker.do(old[0], "a", "success")
    worker.do(old[1], "a", "failed")
    Backfill.objects.update(completed_at=day(5))
    keys = [f"2026-01-0{n}" for n in again]
    assert [s.partition_key for s in actions.preview(wish(1, 4, reprocess_behavior=behavior))] == keys
    backfill = create(wish(1, 4, reprocess_behavior=behavior))
    assert [r.partition_key for r in made(backfill)] == keys
    assert {r.pk for r in made(backfill)}.isdisjoint({r.pk for r in old})
    assert [state(r) for r in old] == ["success", "failed", "running"]
