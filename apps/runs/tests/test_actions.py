"""What people do to the ledger: trigger, clear, mark, delete; which instances an action means, and what it leaves behind."""

from __future__ import annotations

from typing import Any

import pytest

from apps.access.models import AuditEvent
from apps.runs import sql, transitions
from apps.runs.actions import clearing, creation, deletion, marking
from apps.runs.errors import ActionRefused, Conflict, Invalid, NotFound
from apps.runs.models import Event, Run, TaskInstance, Try, XCom
from apps.runs.tests import support
from apps.runs.tests.support import ACTOR, Worker, woken  # noqa: F401
from trackside.core.spec import DagSpec

pytestmark = pytest.mark.django_db


def _clear(*runs: Run, **options: Any) -> list[str]:
    found = clearing.clear(clearing.ClearRequest("orders", run_pks=[r.pk for r in runs] or None, **options), actor=ACTOR)
    return sorted(_label(ti) for ti in found)


def _label(ti: TaskInstance) -> str:
    day = ti.run.logical_date.day if ti.run.logical_date else 0
    return f"{day}:{ti.task_id}" + (f"[{ti.map_index}]" if ti.map_index >= 0 else "")


@pytest.fixture
def days() -> list[Run]:
    """Three finished runs of a → b → c, the first three days of January; c failed on the second."""
    support.dag(support.chain("a", "b", "c", retries=1))
    runs = [support.run("orders", day=d) for d in (1, 2, 3)]
    second = runs[1].run_id
    Worker().work(lambda o: {"outcome": "failed_no_retry"} if (o["task_id"], o["run"]["run_id"]) == ("c", second) else {})
    assert [support.state(r) for r in runs] == ["success", "failed", "success"]
    return runs


# --- clear: which ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["2:a", "2:b", "2:c"]),
        ({"task_ids": ["b"]}, ["2:b"]),
        ({"task_ids": ["b"], "upstream": True}, ["2:a", "2:b"]),
        ({"task_ids": ["b"], "downstream": True}, ["2:b", "2:c"]),
        ({"task_ids": ["b"], "future": True}, ["2:b", "3:b"]),
        ({"task_ids": ["b"], "past": True}, ["1:b", "2:b"]),
        ({"task_ids": ["b"], "past": True, "future": True}, ["1:b", "2:b", "3:b"]),
        ({"only_failed": True}, ["2:c"]),
        ({"only_failed": True, "past": True, "future": True}, ["2:c"]),
        ({"only_running": True}, []),
        ({"task_ids": []}, []),
        ({"task_ids": ["nothing"]}, []),
    ],
    ids=str,
)
def test_clear_touches_what_its_preview_shows(days: list[Run], options: dict[str, Any], expected: list[str]) -> None:
    request = clearing.ClearRequest("orders", run_pks=[days[1].pk], **options)
    assert sorted(_label(ti) for ti in clearing.preview(request)) == expected
    assert set(TaskInstance.objects.values_list("state", flat=True)) == {"success", "failed"}, "a preview changes nothing"
    assert _clear(days[1], **options) == expected
    assert sorted(_label(ti) for ti in TaskInstance.objects.filter(state="none").select_related("run")) == expected


def test_a_range_of_dates_chooses_runs(days: list[Run]) -> None:
    assert _clear(task_ids=["a"], start_date=days[1].logical_date, end_date=days[2].logical_date) == ["2:a", "3:a"]


def test_past_and_future_need_a_logical_date() -> None:
    of = support.run(support.dag(support.chain("a")))
    with pytest.raises(ActionRefused, match="logical_date"):
        _clear(of, future=True)


def test_a_single_map_index_is_cleared_alone() -> None:
    tasks = [support.task("m", "z", mapped=True, expand={"kind": "dict", "value": {"x": [1, 2, 3]}}), support.task("z")]
    of = support.run(support.dag(tasks))
    Worker().work()
    assert _clear(of, task_ids=[("m", 1)]) == ["0:m[1]"]
    Worker().work()
    support.tick()
    assert Worker().work() == 1
    assert (support.state(of), [support.ti(of, "m", i).try_number for i in range(3)]) == ("success", [1, 2, 1])


def test_clear_of_an_unknown_dag_is_not_found() -> None:
    with pytest.raises(NotFound):
        clearing.clear(clearing.ClearRequest("nobody"), actor=ACTOR)


# --- clear: what happens ------------------------------------------------------------------------------------------------------
def test_a_cleared_run_runs_again_with_new_tries_and_its_retries(days: list[Run]) -> None:
    second = days[1]
    _clear(second, only_failed=True)
    row = Run.objects.get(pk=second.pk)
    assert (row.state, row.clear_number, row.end_date) == ("queued", 1, None)
    cleared = support.ti(second, "c")
    assert (cleared.state, cleared.try_number, cleared.max_tries, cleared.reason) == ("none", 1, 2, None)
    support.tick()
    worker = Worker()
    order = worker.take()["c"]
    assert (order["try_number"], order["max_tries"]) == (2, 2)
    worker.finish(order, "failed", error="x")
    assert support.ti(second, "c").state == "up_for_retry", "the retry counts from the clear on"
    assert [t.number for t in support.tries(cleared)] == [1, 2]
    assert AuditEvent.objects.filter(action="clear_task_instances").count() == 1


def test_only_what_is_new_in_the_dag_is_added_to_a_run_and_run() -> None:
    row = support.dag(support.chain("a"))
    of = support.run(row)
    Worker().do(of, "a")
    assert support.state(of) == "success"
    spec = DagSpec(dag_id="orders", tasks=support.chain("a", "b"), root_children=["a", "b"])
    support.new_version(row, spec, 2)
    of.refresh_from_db()
    assert [ti.task_id for ti in clearing.clear_run(of, only_new=True, dry_run=True, actor=ACTOR)] == ["b"]
    assert support.states(of) == {"a": "success"}
    clearing.clear_run(of, only_new=True, actor=ACTOR)
    support.tick()
    assert support.states(of) == {"a": "success", "b": "queued"} and support.ti(of, "a").try_number == 1


def test_clear_can_leave_the_run_as_it_is(days: list[Run]) -> None:
    _clear(days[1], reset_dag_runs=False)
    assert support.state(days[1]) == "failed"
    support.tick()
    assert support.states(days[1]) == {"a": "none", "b": "none", "c": "none"}


def test_a_task_cleared_in_a_running_run_is_planned_again_at_once() -> None:
    of = support.run(support.dag(support.chain("a", "b")))
    worker = Worker()
    worker.do(of, "a")
    _clear(of, task_ids=["a"])
    assert support.state(of) == "running"
    support.tick()
    assert support.states(of) == {"a": "queued", "b": "queued"}
    worker.work()
    assert support.state(of) == "success"


def test_a_clear_can_refuse_while_something_runs() -> None:
    of = support.run(support.dag(support.chain("a")))
    worker = Worker()
    worker.take()
    with pytest.raises(Conflict, match="is running"):
        _clear(of, prevent_running_task=True)
    assert support.states(of) == {"a": "running"} and worker.work() == 1


@pytest.mark.parametrize("parked", ["rescheduled", "deferred", "awaiting_input"])
def test_a_parked_task_that_is_cleared_starts_from_its_beginning(parked: str) -> None:
    of, worker = support.run(support.dag(support.chain("a"))), Worker()
    first = worker.take()["a"]
    worker.finish(
        first,
        parked,
        reschedule_at="2030-01-01T00:00:00+00:00",
        deferral={"classpath": "x.Y", "next_method": "go", "next_kwargs": {"n": 1}},
    )
    _clear(of)
    ti = support.ti(of, "a")
    assert (ti.state, ti.next_at, ti.next_method, ti.next_kwargs, ti.reschedules) == ("none", None, None, None, 0)
    support.tick()
    again = worker.take()["a"]
    assert (again["try_number"], again["next_method"], again["reschedule_count"]) == (2, None, 0)
    assert [t.state for t in support.tries(ti)] == ["fenced", "running"]


def test_setups_and_teardowns_are_cleared_with_the_work_between_them() -> None:
    tasks = [
        support.task("up", "work", "down", is_setup=True),
        support.task("work", "down"),
        support.task("down", is_teardown=True),
        support.task("apart"),
    ]
    of = support.run(support.dag(tasks))
    Worker().work()
    assert _clear(of, task_ids=["work"]) == ["0:down", "0:up", "0:work"]


def test_a_clear_follows_what_the_task_says_now() -> None:
    made = support.dag(support.chain("a"))
    of = support.run("orders")
    Worker().work()
    spec = made.current_version.spec | {"tasks": [support.task("a", retries=4, priority_weight=7, queue="gpu").to_dict()]}  # type: ignore[union-attr]
    support.new_version(made, DagSpec.from_dict(spec), 2)
    Run.objects.filter(pk=of.pk).update(dag_version=made.current_version)
    _clear(of)
    ti = support.ti(of, "a")
    assert (ti.queue, ti.priority_weight, ti.max_tries) == ("gpu", 7, 5)


# --- mark -----------------------------------------------------------------------------------------------------------------------
def _mark(of: Run, task_ids: list[Any], state: str, **options: Any) -> list[str]:
    return sorted(_label(ti) for ti in marking.mark(marking.MarkRequest(of, task_ids, state, **options), actor=ACTOR))


def test_marking_success_lets_what_failed_below_be_decided_anew() -> None:
    tasks = [support.task("a", "b", "side"), support.task("b", "c"), support.task("c"), support.task("side")]
    of, worker = support.run(support.dag(tasks)), Worker()
    worker.work(lambda o: {"outcome": "failed" if o["task_id"] == "a" else "success"})
    assert support.states(of) == {"a": "failed", "b": "upstream_failed", "c": "upstream_failed", "side": "upstream_failed"}
    assert _mark(of, ["a"], "success") == ["0:a"]
    assert support.states(of) == {"a": "success", "b": "none", "c": "none", "side": "none"} and support.state(of) == "queued"
    support.tick()
    worker.work()
    assert support.state(of) == "success" and support.ti(of, "a").try_number == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["2:b"]),
        ({"upstream": True}, ["2:a", "2:b"]),
        ({"downstream": True}, ["2:b"]),
        ({"past": True}, ["1:b", "2:b"]),
        ({"future": True}, ["2:b", "3:b"]),
    ],
    ids=str,
)
def test_mark_means_relatives_and_other_runs_if_asked(days: list[Run], options: dict[str, Any], expected: list[str]) -> None:
    assert _mark(days[1], ["b"], "failed", **options) == expected  # c of the second day is failed already
    assert (
        sorted(_label(ti) for ti in TaskInstance.objects.filter(task_id__in=("a", "b"), state="failed").select_related("run")) == expected
    )


def test_marking_what_carries_the_mark_changes_nothing(days: list[Run]) -> None:
    before = Event.objects.count()
    assert _mark(days[0], ["a"], "success") == []
    assert Event.objects.count() == before


def test_a_mark_on_a_queued_task_is_never_started() -> None:
    of = support.run(support.dag(support.chain("a", "b")))
    _mark(of, ["a"], "success")
    support.tick()
    assert set(Worker().take()) == {"b"}


def test_only_states_of_the_end_can_be_set_by_hand(days: list[Run]) -> None:
    for state in ("running", "none", "removed", ""):
        with pytest.raises(Invalid):
            _mark(days[0], ["a"], state)


@pytest.mark.parametrize(("state", "running"), [("success", "success"), ("failed", "failed")])
def test_marking_a_run_ends_its_tasks(state: str, running: str) -> None:
    of, worker = support.run(support.dag([support.task("a", "b"), support.task("b"), support.task("done")])), Worker()
    worker.do(of, "done")
    worker.take()
    assert {ti.task_id for ti in marking.preview_run(of, state)} == {"a", "b"}
    marking.mark_run(of, state, actor=ACTOR, note="by hand")
    assert support.states(of) == {"a": running, "b": "skipped", "done": "success"}
    assert (support.state(of), Run.objects.get().note, Run.objects.get().note_user) == (state, "by hand", "mara")
    worker.exchange()
    assert len(worker.told_to_kill) == 1
    support.tick(2)
    assert support.state(of) == state


def test_a_finished_run_marked_queued_ends_again_without_running_anything(days: list[Run]) -> None:
    marking.mark_run(days[0], "queued", actor=ACTOR)
    assert support.state(days[0]) == "queued"
    support.tick()
    assert support.state(days[0]) == "success" and Worker().take() == {}


def test_a_run_cannot_be_marked_running(days: list[Run]) -> None:
    with pytest.raises(Invalid):
        marking.mark_run(days[0], "running", actor=ACTOR)


# --- trigger ----------------------------------------------------------------------------------------------------------------------
PARAMS = {
    "n": {"value": 5, "schema": {"type": "integer", "minimum": 1}},
    "must": {"schema": {"type": "string"}},
}


@pytest.mark.parametrize(
    ("conf", "field"),
    [({}, "conf.must"), ({"must": 1}, "conf.must"), ({"must": "x", "n": 0}, "conf.n"), ({"must": "x", "n": "1"}, "conf.n")],
    ids=str,
)
def test_conf_that_does_not_fit_the_params_is_refused_at_its_field(conf: dict[str, Any], field: str) -> None:
    support.dag(support.chain("a"), params=PARAMS)
    with pytest.raises(ActionRefused) as refused:
        support.run("orders", conf=conf)
    assert (refused.value.status, refused.value.field) == (400, field)
    assert not Run.objects.exists() and not Event.objects.filter(kind="run").exists()


def test_conf_over_defaults_makes_a_run_and_others_keys_may_be_there() -> None:
    support.dag(support.chain("a"), params=PARAMS)
    of = support.run("orders", conf={"must": "x", "more": [1]})
    assert of.conf == {"must": "x", "more": [1]} and Worker().take()["a"]["run"]["conf"] == of.conf


def test_a_run_id_or_logical_date_is_taken_once(days: list[Run]) -> None:
    for arguments in ({"run_id": days[0].run_id}, {"day": 1}):
        with pytest.raises(Conflict):
            support.run("orders", begin=False, **arguments)
    assert Run.objects.count() == 3


def test_a_dag_that_cannot_run_is_refused() -> None:
    with pytest.raises(NotFound):
        support.run("nobody")
    made = support.dag(support.chain("a"))
    for column in ("has_import_errors", "is_stale"):
        type(made).objects.update(has_import_errors=False, is_stale=False)
        type(made).objects.update(**{column: True})
        with pytest.raises(ActionRefused) as refused:
            support.run("orders")
        assert refused.value.status == 400


def test_tasks_outside_their_dates_take_no_part() -> None:
    tasks = [
        support.task("early", end_date="2026-01-01T00:00:00+00:00"),
        support.task("late", start_date="2026-01-03T00:00:00+00:00"),
        support.task("ever"),
    ]
    support.dag(tasks)
    assert set(support.states(support.run("orders", day=2))) == {"ever"}


# --- delete -------------------------------------------------------------------------------------------------------------------------
def test_a_running_run_is_not_deleted_and_a_finished_one_goes_with_everything(days: list[Run]) -> None:
    running = support.run("orders")
    with pytest.raises(Conflict):
        deletion.delete_run(running, actor=ACTOR)
    XCom.objects.create(run=days[0], dag_id="orders", task_id="a", key="k", value="1")
    deletion.delete_run(days[0], actor=ACTOR)
    assert not Run.objects.filter(pk=days[0].pk).exists() and not XCom.objects.exists()
    assert not Try.objects.filter(ti__run_id=days[0].pk).exists()
    assert support.events("delete", "run")[0].run_id == days[0].run_id


def test_a_dag_is_not_deleted_while_its_tasks_run(days: list[Run]) -> None:
    support.run("orders")
    worker = Worker()
    worker.take()
    dag = days[0].dag
    with pytest.raises(Conflict):
        deletion.delete_dag(dag, actor=ACTOR)
    worker.work()
    deletion.delete_dag(dag, actor=ACTOR)
    assert not Run.objects.exists() and not TaskInstance.objects.exists() and not Try.objects.exists()


def test_a_task_instance_that_holds_a_slot_is_not_deleted(days: list[Run]) -> None:
    running = support.run("orders")
    with pytest.raises(Conflict):
        deletion.delete_task_instance(support.ti(running, "a"), actor=ACTOR)
    deletion.delete_task_instance(support.ti(days[0], "a"), actor=ACTOR)
    assert set(support.states(days[0])) == {"b", "c"}


# --- who --------------------------------------------------------------------------------------------------------------------------------
def test_every_action_leaves_its_audit_row_and_a_refused_one_none(days: list[Run]) -> None:
    earlier = set(AuditEvent.objects.values_list("pk", flat=True))
    _clear(days[0])
    _mark(days[1], ["b"], "failed")
    marking.mark_run(days[2], "failed", actor=ACTOR)
    with pytest.raises(ActionRefused):
        creation.trigger("orders", actor=ACTOR, run_id=days[0].run_id)
    found = list(AuditEvent.objects.exclude(pk__in=earlier).order_by("id").values_list("action", flat=True))
    assert found == ["clear_task_instances", "patch_task_instance", "patch_dag_run"]


def test_marks_of_a_planner_and_of_people_meet_in_one_verb() -> None:
    """A mark that comes after the end loses: the state is terminal for machines, not for people."""
    of, worker = support.run(support.dag(support.chain("a"))), Worker()
    worker.work()
    assert transitions.skip([support.ti(of, "a").pk], sql.now()) == []
    assert _mark(of, ["a"], "skipped") == ["0:a"]


@pytest.mark.parametrize("state", ["success", "failed"])
def test_a_marked_run_goes_on_until_its_teardowns_have_ended_and_then_has_its_mark(state: str) -> None:
    tasks = [support.task("up", "work", "down", is_setup=True), support.task("work", "down", "after"), support.task("after")]
    of = support.run(support.dag([*tasks, support.task("down", is_teardown=True, trigger_rule="all_done_setup_success")]))
    worker = Worker()
    worker.do(of, "up")
    worker.take()  # work runs
    marking.mark_run(of, state, actor=ACTOR)
    assert support.state(of) == "running"
    assert support.states(of) == {"up": "success", "work": state, "after": "skipped", "down": "none"}
    worker.exchange()
    assert len(worker.told_to_kill) == 1
    support.tick(2)
    worker.do(of, "down")
    support.tick()
    assert (support.states(of)["down"], support.state(of)) == ("success", state)
