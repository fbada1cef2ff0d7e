"""Home's answer to "what needs me": what fails or is stuck, by cause, over all DAGs."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from apps.access.models import User
from apps.runs.models import Run, TaskInstance
from apps.ui.queries import causes, lanes
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db
NOW = now()


def found(user: User | None = None) -> causes.Causes:
    user = user or User.objects.filter(is_superuser=True).first() or factories.user()
    return causes.causes(lanes.look(user, NOW).values(), NOW)


def failing(name: str, error: str, *, state: str = "failed", task: str = "load") -> Run:
    run = factories.run(factories.dag(name), state=state, at=NOW - timedelta(hours=1), states={task: "failed"})
    TaskInstance.objects.filter(run=run, task_id=task).update(reason=error, reason_code="failed")
    return run


def waiting(name: str, code: str, text: str, *, state: str = "scheduled", minutes: int = 30, pool: str = "etl") -> Run:
    run = factories.run(factories.dag(name), state="running", at=NOW - timedelta(hours=1), states={"load": state, "check": state})
    since = NOW - timedelta(minutes=minutes)
    TaskInstance.objects.filter(run=run, state=state).update(reason=text, reason_code=code, pool=pool, reason_since=since, end_date=None)
    return run


def test_tasks_of_all_dags_that_failed_with_the_same_line_are_one_cause() -> None:
    for k, row in enumerate((7, 1234, 99)):
        failing(f"row{k}", f"ValueError: row {row} of order 0x7f3ab2c4d5e6 has no key\nmore of it")
    failing("postgres", "OperationalError: refused by 10.4.2.17 port 5432")
    failing("redis", "OperationalError: refused by 10.4.2.17 port 6379")
    first, *others = found().shown
    assert (first.count, first.more, len(first.examples)) == ("3 tasks of 3 DAGs", 0, 3)
    assert re.match(r"ValueError: row \d+ of", first.sentence)
    assert sorted(c.examples[0].dag_id for c in others) == ["postgres", "redis"] and all(c.single for c in others), "a port is no row"
    assert found().failing == 5


def test_a_run_that_goes_on_with_a_failed_task_needs_attention_and_paused_dags_do_not(client: Client) -> None:
    going = failing("going", "KeyError: 'a'", state="running")
    asleep = failing("asleep", "KeyError: 'a'")
    asleep.dag.is_paused = True
    asleep.dag.save()
    factories.run(factories.dag("fine"), states={})
    old = failing("mended", "KeyError: 'a'")
    factories.run(old.dag, at=NOW)
    client.force_login(factories.user())
    page = client.get(reverse("home")).content.decode()
    assert "1 DAG fails" in page and "Nothing fails" not in page
    part = page.split('id="h-inc"')[1].split("</section>")[0]
    assert reverse("task", args=["going", going.run_id, "load"]) in part and reverse("run_clear", args=["going", going.run_id]) in part
    assert not {"asleep", "mended", "fine"} & set(re.findall(r"/dags/(\w+)", part))


def test_a_run_that_failed_without_a_failed_task_says_its_own_reason() -> None:
    run = factories.run(factories.dag(), state="failed", reason="No task of this run can ever run.")
    (one,) = found().shown
    assert (one.sentence, one.count) == ("No task of this run can ever run.", "1 run of 1 DAG")
    assert one.examples[0].href == reverse("run", args=["orders", run.run_id])


def test_what_waits_for_room_for_long_or_for_a_person_is_stuck_and_told_with_its_pool() -> None:
    for k in range(3):
        waiting(f"d{k}", "pool_full", f"Pool etl is full ({k} of 8 slots taken). It goes on when a task there ends.", minutes=6 + k)
    waiting("other", "pool_full", "Pool gpu is full (1 of 1 slots taken). It goes on when a task there ends.", pool="gpu")
    waiting("new", "pool_full", "Pool new is full (1 of 1 slots taken). It goes on when a task there ends.", pool="new", minutes=1)
    waiting("lost", "no_worker", "No worker serves queue q. Start one: trackside worker --queues q", state="queued", minutes=0)
    waiting("asks", "input", "Waits for a person's answer to: Go?", state="awaiting_input", minutes=0)
    waiting("normal", "upstream", "Waits for extract to finish.")
    told = {c.examples[0].dag_id[:1]: c for c in found().shown}
    assert sorted(told) == ["a", "d", "l", "o"] and (found().stuck, found().asking) == (10, 2)
    etl = found().shown[0]
    assert (etl.count, etl.state, etl.everything) == ("6 tasks of 3 DAGs", "scheduled", "/tasks?state=scheduled&pool=etl")
    assert etl.sentence.startswith("Pool etl is full") and etl.oldest == NOW - timedelta(minutes=8)
    assert told["a"].everything == reverse("required_actions")


def test_a_cause_of_several_dags_is_cleared_together_as_previewed(client: Client) -> None:
    for k in range(3):
        failing(f"d{k}", "KeyError: 'a'")
    client.force_login(factories.user())
    page = client.get(reverse("home")).content.decode()
    form = page.split(f'action="{reverse("dags_bulk")}"')[1].split("</form>")[0]
    names = re.findall(r'name="dag" value="(\w+)"', form)
    assert sorted(names) == ["d0", "d1", "d2"]
    assert "Clear 3 failed tasks of 3 DAGs" in client.post(reverse("dags_bulk"), {"dag": names, "do": "clear"}).content.decode()
    failing("more", "KeyError: 'a'", state="running")
    assert not found().shown[0].clearable, "the running one is not the newest failed run that the list's action clears"


def test_nobody_learns_of_dags_that_are_not_theirs() -> None:
    failing("secret", "KeyError: 'a'")
    waiting("hidden", "pool_missing", "Pool etl does not exist.")
    guest = User.objects.create_user("guest")
    guest.groups.add(Group.objects.create(name="Nobody"))
    seen = found(guest)
    assert (seen.shown, seen.failing, seen.stuck, seen.asking, seen.more) == ([], 0, 0, 0, 0)


def test_it_is_one_statement_and_a_bounded_list_for_any_number_of_causes(monkeypatch: pytest.MonkeyPatch) -> None:
    user = factories.user()
    failing("first", "KeyError: 'a'")
    known = lanes.look(user, NOW)
    with CaptureQueriesContext(connection) as few:
        causes.causes(known.values(), NOW)
    monkeypatch.setattr(causes, "SHOWN", 4)
    for k in range(9):
        failing(f"d{k}", f"Error{'abcdefghi'[k]}: it")
    known = lanes.look(user, NOW)
    with CaptureQueriesContext(connection) as many:
        told = causes.causes(known.values(), NOW)
    assert len(few) == len(many) == 1
    assert (len(told.shown), told.more, told.failing) == (4, 6, 10)
