"""Deferred tasks: what their triggers find lets them go on once, whoever dies meanwhile. Real children run the triggers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from apps.access.tests.resthelp import Api
from apps.runs import logs, processes, sql
from apps.runs.actions import clearing, marking
from apps.runs.metrics import health
from apps.runs.models import Run, TaskInstance, Trigger, XCom
from apps.runs.tests.support import ACTOR, Worker, chain, dag, events, later, pool, reason, run, state, states, task, ti, tick, tries, woken  # noqa: F401  # fixture
from apps.runs.triggerer import firing, rows, timeouts
from apps.runs.triggerer.service import Triggerer

pytestmark = pytest.mark.django_db

TRIGGERS = '''
import asyncio, logging, os, pathlib, time
from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

class Base(BaseTrigger):
    def __init__(self, path="", gate="", what="", **kwargs):
        super().__init__()
        self.path, self.gate, self.what, self.kwargs = path, gate, what, kwargs
    def serialize(self):
        return f"waits.{type(self).__name__}", {"path": self.path, "gate": self.gate, "what": self.what, **self.kwargs}
    def note(self, word):
        with open(self.path, "a") as f:
            f.write(word + "\\n")

class Gate(Base):
    """Notes its start, fires when the gate is there."""
    async def run(self):
        self.note(f"start {os.getpid()}")
        while not os.path.exists(self.gate):
            await asyncio.sleep(0.02)
        yield TriggerEvent({"found": self.gate, "task": self.task_instance.task_id})
    async def on_kill(self):
        self.note("killed")
    async def cleanup(self):
        self.note("cleaned")

class Now(Base):
    async def run(self):
        yield TriggerEvent(self.what)

class Ends(Base):
    async def run(self):
        kinds = {"success": TaskSuccessEvent, "failed": TaskFailedEvent, "skipped": TaskSkippedEvent}
        yield kinds[self.what](xcoms={"answer": 42, "uri": "http://u:pass-word@h"})

class Bad(Base):
    async def run(self):
        if self.what == "raise":
            raise ValueError("no such luck")
        if self.what == "exit":
            raise SystemExit(3)
        if self.what == "crash":
            os._exit(7)
        if self.what == "never":
            yield TriggerEvent(1)

class Blocks(Base):
    async def run(self):
        if not os.path.exists(self.path):
            time.sleep(float(self.what))
        yield TriggerEvent("late")

class Talks(Base):
    async def run(self):
        print("printed words")
        logging.getLogger("my.trigger").warning("logged words")
        yield TriggerEvent(dict(os.environ))
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "waits.py").write_text(TRIGGERS)
    return tmp_path


@pytest.fixture
def make(folder: Path) -> Iterator[Callable[[], Triggerer]]:
    """Makes triggerers that this process plays, with children of their own."""
    made: list[Triggerer] = []

    def new(**options: Any) -> Triggerer:
        triggerer = Triggerer(dags_folder=str(folder), **options)
        triggerer.loop.process = processes.register("triggerer", lease=60)
        made.append(triggerer)
        return triggerer

    yield new
    for triggerer in made:
        triggerer.close()


def defer(classpath: str, kwargs: dict[str, Any] | None = None, *, timeout_s: float | None = None, **fields: Any) -> Run:
    """A run whose task `wait` has been deferred."""
    made = run(dag(chain("wait", "after"), **fields))
    deferral = {"classpath": classpath, "kwargs": kwargs or {}, "next_method": "go_on", "next_kwargs": {"n": 41}, "timeout_s": timeout_s}
    Worker().do(made, "wait", "deferred", deferral=deferral)
    assert states(made)["wait"] == "deferred"
    return made


def until(done: Callable[[], Any], *triggerers: Triggerer, seconds: float = 30) -> None:
    """Let the triggerers take steps until it is so."""
    give_up = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < give_up, "it did not happen"
        for triggerer in triggerers:
            triggerer.loop._woken.clear()
            triggerer.step()
        if triggerers:
            triggerers[0].loop._woken.wait(0.05)
        else:
            time.sleep(0.05)


def resumed(of: Run) -> bool:
    """Whether the deferred task left its state."""
    return states(of)["wait"] != "deferred"


def words(path: Path) -> list[str]:
    """What triggers noted."""
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def resumptions() -> int:
    """How often a deferred task was let go on."""
    return sum(instance[1] == "wait" for e in events("schedule") for instance in e.payload["tis"]) - 1


def log_of(of: Run) -> str:
    """The log of the deferred try."""
    return logs.read_bytes(ti(of, "wait").try_id).decode()


# --- the way of one deferral --------------------------------------------------------------------------------------------
def test_an_event_lets_the_same_try_go_on_with_it(make: Callable[..., Triggerer]) -> None:
    of = defer("waits.Now", {"what": "this"})
    before = ti(of, "wait")
    assert before.trigger_id == Trigger.objects.get().pk
    until(lambda: resumed(of), make())
    after = ti(of, "wait")
    assert (after.try_id, after.try_number, after.start_date) == (before.try_id, 1, before.start_date)
    assert (after.trigger_id, Trigger.objects.count()) == (None, 0)
    order = Worker().take()["wait"]
    assert (order["try_id"], order["next_method"]) == (str(before.try_id), "go_on")
    assert order["next_kwargs"] == {"n": 41, "event": "this"}


def test_arguments_are_stored_encrypted_and_shown_without_values(make: Callable[..., Triggerer]) -> None:
    of = defer("waits.Gate", {"what": "hunter2", "path": "/dev/null"})
    make().step()
    assert "hunter2" not in sql.rows("SELECT kwargs FROM runs_trigger")[0][0]
    shown = Api("Viewer").get(f"/dags/orders/dagRuns/{of.run_id}/taskInstances/wait")[1]
    assert shown["trigger"]["classpath"] == "waits.Gate"
    assert shown["trigger"]["kwargs"] == "{'what': '***', 'path': '***'}"
    assert shown["triggerer_job"]["state"] == "running"
    assert shown["trigger"]["triggerer_id"] == shown["triggerer_job"]["id"]


@pytest.mark.parametrize("end", ["success", "failed", "skipped"])
def test_a_trigger_may_end_its_task_without_a_worker(make: Callable[..., Triggerer], end: str) -> None:
    of = defer("waits.Ends", {"what": end})
    until(lambda: resumed(of), make())
    ended = ti(of, "wait")
    assert ended.state == end
    assert ended.end_date is not None and ended.try_number == 1
    assert [t.state for t in ended.tries.all()] == [end]
    assert XCom.objects.get(key="answer").value == "42"
    address = XCom.objects.get(key="uri")
    assert (address.value, address.shown) == ('"http://u:pass-word@h"', '"http://u:***@h"')
    assert states(of)["after"] == {"success": "queued", "failed": "upstream_failed", "skipped": "skipped"}[end]


def test_what_a_trigger_logs_and_prints_is_in_the_log_of_its_task_and_secrets_are_not_in_its_reach(make: Callable[..., Triggerer]) -> None:
    of = defer("waits.Talks")
    triggerer = make()
    until(lambda: resumed(of), triggerer)
    assert "logged words" in log_of(of)
    assert "printed words" in log_of(of)
    environment = (ti(of, "wait").next_kwargs or {})["event"]
    assert not {"DATABASE_URL", "TRACKSIDE_FERNET_KEYS", "TRACKSIDE_SECRET_KEY", "DJANGO_SETTINGS_MODULE"} & set(environment)


@pytest.mark.parametrize("end", ["success", "failed"])
def test_a_trigger_may_wait_for_a_run_of_another_dag(make: Callable[..., Triggerer], end: str) -> None:
    other = run(dag(chain("only"), "other"))
    kwargs = {"dag_id": "other", "states": ["success", "failed"], "run_ids": [other.run_id], "poll_interval": 0.05}
    of = defer("airflow.providers.standard.triggers.external_task.DagStateTrigger", kwargs)
    triggerer = make()
    until(lambda: triggerer.running, triggerer)
    assert states(of)["wait"] == "deferred"
    marking.mark_run(other, end, actor=ACTOR)
    until(lambda: resumed(of), triggerer)
    assert (ti(of, "wait").next_kwargs or {})["event"][1][other.run_id] == end


# --- what goes wrong ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("classpath", "what", "error"),
    [
        ("waits.Bad", "raise", "ValueError: no such luck"),
        ("waits.Bad", "exit", "SystemExit"),
        ("waits.Bad", "nothing", "ended without an event"),
        ("waits.Missing", "", "There is no trigger waits.Missing"),
        ("nowhere.at_all.Trigger", "", "There is no trigger nowhere.at_all.Trigger"),
        ("pathlib.Path", "", "is no trigger"),
        ("", "", "There is no trigger"),
    ],
)
def test_a_trigger_that_fails_lets_its_task_go_on_to_say_so(make: Callable[..., Triggerer], classpath: str, what: str, error: str) -> None:
    of = defer(classpath, {"what": what} if what else {})
    until(lambda: resumed(of), make())
    failed = ti(of, "wait")
    assert (failed.state, failed.next_method) in [("scheduled", "__fail__"), ("queued", "__fail__")]
    assert failed.next_kwargs is not None
    assert error in failed.next_kwargs["error"]
    assert "n" not in failed.next_kwargs


def test_a_wait_that_is_too_long_fails_without_any_triggerer() -> None:
    of = defer("waits.Gate", timeout_s=60)
    tick()
    assert states(of)["wait"] == "deferred"
    later(seconds=61)
    tick()
    late = ti(of, "wait")
    assert (late.next_method, late.next_kwargs, late.next_at) == ("__fail__", {"error": "Trigger timeout"}, None)
    assert Trigger.objects.count() == 0


def test_arguments_that_no_key_opens_fail_the_wait(make: Callable[..., Triggerer]) -> None:
    of = defer("waits.Now")
    sql.run("UPDATE runs_trigger SET kwargs = 'v1:broken'")
    until(lambda: resumed(of), make())
    assert "TRACKSIDE_FERNET_KEYS" in str(ti(of, "wait").next_kwargs)


def test_a_trigger_that_blocks_the_loop_is_named_with_its_line(make: Callable[..., Triggerer], folder: Path) -> None:
    of = defer("waits.Blocks", {"what": "1.5", "path": str(folder / "none")})
    until(lambda: resumed(of), make())
    assert "Blocks has blocked every trigger" in log_of(of)
    assert "waits.py:" in log_of(of)


# --- people -------------------------------------------------------------------------------------------------------------
def clear(of: Run) -> None:
    clearing.clear(clearing.ClearRequest("orders", run_pks=[of.pk], task_ids=["wait"]), actor=ACTOR)


def mark(of: Run) -> None:
    marking.mark(marking.MarkRequest(of, ["wait"], "success"), actor=ACTOR)


@pytest.mark.parametrize("act", [clear, mark])
def test_a_task_that_is_cleared_or_marked_kills_its_trigger(
    make: Callable[..., Triggerer], folder: Path, act: Callable[[Run], None]
) -> None:
    path = folder / "notes"
    of = defer("waits.Gate", {"path": str(path), "gate": str(folder / "gate")})
    triggerer = make()
    until(lambda: "start" in words(path), triggerer)
    stale = firing.Outcome(Trigger.objects.get().pk, "event", "too late")
    act(of)
    until(lambda: words(path) == ["start", "killed", "cleaned"], triggerer)
    assert Trigger.objects.count() == 0
    assert firing.apply([stale]) == 0
    assert ti(of, "wait").next_kwargs is None


def test_a_triggerer_that_stops_does_not_kill_what_waits(make: Callable[..., Triggerer], folder: Path) -> None:
    path = folder / "notes"
    of = defer("waits.Gate", {"path": str(path), "gate": str(folder / "gate")})
    triggerer = make()
    until(lambda: "start" in words(path), triggerer)
    triggerer.close()
    assert words(path) == ["start", "cleaned"]
    assert states(of)["wait"] == "deferred"


# --- why nothing happens ------------------------------------------------------------------------------------------------
def test_without_a_triggerer_the_task_says_what_to_start(make: Callable[..., Triggerer], folder: Path) -> None:
    of = defer("waits.Gate", {"path": str(folder / "notes"), "gate": str(folder / "gate")})
    assert reason(of, "wait") == "no_triggerer"
    assert "trackside triggerer" in (ti(of, "wait").reason or "")
    assert reason(of) == "no_triggerer"
    make().step()
    assert reason(of, "wait") == "trigger"
    sql.run("UPDATE runs_process SET lease_until = now() - interval '1 second'")
    sql.run("UPDATE runs_trigger SET created_at = now() - interval '1 minute'")
    tick()
    assert reason(of, "wait") == "no_triggerer"


def test_a_full_triggerer_takes_no_more_and_the_task_says_so(make: Callable[..., Triggerer], folder: Path) -> None:
    kwargs = {"path": str(folder / "notes"), "gate": str(folder / "gate")}
    first = defer("waits.Gate", kwargs, dag_id="first")
    second = defer("waits.Gate", kwargs, dag_id="second")
    triggerer = make(capacity=1)
    triggerer.step()
    sql.run("UPDATE runs_trigger SET created_at = now() - interval '1 minute'")
    tick()
    assert (reason(first, "wait"), reason(second, "wait")) == ("trigger", "triggerer_full")
    (folder / "gate").touch()
    until(lambda: resumed(first) and resumed(second), triggerer)


# --- once, whoever dies -------------------------------------------------------------------------------------------------
def test_a_trigger_that_two_triggerers_run_fires_once(make: Callable[..., Triggerer], folder: Path) -> None:
    path = folder / "notes"
    of = defer("waits.Gate", {"path": str(path), "gate": str(folder / "gate")})
    first, second = make(), make()
    until(lambda: words(path) == ["start"], first)
    sql.run("UPDATE runs_process SET lease_until = now() - interval '1 second' WHERE id = %s", [first.loop.process.pk])  # type: ignore[union-attr]
    until(lambda: words(path) == ["start", "start"], second)
    (folder / "gate").touch()
    until(lambda: words(path).count("cleaned") == 2)  # both have spoken, none was heard yet
    until(lambda: resumed(of), first, second)
    until(lambda: not first.running and not second.running, first, second)
    assert resumptions() == 1


def test_a_child_that_is_killed_starts_again_and_fires_once(make: Callable[..., Triggerer], folder: Path) -> None:
    path = folder / "notes"
    of = defer("waits.Gate", {"path": str(path), "gate": str(folder / "gate")})
    triggerer = make()
    until(lambda: words(path) == ["start"], triggerer)
    assert triggerer.child is not None
    os.kill(triggerer.child.pid, signal.SIGKILL)
    until(lambda: words(path) == ["start", "start"], triggerer)
    (folder / "gate").touch()
    until(lambda: resumed(of), triggerer)
    assert resumptions() == 1
    assert "it starts again" in log_of(of)


def test_a_trigger_that_kills_the_process_of_all_is_found_and_the_others_go_on(make: Callable[..., Triggerer], folder: Path) -> None:
    gate = {"path": str(folder / "notes"), "gate": str(folder / "gate")}
    good = [defer("waits.Gate", gate, dag_id=f"good{i}") for i in range(4)]
    bad = defer("waits.Bad", {"what": "crash"}, dag_id="bad")
    good.append(defer("waits.Gate", gate, dag_id="good4"))
    triggerer = make()
    until(lambda: resumed(bad), triggerer)
    assert "ends the process" in (ti(bad, "wait").next_kwargs or {})["error"]
    until(lambda: len(triggerer.running) == 5, triggerer)
    (folder / "gate").touch()
    until(lambda: all(resumed(of) for of in good), triggerer)
    assert {(ti(of, "wait").next_kwargs or {})["event"]["found"] for of in good} == {gate["gate"]}


@pytest.mark.django_db(transaction=True)
def test_a_triggerer_that_is_killed_leaves_its_triggers_to_the_next(make: Callable[..., Triggerer], folder: Path) -> None:
    path = folder / "notes"
    of = defer("waits.Gate", {"path": str(path), "gate": str(folder / "gate")})
    s = connection.settings_dict
    url = f"postgresql://{s['USER']}:{s['PASSWORD']}@{s['HOST']}:{s['PORT']}/{s['NAME']}"
    environment = os.environ | {"DATABASE_URL": url, "TRACKSIDE_DAGS_FOLDER": str(folder), "TRACKSIDE_HOME": str(settings.HOME)}
    environment |= {"TRACKSIDE_FERNET_KEYS": ",".join(settings.FERNET_KEYS)}
    first = subprocess.Popen([sys.executable, "-m", "config.manage", "triggerer"], env=environment)
    try:
        until(lambda: words(path) == ["start"])
        child = int(path.read_text().split()[1])
    finally:
        first.kill()
        first.wait()
    until(lambda: not Path(f"/proc/{child}").exists())
    assert states(of)["wait"] == "deferred"
    second = make()
    second.step()
    assert not second.running, "the lease of the dead still holds"
    sql.run("UPDATE runs_process SET lease_until = now() - interval '1 second' WHERE pid = %s", [first.pid])
    (folder / "gate").touch()
    until(lambda: resumed(of), second)
    assert resumptions() == 1


def test_five_hundred_deferred_at_once_all_go_on_once(make: Callable[..., Triggerer]) -> None:
    pool("default_pool", 1000)
    of = run(dag([task(f"t{i}") for i in range(500)], max_active_tasks=1000))
    worker = Worker(500)
    worker.take()
    deferral = {"classpath": "waits.Now", "kwargs": {"what": "now"}, "next_method": "go_on", "next_kwargs": {}}
    worker.exchange([worker.report(o, "deferred", deferral=deferral) for o in list(worker.held.values())], free=0)
    assert set(states(of).values()) == {"deferred"}
    triggerer = make()
    until(lambda: "deferred" not in states(of).values(), triggerer, seconds=60)
    assert Trigger.objects.count() == 0
    assert worker.work() == 500
    assert state(of) == "success"
    assert TaskInstance.objects.filter(run=of, try_number=1).count() == 500


def test_a_trigger_whose_task_left_is_swept() -> None:
    of = defer("waits.Gate")
    assert rows.sweep() == 0
    mark(of)
    assert rows.sweep() == 1


def begins(classpath: str, *, retries: int = 0, timeout: float | None = None, **fields: Any) -> Run:
    """A run whose task `wait` begins in the triggerer."""
    args = {"trigger_cls": classpath, "trigger_kwargs": fields.pop("kwargs", {}), "timeout": timeout}
    args |= {"next_method": "go_on", "next_kwargs": {"n": 1}, "trigger_queue": fields.pop("queue", None)}
    wait = task("wait", "after", start_from_trigger=True, start_trigger_args=args, retries=retries, **fields)
    return run(dag([wait, task("after")]))


def test_a_task_that_begins_in_the_triggerer_needs_no_worker_until_its_trigger_fired(make: Callable[[], Triggerer]) -> None:
    made = begins("waits.Now")
    waits = ti(made, "wait")
    assert (states(made)["wait"], waits.try_number, waits.start_date is not None) == ("deferred", 1, True)
    assert Worker().take() == {} and [t.state for t in tries(waits)] == ["parked"]
    until(lambda: resumed(made), make())
    order = Worker().take()["wait"]
    assert (order["next_method"], order["next_kwargs"]["n"], order["try_number"]) == ("go_on", 1, 1) and "event" in order["next_kwargs"]
    assert len(tries(waits)) == 1


def test_one_that_begins_in_the_triggerer_may_end_there(folder: Path, make: Callable[[], Triggerer]) -> None:
    made = begins("waits.Ends", kwargs={"path": str(folder / "noted"), "what": "success"})
    until(lambda: resumed(made), make())
    assert states(made)["wait"] == "success"


def test_a_mapped_task_begins_on_a_worker_as_on_airflow() -> None:
    made = begins("waits.Now", mapped=True, expand={"kind": "dict", "value": {"x": [1, 2]}})
    assert {k: v for k, v in states(made).items() if k != "after"} == {"wait[0]": "queued", "wait[1]": "queued"}
    assert set(Worker().take()) == {"wait[0]", "wait[1]"}


def test_its_retry_begins_in_the_triggerer_again_and_its_wait_has_a_limit(make: Callable[[], Triggerer]) -> None:
    made = begins("waits.Gate", kwargs={"path": "x"}, retries=1, timeout=60.0, retry_delay=0.0)
    timeouts.run_once(sql.now() + timedelta(seconds=61))
    tick()
    worker = Worker()
    order = worker.take()["wait"]
    assert order["next_method"] == "__fail__"
    worker.exchange([worker.report(order, "failed")])
    tick()
    assert (states(made)["wait"], ti(made, "wait").try_number, ti(made, "wait").next_method) == ("deferred", 2, "go_on")


def test_the_whole_is_only_well_without_a_triggerer_as_long_as_nothing_waits_for_one():
    for kind in ("scheduler", "dag_processor", "worker"):
        processes.register(kind, lease=60)
    assert health.whole()[0]
    waiting = defer("triggers_here.Never")
    well, told = health.whole()
    assert (well, told["status"], told["triggerer"]["status"]) == (False, "unhealthy", "unhealthy")
    assert "trackside triggerer" in told["triggerer"]["why"]
    triggerer = processes.register("triggerer", lease=60)
    assert health.whole()[0]
    processes.Process.objects.filter(pk=triggerer.pk).update(lease_until=sql.now() - timedelta(seconds=1))
    assert not health.whole()[0]
    clearing.clear_run(waiting, actor=ACTOR)
    assert health.whole()[0], "a trigger whose task has gone on needs nobody"
