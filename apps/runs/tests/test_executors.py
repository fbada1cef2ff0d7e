"""The ledger's side of executors, with an executor that says what the test tells it to say."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, ClassVar

import pytest
from django.db import connection
from django.test import override_settings

from apps.runs import reaper, sql, transitions
from apps.runs.actions import clearing
from apps.runs.executors.service import Service
from apps.runs.models import Run, TaskInstance, Try
from apps.runs.tests import support
from apps.runs.tests.support import ACTOR, woken  # noqa: F401
from trackside.core.reasons import Reason
from trackside.executors import registry
from trackside.executors.base import Executor, Fault, Leases, Phase, Seen, Submission, TryRef, Verdict

pytestmark = pytest.mark.django_db


class Told(Executor):
    """Remembers what it was asked, answers what it was told."""

    leases: ClassVar[Leases] = Leases.TRY

    def __init__(self) -> None:
        super().__init__("pods", {})
        self.submitted: list[TryRef] = []
        self.cancelled: set[uuid.UUID] = set()
        self.forgotten: set[tuple[uuid.UUID, int]] = set()
        self.verdict, self.reason = Verdict.TAKEN, None  # type: tuple[Verdict, Reason | None]
        self.news: list[Seen] = []
        self.again = False
        self.room = 100

    def capacity(self, live: int) -> int:
        return self.room - live

    def submit(self, refs: Sequence[TryRef]) -> list[Submission]:
        self.submitted += refs
        return [Submission(ref.id, self.verdict, self.reason, facts={"pod": f"pod-{ref.task_id}"}) for ref in refs]

    def lost(self, submitted: Sequence[tuple[TryRef, datetime]], now: datetime) -> Collection[uuid.UUID]:
        return [ref.id for ref, _ in submitted] if self.again else []

    def look(self, known: Collection[uuid.UUID]) -> list[Seen]:
        news, self.news = self.news, []
        return news

    def cancel(self, try_ids: Collection[uuid.UUID]) -> None:
        self.cancelled |= set(try_ids)

    def forget(self, rounds: Collection[tuple[uuid.UUID, int]], failed: Collection[uuid.UUID] = ()) -> None:
        self.forgotten |= set(rounds)


@pytest.fixture(autouse=True)
def site() -> Iterator[None]:
    executors = registry.configured(["pods:kubernetes", "local"])
    with override_settings(EXECUTORS=executors, EXECUTOR_NAMES=registry.names(executors)):
        yield


@pytest.fixture
def told() -> Told:
    return Told()


def begun(**fields: Any) -> Run:
    return support.run(support.dag(support.chain("a", **fields)))


def the_try(of: Run, number: int = 1) -> Try:
    return Try.objects.get(ti__run=of, number=number)


def start(of: Run) -> Try:
    one = the_try(of)
    transitions.start_one(one.id, hostname="pod-a", digest="x", now=sql.now())
    return the_try(of)


def saw(told: Told, one: Try, phase: Phase, code: str, fault: Fault | None = None, **more: Any) -> None:
    told.news = [Seen(one.id, one.round, phase, Reason(code, f"It is {code}."), fault, **more)]
    Service(told).step()


def test_a_queued_try_is_submitted_once_with_all_it_needs(told: Told) -> None:
    of = begun(executor_config={"pod_override": {"a": 1}})
    Service(told).step()
    Service(told).step()
    (ref,) = told.submitted
    assert (ref.task_id, ref.run_id, ref.number, ref.round, ref.config) == ("a", of.run_id, 1, 1, {"pod_override": {"a": 1}})
    assert ref.start_token not in repr(ref)
    assert (the_try(of).facts, the_try(of).submissions) == ({"pod": "pod-a"}, 1)


def test_a_task_names_its_executor_by_any_of_its_names() -> None:
    of = support.run(support.dag([support.task(n, executor=n) for n in ("pods", "KubernetesExecutor", "local", "LocalExecutor")]))
    rows = dict(Try.objects.filter(ti__run=of).values_list("ti__task_id", "executor"))
    assert rows == {"pods": "pods", "KubernetesExecutor": "pods", "local": "local", "LocalExecutor": "local"}
    assert "there is pods, local" in str(registry.unknown("elsewhere", registry.configured(["pods:kubernetes", "local"])))


def test_a_wait_has_its_reason_and_is_submitted_again(told: Told) -> None:
    of = begun()
    told.verdict, told.reason = Verdict.LATER, Reason("quota", "The quota is full.")
    Service(told).step()
    assert (support.states(of), the_try(of).submitted_at) == ({"a": "queued"}, None)
    told.verdict, told.reason = Verdict.TAKEN, None
    Service(told).step()
    assert [ref.submissions for ref in told.submitted] == [1, 2]


def test_no_more_are_submitted_than_there_is_room_for_and_the_rest_says_so(told: Told) -> None:
    of = support.run(support.dag([support.task(f"t{n}") for n in range(5)]))
    told.room = 2
    Service(told).step()
    Service(told).step()
    assert len(told.submitted) == 2
    reasons = list(TaskInstance.objects.filter(run=of, reason_code="executor_full").values_list("reason", flat=True))
    assert len(reasons) == 3
    assert "has 2 tries under way, its limit" in reasons[0]


def test_the_room_is_kept_whatever_plan_postgresql_makes(told: Told) -> None:
    support.run(support.dag([support.task(f"t{n}") for n in range(5)]))
    told.room = 2
    for way in ("hashjoin", "mergejoin", "hashagg", "sort", "material", "memoize"):  # what is left is a nested loop that asks again
        connection.cursor().execute(f"SET LOCAL enable_{way} = off")
    Service(told).step()
    assert len(told.submitted) == 2


def test_what_can_never_start_fails_in_the_executors_words(told: Told) -> None:
    of = begun()
    told.verdict, told.reason = Verdict.REFUSED, Reason("invalid", "The API server refuses its pod.")
    Service(told).step()
    assert (support.states(of), the_try(of).error) == ({"a": "failed"}, "The API server refuses its pod.")


def test_what_waits_says_why(told: Told) -> None:
    of = begun()
    Service(told).step()
    saw(told, the_try(of), Phase.WAITING, "pod_unschedulable")
    assert support.states(of) == {"a": "queued"}
    assert TaskInstance.objects.get(run=of).reason == "It is pod_unschedulable."


def test_the_users_own_failure_uses_a_retry_and_the_clusters_does_not(told: Told) -> None:
    of = begun(retries=1, retry_delay=0.0)
    Service(told).step()
    saw(told, start(of), Phase.ENDED, "evicted", Fault.INFRA)
    ti = TaskInstance.objects.get(run=of)
    assert (ti.state, ti.max_tries, ti.infra_failures, the_try(of).state) == ("queued", 2, 1, "lost"), "it starts again at once"
    assert str(the_try(of).error).startswith("It is evicted; the task did not fail by itself")
    Service(told).step()
    second = the_try(of, 2)
    transitions.start_one(second.id, hostname="pod-a", digest="x", now=sql.now())
    saw(told, second, Phase.ENDED, "oom", Fault.USER, signal=9)
    ti.refresh_from_db()
    assert (ti.state, ti.try_number, ti.max_tries, ti.infra_failures) == ("queued", 3, 2, 1)
    assert (the_try(of, 2).state, the_try(of, 2).signal, the_try(of, 2).error) == ("failed", 9, "It is oom.")


def test_what_a_stopped_runner_said_counts_where_its_pod_says_nothing(told: Told) -> None:
    of = begun()
    Service(told).step()
    one = start(of)
    sql.run("UPDATE runs_try SET facts = '{\"runner_said\": \"the runner was told to stop\"}' WHERE id = %s", [one.id])
    saw(told, one, Phase.ENDED, "exit_code", Fault.USER, exit_code=1, vague=True)
    assert the_try(of).state == "lost"
    assert "the runner was told to stop" in str(the_try(of).error)


def test_what_cannot_be_found_is_lost_only_after_a_lease_without_a_sign_of_life(told: Told) -> None:
    of = begun()
    Service(told).step()
    saw(told, the_try(of), Phase.GONE, "gone", Fault.INFRA)
    assert support.states(of) == {"a": "queued"}, "what is queued is submitted again, not lost"
    one = start(of)
    saw(told, one, Phase.GONE, "gone", Fault.INFRA)
    assert the_try(of).state == "running"
    support.later(seconds=31)
    saw(told, one, Phase.GONE, "gone", Fault.INFRA)
    assert the_try(of).state == "lost"


@pytest.mark.parametrize(("facts", "said"), [
    ({}, "Its runner stopped answering;"),
    ({"pod": "a-1", "node": "n1", "node_silent": False}, "Its runner stopped answering (pod a-1 on node n1);"),
    ({"pod": "a-1", "node": "n1", "node_silent": True}, "Node n1, where its pod ran, no longer answers;"),
])  # fmt: skip
def test_a_runner_that_falls_silent_says_where_it_was(told: Told, facts: dict[str, Any], said: str) -> None:
    of = begun()
    Service(told).step()
    Try.objects.filter(id=start(of).id).update(facts=facts)
    support.later(seconds=46)  # one and a half leases
    reaper.find_lost(sql.now())
    lost = the_try(of)
    assert lost.state == "lost"
    assert str(lost.error).startswith(said)
    assert "without using a retry" in str(lost.error)


def test_a_lost_submission_is_repeated(told: Told) -> None:
    of = begun()
    Service(told).step()
    sql.run("UPDATE runs_try SET submitted_at = submitted_at - interval '1 minute'")
    told.again = True
    Service(told).step()
    assert [ref.id for ref in told.submitted] == [the_try(of).id] * 2


def test_a_cleared_task_begins_anew_only_when_its_end_is_confirmed(told: Told) -> None:
    of = begun()
    Service(told).step()
    one = start(of)
    clearing.clear(clearing.ClearRequest("orders", run_pks=[of.pk]), actor=ACTOR)
    Service(told).step()
    assert (support.states(of), told.cancelled) == ({"a": "restarting"}, {one.id})
    saw(told, one, Phase.ENDED, "deleted", Fault.INFRA)
    assert the_try(of).kill_confirmed
    Service(told).step()
    assert [ref.number for ref in told.submitted] == [1, 2]


def test_what_is_left_of_ended_tries_is_forgotten_and_of_others_is_not(told: Told) -> None:
    of = begun()
    Service(told).step()
    one = the_try(of)
    told.news = [Seen(one.id, one.round, Phase.RUNNING)]
    Service(told).step()
    assert told.forgotten == set()
    told.news = [Seen(one.id, 7, Phase.RUNNING), Seen(uuid.uuid4(), 1, Phase.RUNNING)]
    strange = {(seen.try_id, seen.round) for seen in told.news}
    Service(told).step()
    assert told.forgotten == strange


def test_the_next_round_of_a_try_is_kept_when_the_one_before_is_forgotten(told: Told) -> None:
    of = begun()
    Service(told).step()
    Try.objects.filter(ti__run=of).update(round=2)  # it was deferred and goes on, while its first pod is still being ended
    one = the_try(of)
    told.news = [Seen(one.id, 1, Phase.ENDED), Seen(one.id, 2, Phase.WAITING)]
    Service(told).step()
    assert told.forgotten == {(one.id, 1)}


def test_queued_tries_that_nobody_brings_anywhere_say_so() -> None:
    of = begun()
    support.later(seconds=10)
    support.tick()
    assert "Start its process: trackside executor" in str(TaskInstance.objects.get(run=of).reason)


@pytest.mark.parametrize(("words", "said"), [
    (["nonsense"], "'nonsense' is no executor"), (["local", "local"], "there twice"), (["a b:local"], "no usable alias"),
])  # fmt: skip
def test_a_wrong_list_of_executors_is_refused_by_word(words: list[str], said: str) -> None:
    with pytest.raises(registry.WrongExecutors, match=said):
        registry.configured(words)
