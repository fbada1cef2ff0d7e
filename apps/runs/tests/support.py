"""For the tests of the ledger: DAGs from specs, runs, and a worker that is played in the test's own process.

`Worker` speaks to `execution.exchange.serve` with the messages a real worker sends; what its tasks do is a function of the
test. `tick` is one pass of a scheduler. Nothing here knows states better than the database does.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from apps.access.audit import Actor
from apps.dags.models import Dag, DagVersion
from apps.runs import sql, wake
from apps.runs.actions import creation
from apps.runs.execution import exchange
from apps.runs.models import Event, Pool, Run, TaskInstance, Try
from apps.runs.scheduler import Scheduler, Tick
from trackside.core.messages import ExchangeRequest, ExchangeResponse
from trackside.core.spec import DagSpec, GroupSpec, TaskSpec

ACTOR = Actor("mara", "test")
Report = dict[str, Any]
Deed = Callable[[dict[str, Any]], Report]


@pytest.fixture(autouse=True)
def woken(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Wake-ups are written down instead of sent: the channels, in order."""
    heard: list[str] = []
    monkeypatch.setattr(wake, "send", lambda *channels: heard.extend(channels))
    yield heard


# --- DAGs ---------------------------------------------------------------------------------------------------------------
def task(task_id: str, *downstream: str, **fields: Any) -> TaskSpec:
    """A task and what comes after it."""
    return TaskSpec(task_id, operator="@task", downstream=sorted(downstream), **fields)


def chain(*task_ids: str, **fields: Any) -> list[TaskSpec]:
    """One task after the other."""
    return [task(t, *task_ids[i + 1 : i + 2], **fields) for i, t in enumerate(task_ids)]


def dag(tasks: Sequence[TaskSpec], dag_id: str = "orders", *, groups: Sequence[GroupSpec] = (), paused: bool = False, **fields: Any) -> Dag:
    """A DAG with its first version, on unless `paused`. `fields` are those of DagSpec."""
    Pool.objects.get_or_create(name="default_pool", defaults={"slots": 128})  # tests with real transactions empty the table
    spec = DagSpec(dag_id=dag_id, tasks=list(tasks), groups=list(groups), root_children=[t.task_id for t in tasks], **fields)
    row = Dag.objects.create(
        dag_id=dag_id, dag_display_name=dag_id, is_paused=paused, fileloc=f"/dags/{dag_id}.py", relative_fileloc=f"{dag_id}.py",
        timetable=spec.timetable, catchup=spec.catchup, start_date=_moment(spec.start_date), end_date=_moment(spec.end_date),
        max_active_runs=spec.max_active_runs, max_active_tasks=spec.max_active_tasks,
        max_consecutive_failed_dag_runs=spec.max_consecutive_failed_dag_runs, dagrun_timeout=spec.dagrun_timeout, fail_fast=spec.fail_fast,
        has_task_concurrency_limits=any(t.max_active_tis_per_dag or t.max_active_tis_per_dagrun for t in tasks),
    )  # fmt: skip
    return new_version(row, spec)


def new_version(row: Dag, spec: DagSpec, number: int = 1) -> Dag:
    """Make `spec` the current version of the DAG."""
    row.current_version = DagVersion.objects.create(
        dag=row, number=number, spec=spec.to_dict(), spec_hash=spec.structure_hash(), source="", file_hash=f"hash{number}"
    )
    row.save()
    return row


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def pool(name: str, slots: int, **fields: Any) -> Pool:
    """A pool of this many slots."""
    return Pool.objects.update_or_create(name=name, defaults={"slots": slots, **fields})[0]


def run(of: Dag | str, *, begin: bool = True, day: int | None = None, **arguments: Any) -> Run:
    """Trigger a run; `begin` lets a scheduler begin and plan it. `day`: its logical date in January 2026."""
    if day is not None:
        date = datetime(2026, 1, day, tzinfo=UTC)
        arguments |= {"logical_date": date, "data_interval": (date, date), "run_after": date}
    made = creation.trigger(of if isinstance(of, str) else of.dag_id, actor=ACTOR, **arguments)
    if begin:
        tick()
        made.refresh_from_db()
    return made


def tick(times: int = 1) -> Tick:
    """Passes of a scheduler that was just started (so each of them looks for lost tries too)."""
    for _ in range(times):
        done = Scheduler().tick()
    return done


# --- what the database says ---------------------------------------------------------------------------------------------
def states(of: Run) -> dict[str, str]:
    """task id (with its map index in brackets) → state."""
    found = TaskInstance.objects.filter(run=of).order_by("id")
    return {ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": ti.state for ti in found}


def state(of: Run) -> str:
    """The run's state."""
    return Run.objects.get(pk=of.pk).state


def ti(of: Run, task_id: str, map_index: int = -1) -> TaskInstance:
    """The task instance as it is now."""
    return TaskInstance.objects.get(run=of, task_id=task_id, map_index=map_index)


def tries(of: TaskInstance) -> list[Try]:
    """Its tries, first to last."""
    return list(Try.objects.filter(ti=of).order_by("number"))


def reason(of: Run, task_id: str | None = None, map_index: int = -1) -> str | None:
    """Code of the reason of a task instance, or of the run."""
    return ti(of, task_id, map_index).reason_code if task_id else Run.objects.get(pk=of.pk).reason_code


def events(verb: str, kind: str = "task") -> list[Event]:
    """Events of a verb, oldest first."""
    return list(Event.objects.filter(kind=kind, verb=verb).order_by("id"))


def later(*, seconds: float) -> None:
    """Let everything that waits for a moment wait that much less: time passes without sleeping."""
    for table, columns in {
        "runs_run": ("advance_at", "run_after", "start_date"), "runs_taskinstance": ("next_at",), "runs_process": ("lease_until",),
        "runs_try": ("queued_at", "heartbeat_at"),
        "dags_dag": ("next_run_after", "next_logical_date", "next_interval_start", "next_interval_end"),
    }.items():  # fmt: skip
        moved = ", ".join(f"{c} = {c} - make_interval(secs => %(s)s)" for c in columns)
        sql.run(f"UPDATE {table} SET {moved}", {"s": seconds})  # names from this file
    exchange._beaten.clear()


# --- a worker -----------------------------------------------------------------------------------------------------------
class Worker:
    """Plays the agent of one worker: holds orders, reports their ends, kills what it is told to kill."""

    def __init__(self, slots: int = 4, *, queues: Iterable[str] = ("default",), name: str = "worker"):
        self.id, self.slots, self.queues, self.name = str(uuid.uuid4()), slots, list(queues), name
        self.epoch = 0
        self.held: dict[str, dict[str, Any]] = {}
        self.told_to_kill: list[str] = []

    def request(self, finished: Sequence[Report] = (), **fields: Any) -> ExchangeRequest:
        """The message of the next call."""
        done = {r["try_id"] for r in finished if isinstance(r, dict) and "try_id" in r}
        base: dict[str, Any] = {
            "free": self.slots - len(self.held) + len(done), "running": [i for i in self.held if i not in done],
        }  # fmt: skip
        return ExchangeRequest(
            worker_id=self.id, epoch=self.epoch, name=self.name, hostname="host", slots=self.slots, queues=self.queues,
            finished=list(finished), **(base | fields),
        )  # fmt: skip

    def exchange(self, finished: Sequence[Report] = (), **fields: Any) -> ExchangeResponse:
        """One call; its orders are held, settled ones forgotten."""
        answer = exchange.serve(self.request(finished, **fields)).response
        for order in answer.start:
            assert order["try_id"] not in self.held, "ordered twice"
            self.held[order["try_id"]] = order
        for settled in answer.settled:
            self.held.pop(settled["try_id"], None)
        self.told_to_kill = [k["try_id"] for k in answer.kill]
        return answer

    def take(self) -> dict[str, dict[str, Any]]:
        """Fill the free slots; everything held by task name."""
        self.exchange()
        return {name(o): o for o in self.held.values()}

    def report(self, order: dict[str, Any], outcome: str = "success", **fields: Any) -> Report:
        """The finish report of an order."""
        return {"try_id": order["try_id"], "token": order["token"], "outcome": outcome, **fields}

    def finish(self, order: dict[str, Any], outcome: str = "success", **fields: Any) -> dict[str, Any]:
        """Report one end without taking anything new; how it was settled."""
        return self.exchange([self.report(order, outcome, **fields)], free=0).settled[0]

    def do(self, of: Run, task_id: str, outcome: str = "success", map_index: int = -1, **fields: Any) -> dict[str, Any]:
        """Take what is there, then end this task."""
        label = task_id if map_index < 0 else f"{task_id}[{map_index}]"
        held = {(o["run"]["run_id"], name(o)): o for o in self.held.values()}
        if (of.run_id, label) not in held:
            self.take()
            held = {(o["run"]["run_id"], name(o)): o for o in self.held.values()}
        return self.finish(held[of.run_id, label], outcome, **fields)

    def work(self, deed: Deed = lambda order: {}, *, rounds: int = 1000) -> int:
        """Take and end tasks until there are none; how many. `deed(order)` gives the fields of the report."""
        done, finished = 0, []
        for _ in range(rounds):
            self.exchange(finished)
            finished = [self.report(o, **deed(o)) for o in self.held.values()]
            done += len(finished)
            if not finished:
                return done
        raise AssertionError(f"still busy after {rounds} rounds")


def name(order: dict[str, Any]) -> str:
    """Task id of an order, with the map index in brackets."""
    return order["task_id"] if order["map_index"] < 0 else f"{order['task_id']}[{order['map_index']}]"
