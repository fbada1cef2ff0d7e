"""A worker's calls: work starts once, ends once, is killed when it must be; slots hold; odd input is refused."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings

from apps.runs import brain, sql, wake
from apps.runs.actions import clearing
from apps.runs.execution import exchange
from apps.runs.models import Run, TaskInstance, Try, XCom
from apps.runs.tests import support
from apps.runs.tests.support import ACTOR, Worker, woken  # noqa: F401
from trackside.core.messages import ExchangeRequest
from trackside.core.spec import GroupSpec

pytestmark = pytest.mark.django_db


# --- the way of a task ----------------------------------------------------------------------------------------------------
def test_a_chain_runs_through_without_a_scheduler_between_its_tasks() -> None:
    of, worker = support.run(support.dag(support.chain("a", "b", "c"))), Worker()
    assert worker.work() == 3
    assert support.states(of) == {"a": "success", "b": "success", "c": "success"}
    assert support.state(of) == "success"


def test_the_next_task_leaves_with_the_answer_to_the_report() -> None:
    support.run(support.dag(support.chain("a", "b")))
    worker = Worker()
    order = worker.take()["a"]
    answer = worker.exchange([worker.report(order, xcoms=[{"key": "return_value", "value": 7}])])
    assert [o["task_id"] for o in answer.start] == ["b"]
    assert [(x["task_id"], x["value"]) for x in answer.start[0]["xcoms"]] == [("a", 7)]


def test_a_wide_run_is_planned_once_for_many_reports_until_its_slots_run_empty(monkeypatch: pytest.MonkeyPatch, woken: list[str]) -> None:  # noqa: F811
    monkeypatch.setattr(brain, "WIDE_RUN", 5)
    monkeypatch.setattr(brain, "WAITING", 3)
    of = support.run(support.dag([*(support.task(name, "join") for name in "abcdef"), support.task("join")], max_active_tasks=2))
    worker = Worker()
    first, second = worker.take().values()
    planned, before = Run.objects.get(pk=of.pk).last_scheduling_decision, len(woken)
    third = worker.exchange([worker.report(first)]).start
    assert len(third) == 1  # the slot is filled all the same
    worker.exchange([worker.report(second)])
    now = Run.objects.get(pk=of.pk)
    assert now.last_scheduling_decision == planned and now.advance_at is not None
    assert woken[before:].count(wake.SCHEDULER) <= 1
    assert worker.work() == 5
    assert support.states(of)["join"] == "success"
    assert support.state(of) == "success"


def test_whole_numbers_beyond_64_bits_reach_the_next_task_exactly() -> None:
    support.run(support.dag(support.chain("a", "b")))
    worker = Worker()
    order = worker.take()["a"]
    answer = worker.exchange([worker.report(order, xcoms=[{"key": "return_value", "value": [2**64 + 1, -(10**40) - 7]}])])
    assert answer.start[0]["xcoms"][0]["value"] == [2**64 + 1, -(10**40) - 7]


def test_an_order_says_everything_a_task_needs() -> None:
    of = support.run(support.dag(support.chain("a", pool="default_pool", queue="default")), day=3, conf={"x": 1})
    order = Worker().take()["a"]
    assert (
        order["run"]["run_id"] == of.run_id and order["run"]["conf"] == {"x": 1} and order["run"]["logical_date"].startswith("2026-01-03")
    )
    assert (order["try_number"], order["max_tries"], order["map_index"], order["relative_fileloc"]) == (1, 0, -1, "orders.py")
    assert order["token"].startswith(order["try_id"] + ".")
    assert Try.objects.get(pk=order["try_id"]).token_hash not in order["token"]


def test_work_of_other_queues_is_left_alone() -> None:
    support.run(support.dag([support.task("a", queue="gpu")]))
    assert Worker().take() == {}
    assert set(Worker(queues=("default", "gpu")).take()) == {"a"}


def test_the_heaviest_task_goes_first() -> None:
    support.run(support.dag([support.task("light"), support.task("heavy", priority_weight=9), support.task("middle", priority_weight=3)]))
    worker = Worker(slots=1)
    first = list(worker.take())
    assert first == ["heavy"]


# --- repeated, late and false reports -------------------------------------------------------------------------------------
def test_a_repeated_report_is_accepted_and_changes_nothing() -> None:
    of, worker = support.run(support.dag(support.chain("a", "b"))), Worker()
    order = worker.take()["a"]
    assert worker.finish(order, xcoms=[{"key": "return_value", "value": 1}])["status"] == 200
    before = list(TaskInstance.objects.filter(run=of).order_by("id").values())
    assert worker.finish(order, outcome="failed", error="late")["status"] == 200
    assert list(TaskInstance.objects.filter(run=of).order_by("id").values()) == before
    assert XCom.objects.get().value == "1"
    assert len(support.events("succeed")) == 1


def test_a_report_with_the_token_of_somebody_else_changes_nothing() -> None:
    of, worker = support.run(support.dag(support.chain("a"))), Worker()
    order = worker.take()["a"]
    assert worker.finish(order | {"token": f"{order['try_id']}.guess"})["status"] == 410
    assert support.states(of) == {"a": "running"}


def test_a_report_about_a_try_nobody_knows_is_gone() -> None:
    worker = Worker()
    assert worker.finish({"try_id": str(uuid.uuid4()), "token": "x"})["status"] == 410
    assert worker.finish({"try_id": "nonsense", "token": "x"})["status"] == 404


@pytest.mark.parametrize(
    "fields",
    [
        {"duration_s": "long"}, {"pid": 2**40}, {"xcoms": [3]}, {"xcoms": [{"key": ""}]}, {"xcoms": [{"key": "x\x00", "value": 1}]},
        {"skip": [1]}, {"skip": {"mode": "skipped", "ids": [1]}}, {"outcome": "rescheduled"},
        {"outcome": "rescheduled", "reschedule_at": "soon"},
        {"outcome": "deferred", "deferral": {"timeout_s": "x"}}, {"outcome": "failed", "retry_delay_s": 1e14}, {"rendered_fields": 5},
    ],
    ids=str,
)  # fmt: skip
def test_a_report_that_cannot_be_stored_is_a_failure_that_says_so_and_holds_up_nobody(fields: dict[str, Any]) -> None:
    of = support.run(support.dag([support.task("bad", retries=3), support.task("good")]))
    worker = Worker()
    held = worker.take()
    answer = worker.exchange([{**worker.report(held["bad"]), **fields}, worker.report(held["good"]), "nonsense", {}], free=0)  # type: ignore[list-item]
    assert [s["status"] for s in answer.settled] == [200, 200]
    assert support.states(of) == {"bad": "failed", "good": "success"}
    assert support.reason(of, "bad") == "failed" and len(support.ti(of, "bad").reason or "") > 20


def test_users_text_may_contain_anything() -> None:
    of, worker = support.run(support.dag(support.chain("a"))), Worker()
    worker.do(of, "a", "failed", error="nul \x00 here", rendered_fields={"sql": "nul \x00"}, rendered_map_index="x\x00y")
    assert support.ti(of, "a").reason == "nul  here" and support.ti(of, "a").rendered_map_index == "xy"


# --- ends -----------------------------------------------------------------------------------------------------------------
def test_a_failed_try_is_retried_after_its_delay_and_then_fails() -> None:
    of, worker = support.run(support.dag(support.chain("a", retries=1, retry_delay=300.0))), Worker()
    worker.do(of, "a", "failed", error="boom")
    waiting = support.ti(of, "a")
    assert waiting.state == "up_for_retry" and waiting.next_at is not None and waiting.end_date is not None
    assert waiting.next_at - waiting.end_date == timedelta(seconds=300)
    assert support.reason(of, "a") == "retry"
    assert Run.objects.get().advance_at == waiting.next_at
    support.tick()
    assert support.ti(of, "a").state == "up_for_retry"
    support.later(seconds=301)
    support.tick()
    assert support.ti(of, "a").state == "queued"
    worker.do(of, "a", "failed", error="boom again")
    assert (support.states(of), support.state(of)) == ({"a": "failed"}, "failed")
    assert support.reason(of) == "task_failure" and support.ti(of, "a").reason == "boom again"
    assert [(t.number, t.state, t.error) for t in support.tries(waiting)] == [(1, "failed", "boom"), (2, "failed", "boom again")]


def test_back_off_doubles_and_stays_under_its_limit() -> None:
    of, worker = (
        support.run(support.dag(support.chain("a", retries=5, retry_delay=10.0, retry_exponential_backoff=2.0, max_retry_delay=60.0))),
        Worker(),
    )
    delays = []
    for _ in range(5):
        worker.do(of, "a", "failed", error="x")
        ti = support.ti(of, "a")
        assert ti.next_at and ti.end_date
        delays.append((ti.next_at - ti.end_date).total_seconds())
        support.later(seconds=61)
        support.tick()
    assert 10 <= delays[0] < 20 and 20 <= delays[1] < 40 and 40 <= delays[2] <= 60 and delays[3:] == [60, 60]


def test_the_user_can_ask_for_no_retry() -> None:
    of, worker = support.run(support.dag(support.chain("a", retries=5))), Worker()
    worker.do(of, "a", "failed_no_retry", error="never")
    assert support.states(of) == {"a": "failed"}


def test_a_retry_policy_can_choose_the_delay() -> None:
    of, worker = support.run(support.dag(support.chain("a", retries=1))), Worker()
    worker.do(of, "a", "failed", error="x", retry_delay_s=7, retry_reason="Rate limit, backing off")
    ti = support.ti(of, "a")
    said = Try.objects.filter(ti=ti).values_list("error", "retry_reason")
    assert list(said) == [("x Retry policy: Rate limit, backing off", "Rate limit, backing off")]
    assert ti.next_at and ti.end_date and ti.next_at - ti.end_date == timedelta(seconds=7)


def test_a_reschedule_keeps_the_try_and_gives_the_slot_back() -> None:
    of, worker = support.run(support.dag(support.chain("a", "b"))), Worker(slots=1)
    first = worker.take()["a"]
    at = sql.now() + timedelta(seconds=60)
    worker.finish(first, "rescheduled", reschedule_at=at.isoformat())
    assert (support.ti(of, "a").state, support.ti(of, "a").next_at, support.reason(of, "a")) == ("up_for_reschedule", at, "reschedule")
    support.later(seconds=61)
    support.tick()
    again = worker.take()["a"]
    assert (again["try_id"], again["try_number"], again["reschedule_count"]) == (first["try_id"], 1, 1)
    assert again["token"] != first["token"]
    assert worker.finish(first)["status"] == 410, "the token of the first round is spent"
    worker.held[again["try_id"]] = again
    worker.work()
    assert support.state(of) == "success" and len(support.tries(support.ti(of, "a"))) == 1


def test_xcoms_are_stored_and_wiped_when_a_new_try_starts() -> None:
    of, worker = support.run(support.dag(support.chain("a", retries=1, retry_delay=0.0))), Worker()
    worker.do(of, "a", "failed", xcoms=[{"key": "part", "value": {"n": [1, None, "é"]}, "length": 1}])
    assert (XCom.objects.get().value, XCom.objects.get().length) == ('{"n":[1,null,"é"]}', 1)
    support.tick()
    assert XCom.objects.exists(), "they stay readable until the next try starts"
    worker.take()
    assert not XCom.objects.exists()


@override_settings(MAX_XCOM_BYTES=100)
def test_an_xcom_over_the_limit_fails_its_task_with_a_sentence() -> None:
    of, worker = support.run(support.dag(support.chain("a", retries=3))), Worker()
    worker.do(of, "a", xcoms=[{"key": "return_value", "value": "x" * 200}])
    assert support.states(of) == {"a": "failed"} and "limit is 100" in (support.ti(of, "a").reason or "")


# --- decisions --------------------------------------------------------------------------------------------------------------
def test_a_branch_skips_the_ways_it_did_not_choose() -> None:
    tasks = [support.task("choose", "left", "right", skips="branch"), support.task("left", "join"), support.task("right", "join"),
             support.task("join", trigger_rule="none_failed_min_one_success")]  # fmt: skip
    of, worker = support.run(support.dag(tasks)), Worker()
    worker.do(of, "choose", skip={"mode": "followed", "ids": ["left"]})
    assert support.states(of) == {"choose": "success", "left": "queued", "right": "skipped", "join": "none"}
    assert support.reason(of, "right") == "branch"
    worker.work()
    assert support.states(of)["join"] == "success" and support.state(of) == "success"


def test_a_short_circuit_skips_everything_it_names_whatever_their_rules() -> None:
    tasks = [
        support.task("gate", "next", skips="short_circuit"),
        support.task("next", "always"),
        support.task("always", trigger_rule="all_done"),
        support.task("apart"),
    ]
    of, worker = support.run(support.dag(tasks)), Worker()
    worker.do(of, "gate", skip={"mode": "skipped", "ids": ["next", "always"]})
    assert support.states(of) == {"gate": "success", "next": "skipped", "always": "skipped", "apart": "running"}
    worker.work()
    assert support.state(of) == "success"


def test_a_short_circuit_inside_a_mapped_group_skips_only_its_own_index() -> None:
    group = GroupSpec("g", children=["g.gate", "g.next"], mapped=True, expand={"kind": "dict", "value": {"x": [1, 2, 3]}})
    tasks = [support.task("g.gate", "g.next", group_id="g", mapped_group_id="g", skips="short_circuit"),
             support.task("g.next", group_id="g", mapped_group_id="g")]  # fmt: skip
    of, worker = support.run(support.dag(tasks, groups=[group])), Worker()
    worker.do(of, "g.gate", map_index=1, skip={"mode": "skipped", "ids": ["g.next"]})
    worker.work()
    assert [support.ti(of, "g.next", i).state for i in range(3)] == ["success", "skipped", "success"]
    assert support.state(of) == "success"


# --- once -------------------------------------------------------------------------------------------------------------------
def test_two_workers_never_get_the_same_try() -> None:
    support.run(support.dag([support.task(f"t{i}") for i in range(6)]))
    one, other = Worker(slots=3), Worker(slots=6)
    one.take(), other.take()
    assert len(one.held) == 3 and len(other.held) == 3
    assert not set(one.held) & set(other.held)


def test_a_worker_never_gets_more_than_its_slots_whatever_it_says_is_free() -> None:
    support.run(support.dag([support.task(f"t{i}") for i in range(6)]))
    worker = Worker(slots=2)
    worker.exchange(free=50)
    worker.exchange(free=50)
    assert len(worker.held) == 2


@pytest.mark.django_db(transaction=True)
def test_hammered_by_eight_workers_every_try_starts_once_and_every_run_ends() -> None:
    support.pool("default_pool", 128)
    for i in range(4):
        tasks = (
            [support.task("first", *(f"t{k}" for k in range(12)))]
            + [support.task(f"t{k}", "last") for k in range(12)]
            + [support.task("last")]
        )
        support.run(support.dag(tasks, f"dag{i}"))
    started: Counter[str] = Counter()
    lock = threading.Lock()

    def deed(order: dict[str, Any]) -> dict[str, Any]:
        with lock:
            started[order["try_id"]] += 1
        return {}

    def hammer(_: int) -> None:
        worker = Worker(slots=3)
        try:
            while Run.objects.filter(state="running").exists():
                worker.work(deed)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(hammer, range(8)))
    assert set(Run.objects.values_list("state", flat=True)) == {"success"}
    assert len(started) == 4 * 14 and set(started.values()) == {1}
    assert Try.objects.count() == len(started)


@pytest.mark.django_db(transaction=True)
def test_parallel_calls_of_one_worker_fill_no_slot_twice_and_never_wait_in_a_circle() -> None:
    """A parked call that looks again, and reporting calls, all at once; each on a connection of its own."""
    support.pool("default_pool", 128)
    runs = [support.run(support.dag(support.chain(*(f"t{k}" for k in range(8))), f"dag{i}")) for i in range(6)]
    worker = Worker(slots=3)
    worker.take()
    held, lock, stop, most = dict(worker.held), threading.Lock(), threading.Event(), [0]

    def note(answer: Any) -> None:
        with lock:
            for order in answer.start:
                assert order["try_id"] not in held
                held[order["try_id"]] = order

    def parked() -> None:
        try:
            while not stop.is_set():
                exchange._beaten.clear()  # every call renews, as with several web processes
                note(exchange.look_again(worker.request(free=3, running=[])).response)
                most[0] = max(most[0], Try.objects.filter(worker_id=worker.id, state="running").count())
        finally:
            connection.close()

    def reporting() -> None:
        try:
            while Run.objects.filter(state="running").exists():
                with lock:
                    mine = held.popitem()[1] if held else None
                exchange._beaten.clear()
                note(exchange.serve(worker.request([worker.report(mine)] if mine else [], free=3, running=[])).response)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        watching = threads.submit(parked)
        work = [threads.submit(reporting) for _ in range(3)]
        errors = [w.exception() for w in work]
        stop.set()
        errors.append(watching.exception())
    assert errors == [None] * 4
    assert {support.state(r) for r in runs} == {"success"}
    assert 0 < most[0] <= 3


@pytest.mark.django_db(transaction=True)
def test_calls_of_one_worker_that_come_at_once_share_its_slots() -> None:
    support.run(support.dag([support.task(f"t{k}") for k in range(60)], max_active_tasks=100))
    for _ in range(8):
        worker, together = Worker(slots=3), threading.Barrier(4)
        worker.exchange(free=0)

        def call(worker: Worker = worker, together: threading.Barrier = together) -> int:
            together.wait()
            try:
                return len(exchange.look_again(worker.request(free=3)).response.start)
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as threads:
            handed = [f.result() for f in [threads.submit(call) for _ in range(4)]]
        assert sum(handed) == 3, handed


def test_orders_of_a_lost_answer_are_handed_out_again_with_the_next_epoch() -> None:
    of, worker = support.run(support.dag([support.task("kept"), support.task("lost")])), Worker()
    held = worker.take()
    del worker.held[held["lost"]["try_id"]]  # the answer broke off after the first order
    old = worker.request(free=4)
    worker.epoch = 1
    answer = worker.exchange()
    assert [o["try_id"] for o in answer.start] == [held["lost"]["try_id"]]
    assert answer.start[0]["token"] != held["lost"]["token"] and answer.start[0]["try_number"] == 1
    assert exchange.look_again(old).response.start == [], "nobody reads the answer of an older connection"
    worker.work()
    assert support.state(of) == "success" and Try.objects.count() == 2


def test_an_order_that_was_cleared_and_never_arrived_is_free_at_once() -> None:
    of, worker = support.run(support.dag(support.chain("a"))), Worker()
    worker.take()
    clearing.clear(clearing.ClearRequest("orders", run_pks=[of.pk], task_ids=["a"]), actor=ACTOR)
    assert support.states(of) == {"a": "restarting"}
    worker.held.clear()
    worker.epoch = 1
    worker.exchange(free=0)
    support.tick()
    assert set(worker.take()) == {"a"} and worker.held[str(support.ti(of, "a").try_id)]["try_number"] == 2


def test_a_request_from_the_wire_may_leave_everything_optional_out() -> None:
    answer = exchange.serve(ExchangeRequest(worker_id=str(uuid.uuid4()))).response
    assert (answer.start, answer.kill, answer.settled) == ([], [], [])
