"""A worker's calls when something goes wrong: what is cleared or marked is killed first, what is lost starts again."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings

from apps.runs import reaper, sql
from apps.runs.actions import clearing, marking
from apps.runs.models import Process, Run, Try
from apps.runs.tests import support
from apps.runs.tests.support import ACTOR, Worker, woken  # noqa: F401

pytestmark = pytest.mark.django_db


def _clear(of: Run, *task_ids: Any, **options: Any) -> None:
    clearing.clear(clearing.ClearRequest("orders", run_pks=[of.pk], task_ids=list(task_ids) or None, **options), actor=ACTOR)


# --- kills ------------------------------------------------------------------------------------------------------------------
def test_a_cleared_running_task_is_killed_first_and_only_then_starts_again() -> None:
    of, worker, other = support.run(support.dag(support.chain("a", "b"))), Worker(), Worker()
    order = worker.take()["a"]
    _clear(of, "a")
    assert support.states(of)["a"] == "restarting"
    support.tick()
    assert other.take() == {}, "the old try may still run"
    worker.exchange()
    assert worker.told_to_kill == [order["try_id"]]
    assert worker.finish(order, "killed")["status"] == 410
    other.take()
    assert [(o["task_id"], o["try_number"]) for o in other.held.values()] == [("a", 2)]
    other.work()
    assert support.state(of) == "success"
    assert [(t.number, t.state) for t in support.tries(support.ti(of, "a"))] == [(1, "fenced"), (2, "success")]


def test_a_task_cleared_twice_while_it_is_being_killed_still_waits_for_its_end() -> None:
    of, worker, other = support.run(support.dag(support.chain("a"))), Worker(), Worker()
    order = worker.take()["a"]
    _clear(of, "a")
    _clear(of, "a")
    support.tick()
    assert support.states(of) == {"a": "restarting"} and other.take() == {}
    worker.finish(order, "killed")
    other.work()
    assert support.state(of) == "success"


def test_a_task_marked_failed_and_cleared_at_once_does_not_run_twice_at_a_time(woken: list[str]) -> None:  # noqa: F811
    of, worker, other = support.run(support.dag(support.chain("a"))), Worker(), Worker()
    order = worker.take()["a"]
    marking.mark(marking.MarkRequest(of, ["a"], "failed"), actor=ACTOR)
    _clear(of, "a")
    support.tick()
    assert support.states(of) == {"a": "queued"} and other.take() == {}
    woken.clear()
    worker.finish(order, "killed")
    assert "trackside_work" in woken, "parked workers look again"
    assert set(other.take()) == {"a"}


@pytest.mark.parametrize("state", ["success", "failed", "skipped"])
def test_a_marked_running_task_is_killed_and_keeps_the_mark(state: str, woken: list[str]) -> None:  # noqa: F811
    of, worker = support.run(support.dag(support.chain("a"))), Worker()
    order = worker.take()["a"]
    marking.mark(marking.MarkRequest(of, ["a"], state), actor=ACTOR)
    assert "trackside_work" in woken or connection.in_atomic_block
    worker.exchange()
    assert worker.told_to_kill == [order["try_id"]]
    assert worker.finish(order)["status"] == 410
    worker.exchange()
    assert worker.told_to_kill == []
    support.tick()
    assert support.states(of) == {"a": state}


def test_the_tasks_of_a_run_that_timed_out_are_killed() -> None:
    of, worker = support.run(support.dag(support.chain("a", "b"), dagrun_timeout=60.0)), Worker()
    order = worker.take()["a"]
    assert Run.objects.get().advance_at is not None, "the time-out is known as a due time"
    support.later(seconds=61)
    support.tick()
    assert (support.states(of), support.state(of), support.reason(of)) == ({"a": "skipped", "b": "skipped"}, "failed", "timed_out")
    worker.exchange()
    assert worker.told_to_kill == [order["try_id"]]


def test_a_worker_is_told_to_kill_what_the_server_does_not_know() -> None:
    worker, stranger = Worker(), str(uuid.uuid4())
    worker.exchange(running=[stranger, "nonsense"])
    assert worker.told_to_kill == [stranger]


# --- losses -----------------------------------------------------------------------------------------------------------------
@override_settings(LEASE=30.0, MAX_INFRA_FAILURES=2)
def test_a_lost_try_starts_again_without_using_a_retry_until_the_cap() -> None:
    of = support.run(support.dag(support.chain("a", retries=1)))
    for number in (1, 2, 3):
        order = Worker(name=f"w{number}").take()["a"]
        assert order["try_number"] == number
        support.later(seconds=31)
        support.tick()
        if number < 3:
            assert (support.ti(of, "a").state, support.ti(of, "a").infra_failures) == ("queued", number)
            assert support.ti(of, "a").max_tries - number == 1, "the retry of the user is still there"
    assert support.states(of) == {"a": "failed"} and support.reason(of, "a") == "lost"
    assert [t.state for t in support.tries(support.ti(of, "a"))] == ["lost"] * 3
    support.tick(3)
    assert len(support.events("retry")) == 2 and len(support.events("fail")) == 1


def test_a_living_workers_tries_are_not_touched() -> None:
    of, worker = support.run(support.dag(support.chain("a"))), Worker()
    worker.take()
    support.tick(2)
    assert support.states(of) == {"a": "running"} and reaper.find_lost(sql.now()) == []


def test_a_worker_that_comes_back_after_its_lease_must_kill_what_it_held() -> None:
    of, worker = support.run(support.dag(support.chain("a"))), Worker()
    order = worker.take()["a"]
    support.later(seconds=3600)
    support.tick()
    worker.exchange(free=0)
    assert worker.told_to_kill == [order["try_id"]]
    assert worker.finish(order)["status"] == 410
    assert support.ti(of, "a").try_number == 2


def test_the_death_of_a_worker_that_still_kills_an_old_try_does_not_end_the_new_one() -> None:
    of, old, new = support.run(support.dag(support.chain("a"))), Worker(), Worker()
    first = old.take()["a"]
    marking.mark(marking.MarkRequest(of, ["a"], "failed"), actor=ACTOR)
    _clear(of, "a")
    support.tick()
    Try.objects.filter(pk=first["try_id"]).update(kill_confirmed=True)
    new.take()
    Try.objects.filter(pk=first["try_id"]).update(kill_confirmed=False)
    Process.objects.filter(pk=old.id).update(lease_until=sql.now() - timedelta(seconds=1))
    assert reaper.find_lost(sql.now())
    assert support.states(of) == {"a": "running"} and new.work() == 1
    assert support.state(of) == "success"


def test_a_cleared_task_whose_worker_died_is_cleared_by_the_reaper() -> None:
    of, worker = support.run(support.dag(support.chain("a"))), Worker()
    worker.take()
    _clear(of, "a")
    support.later(seconds=3600)
    support.tick()
    assert set(Worker().take()) == {"a"}
    assert support.ti(of, "a").infra_failures == 0


def test_a_try_whose_runner_lost_its_process_starts_again() -> None:
    of, worker = support.run(support.dag(support.chain("a"))), Worker()
    worker.do(of, "a", "lost", error="the fork server died")
    assert (support.states(of), support.ti(of, "a").max_tries) == ({"a": "queued"}, 1)
    worker.work()
    assert support.state(of) == "success"


@pytest.mark.django_db(transaction=True)
def test_a_clear_that_meets_a_claim_is_never_lost() -> None:
    """Clear and claim the same queued task at the same time, often: it is cleared or restarting, never running with a
    try that the server ended."""
    support.dag(support.chain("a"))
    for _ in range(12):
        of, worker = support.run("orders"), Worker()
        both = threading.Barrier(2)

        def claim(worker: Worker = worker, both: threading.Barrier = both) -> None:
            both.wait()
            try:
                worker.take()
            finally:
                connection.close()

        def clear(of: Run = of, both: threading.Barrier = both) -> None:
            both.wait()
            try:
                _clear(of, "a")
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as threads:
            for done in [threads.submit(claim), threads.submit(clear)]:
                done.result()
        ti = support.ti(of, "a")
        current = {t.id: t.state for t in support.tries(ti)}.get(ti.try_id)
        assert (ti.state, current) in {
            ("none", None),
            ("restarting", "fenced"),
            ("running", "running"),
            ("scheduled", None),
            ("queued", "queued"),
        }
        assert ti.state != "running" or ti.try_number == 2, "the clear was lost"
        worker.exchange(free=0)
        for try_id in worker.told_to_kill:
            worker.finish(worker.held[try_id], "killed")
        support.tick()
        worker.work()
        assert support.state(of) == "success"
