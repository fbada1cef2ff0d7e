"""Each verb moves the row, its try and says so in one event; from any other state it changes nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from apps.runs import sql, transitions
from apps.runs.models import Event, Run, TaskInstance, Try
from apps.runs.tests import support
from apps.runs.tests.support import woken  # noqa: F401
from apps.runs.transitions import Changed, End
from trackside.core.states import RUN_TRANSITIONS, TASK_TRANSITIONS, RunState, TaskState, TryState

pytestmark = pytest.mark.django_db

Verb = Callable[[TaskInstance, Any], list[Any]]


def _ends(ti: TaskInstance, now: Any, **fields: Any) -> list[End]:
    return [End(ti.pk, ti.try_id, next_at=now + timedelta(seconds=60), **fields)]


def _start(ti: TaskInstance, now: Any) -> list[Any]:
    Try.objects.get_or_create(id=ti.try_id, defaults={"ti": ti, "number": max(1, ti.try_number)})
    return transitions.start(worker=None, epoch=0, hostname="h", executor="local", queues=["default"], hashes=["x"], now=now)


VERBS: dict[str, Verb] = {
    "schedule": lambda ti, now: transitions.schedule([ti.pk], now),
    "admit": lambda ti, now: transitions.admit([ti.pk], now),
    "start": _start,
    "unqueue": lambda ti, now: transitions.unqueue([ti.pk], now),
    "requeue": lambda ti, now: transitions.requeue([ti.try_id], now),
    "succeed": lambda ti, now: transitions.succeed(_ends(ti, now), now),
    "complete": lambda ti, now: transitions.complete([ti.pk], now),
    "fail": lambda ti, now: transitions.fail(_ends(ti, now), now),
    "retry": lambda ti, now: transitions.retry(_ends(ti, now), now),
    "reschedule": lambda ti, now: transitions.reschedule(_ends(ti, now), now),
    "defer": lambda ti, now: transitions.defer(_ends(ti, now, next_method="go"), now),
    "await_input": lambda ti, now: transitions.await_input(_ends(ti, now, next_method="go"), now),
    "skip_self": lambda ti, now: transitions.skip_self(_ends(ti, now), now),
    "skip": lambda ti, now: transitions.skip([ti.pk], now),
    "upstream_fail": lambda ti, now: transitions.upstream_fail([ti.pk], now),
    "remove": lambda ti, now: transitions.remove([ti.pk], now),
    "restore": lambda ti, now: transitions.restore([ti.pk], now),
    "restart": lambda ti, now: transitions.restart({ti.pk: 2}, now),
    "clear": lambda ti, now: transitions.clear({ti.pk: 2}, now),
    "mark_success": lambda ti, now: transitions.mark([ti.pk], TaskState.SUCCESS, now),
    "mark_failed": lambda ti, now: transitions.mark([ti.pk], TaskState.FAILED, now),
    "mark_skipped": lambda ti, now: transitions.mark([ti.pk], TaskState.SKIPPED, now),
}
HAS_TRY = {"queued": "queued", "running": "running", "restarting": "fenced", "deferred": "parked", "awaiting_input": "parked",
           "up_for_reschedule": "parked", "success": "success", "failed": "failed"}  # fmt: skip
"""Task state → state of its current try; the other states have none."""
LEGAL = sorted((verb, state) for verb, rule in TASK_TRANSITIONS.items() for state in rule.sources)
ILLEGAL = sorted((verb, str(state)) for verb, rule in TASK_TRANSITIONS.items() for state in TaskState if state not in rule.sources)


@pytest.fixture
def of(request: pytest.FixtureRequest) -> Run:
    """A run of one task."""
    return support.run(support.dag(support.chain("a")), begin=False)


def _in(of: Run, state: str) -> TaskInstance:
    """Its task instance, put into a state with the try that goes with it."""
    ti = support.ti(of, "a")
    ti.state, ti.try_number, ti.max_tries = state, 1 if state != "none" else 0, 0
    ti.save()
    if (try_state := HAS_TRY.get(state)) is not None:
        Try.objects.create(id=ti.try_id, ti=ti, number=1, state=try_state, start_date=sql.now(), kill_confirmed=state != "restarting")
    return ti


def test_every_verb_of_the_table_has_a_function_that_is_tested_here() -> None:
    assert set(VERBS) == set(TASK_TRANSITIONS)


@pytest.mark.parametrize(("verb", "state"), LEGAL)
def test_a_verb_moves_from_each_of_its_states_and_writes_one_event(of: Run, verb: str, state: str) -> None:
    ti = _in(of, state)
    Event.objects.all().delete()
    with transaction.atomic():
        changed = VERBS[verb](ti, sql.now())
    assert len(changed) == 1
    after = support.ti(of, "a")
    assert after.state == TASK_TRANSITIONS[verb].target
    (event,) = Event.objects.all()
    assert (event.kind, event.verb, event.run_pk, event.run_id, event.dag_id) == ("task", verb, of.pk, of.run_id, "orders")
    assert event.payload == {"state": after.state, "tis": [[ti.pk, "a", -1, after.try_number]]}
    if isinstance(changed[0], Changed):
        assert (changed[0].pk, changed[0].run_pk, changed[0].try_id) == (ti.pk, of.pk, after.try_id)
    # no try is left that nobody will ever end
    open_tries = {t.id for t in support.tries(ti) if t.state in (TryState.QUEUED, TryState.RUNNING)}
    assert open_tries == ({after.try_id} if after.state in ("queued", "running") or verb == "unqueue" else set())


@pytest.mark.parametrize(("verb", "state"), ILLEGAL)
def test_a_verb_changes_nothing_from_any_other_state(of: Run, verb: str, state: str) -> None:
    ti = _in(of, state)
    Event.objects.all().delete()
    before = TaskInstance.objects.filter(pk=ti.pk).values().get()
    with transaction.atomic():
        assert VERBS[verb](ti, sql.now()) == []
    assert TaskInstance.objects.filter(pk=ti.pk).values().get() == before
    assert not Event.objects.exists()


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_of_two_that_want_the_same_move_the_second_gets_nothing(of: Run, verb: str) -> None:
    rule = TASK_TRANSITIONS[verb]
    ti = _in(of, min(rule.sources - {rule.target}))
    with transaction.atomic():
        assert len(VERBS[verb](ti, sql.now())) == 1
    before = TaskInstance.objects.filter(pk=ti.pk).values().get()
    Event.objects.all().delete()
    if rule.target not in rule.sources:
        with transaction.atomic():
            assert VERBS[verb](ti, sql.now()) == []
        assert TaskInstance.objects.filter(pk=ti.pk).values().get() == before
        assert not Event.objects.exists()


def test_a_batch_moves_those_that_can_and_says_so_per_run() -> None:
    one, other = (
        support.run(support.dag(support.chain("a", "b"), "one"), begin=False),
        support.run(support.dag(support.chain("a"), "other"), begin=False),
    )
    pks = list(TaskInstance.objects.order_by("id").values_list("pk", flat=True))
    TaskInstance.objects.filter(run=one, task_id="b").update(state="success")
    changed = transitions.schedule(pks, sql.now())
    assert {(c.run_pk, c.task_id, c.try_number) for c in changed} == {(one.pk, "a", 1), (other.pk, "a", 1)}
    assert sorted(e.run_pk for e in support.events("schedule")) == sorted([one.pk, other.pk])


# --- tries --------------------------------------------------------------------------------------------------------------
def test_tries_are_numbered_without_gaps_over_retries_and_clears(of: Run) -> None:
    now = sql.now()
    ids = set()
    for number in (1, 2, 3):
        ti = support.ti(of, "a")
        transitions.schedule([ti.pk], now)
        transitions.admit([ti.pk], now)
        ids.add(support.ti(of, "a").try_id)
        assert transitions.start(worker=None, epoch=0, hostname="h", executor="local", queues=["default"], hashes=["x"], now=now)
        ti = support.ti(of, "a")
        assert (ti.try_number, ti.state) == (number, "running")
        if number == 2:
            transitions.fail([End(ti.pk, ti.try_id, error="x")], now)
            transitions.clear({ti.pk: 0}, now)
        else:
            transitions.retry([End(ti.pk, ti.try_id, error="x", next_at=now)], now)
    assert [t.number for t in support.tries(ti)] == [1, 2, 3]
    assert {t.id for t in support.tries(ti)} == ids and len(ids) == 3
    assert {t.state for t in support.tries(ti)} == {"failed"}


def test_a_lost_try_gives_the_retry_back_and_counts_apart(of: Run) -> None:
    ti = _in(of, "running")
    transitions.retry([End(ti.pk, ti.try_id, lost=True, next_at=sql.now(), error="gone")], sql.now())
    after = support.ti(of, "a")
    assert (after.max_tries, after.infra_failures, after.reason_code) == (1, 1, "lost")
    assert support.tries(ti)[0].state == "lost"


@pytest.mark.parametrize("verb", ["reschedule", "defer", "await_input"])
def test_a_parked_try_goes_on_as_the_same_try(of: Run, verb: str) -> None:
    ti, now = _in(of, "running"), sql.now()
    VERBS[verb](ti, now)
    (parked,) = support.tries(ti)
    assert (parked.state, parked.end_date) == ("parked", None)
    transitions.schedule([ti.pk], now)
    transitions.admit([ti.pk], now)
    (queued,) = support.tries(ti)
    assert (queued.id, queued.number, queued.state) == (ti.try_id, 1, "queued")
    assert support.ti(of, "a").try_number == 1


@pytest.mark.parametrize("verb", ["mark_success", "mark_failed", "mark_skipped", "restart"])
def test_ending_a_running_task_fences_its_try_until_the_kill_is_confirmed(of: Run, verb: str) -> None:
    ti = _in(of, "running")
    VERBS[verb](ti, sql.now())
    (fenced,) = support.tries(ti)
    assert (fenced.state, fenced.kill_confirmed) == ("fenced", False)


@pytest.mark.parametrize("verb", ["skip", "clear", "mark_failed", "remove"])
def test_ending_a_queued_task_leaves_nothing_to_kill(of: Run, verb: str) -> None:
    ti = _in(of, "queued")
    VERBS[verb](ti, sql.now())
    (fenced,) = support.tries(ti)
    assert (fenced.state, fenced.kill_confirmed) == ("fenced", True)


def test_a_try_that_was_ended_is_not_ended_again(of: Run) -> None:
    ti, now = _in(of, "running"), sql.now()
    transitions.mark([ti.pk], TaskState.FAILED, now)
    transitions.succeed(_ends(ti, now), now)
    assert support.tries(ti)[0].state == "fenced" and support.ti(of, "a").state == "failed"


def test_the_try_keeps_what_the_task_instance_said_when_it_ended(of: Run) -> None:
    ti, now = _in(of, "running"), sql.now()
    TaskInstance.objects.filter(pk=ti.pk).update(pool="a_pool", hostname="box")
    transitions.fail([End(ti.pk, ti.try_id, error="it broke", exit_code=3, duration=1.5)], now)
    (ended,) = support.tries(ti)
    assert (ended.error, ended.exit_code, ended.duration, ended.snapshot["pool"], ended.snapshot["hostname"]) == (
        "it broke",
        3,
        1.5,
        "a_pool",
        "box",
    )


# --- runs ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("state", list(RunState))
@pytest.mark.parametrize("verb", sorted(RUN_TRANSITIONS))
def test_a_run_moves_along_the_table_and_nowhere_else(of: Run, verb: str, state: str) -> None:
    now = sql.now()
    Run.objects.filter(pk=of.pk).update(state=state, end_date=now)
    Event.objects.all().delete()
    rule = RUN_TRANSITIONS[verb]
    moved = transitions.move_run(verb, [of.pk], now)
    legal = state in rule.sources
    assert moved == ([of.pk] if legal else [])
    assert support.state(of) == (rule.target if legal else state)
    assert [e.payload["state"] for e in support.events(verb, "run")] == ([rule.target] if legal else [])


# --- what the database enforces -------------------------------------------------------------------------------------------
def _refused(change: Callable[[], Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        change()


def test_the_database_refuses_what_the_code_believes_impossible(of: Run) -> None:
    ti = support.ti(of, "a")
    _refused(lambda: TaskInstance.objects.filter(pk=ti.pk).update(state="almost"))
    _refused(lambda: TaskInstance.objects.filter(pk=ti.pk).update(pool_slots=0))
    _refused(lambda: TaskInstance.objects.create(run=of, dag_id="orders", task_id="a"))
    _refused(lambda: TaskInstance.objects.create(run=of, dag_id="orders", task_id="b", try_id=ti.try_id))
    _refused(lambda: Run.objects.filter(pk=of.pk).update(state="paused"))
    _refused(lambda: Run.objects.filter(pk=of.pk).update(state="success", end_date=None))
    _refused(lambda: Run.objects.create(dag_id="orders", run_id=of.run_id, run_type="manual"))
    Try.objects.create(id=ti.try_id, ti=ti, number=1)
    _refused(lambda: Try.objects.create(id=uuid.uuid4(), ti=ti, number=1))
    _refused(lambda: Try.objects.create(id=uuid.uuid4(), ti=ti, number=2, state="waiting"))


def test_a_dag_has_one_run_per_logical_date() -> None:
    made = support.run(support.dag(support.chain("a")), day=1, begin=False)
    _refused(lambda: Run.objects.create(dag_id="orders", run_id="other", run_type="manual", logical_date=made.logical_date))
