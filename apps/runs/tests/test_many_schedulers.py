"""Four schedulers, workers, and people who clear, all at once on one PostgreSQL: nothing starts twice, no limit is ever
exceeded, every run ends as a naive model says, and nobody meets a deadlock.

Schedulers are real processes; workers are threads with connections of their own, so that the test sees every order. What
the database went through is written down by a trigger that the product knows nothing of.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection

from apps.dags import catalogue
from apps.runs import sql, wake
from apps.runs.actions import clearing
from apps.runs.models import Run, TaskInstance, Try
from apps.runs.tests import support
from apps.runs.tests.support import ACTOR, Worker
from trackside.core.spec import TaskSpec
from trackside.core.timetables import from_schedule

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(170)]

SCHEDULERS, WORKERS = 4, 4
DAGS, TASKS, RUNS_EACH = 6, 20, 2
POOLS = {"narrow": 3, "wide": 10}
PER_RUN, PER_TASK = 5, 2
CLEARS = 15
DEADLINE = 120.0
SEED = 20260101

HISTORY = """
CREATE TABLE test_history (n bigserial, at timestamptz DEFAULT clock_timestamp(),
    ti bigint, run bigint, dag text, task text, pool text, slots int, old text, new text);
CREATE FUNCTION test_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO test_history (ti, run, dag, task, pool, slots, old, new)
    VALUES (NEW.id, NEW.run_id, NEW.dag_id, NEW.task_id, NEW.pool, NEW.pool_slots, OLD.state, NEW.state);
    RETURN NULL; END $$;
CREATE TRIGGER test_note AFTER UPDATE OF state ON runs_taskinstance FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION test_note();
"""
HOLDING = ("queued", "running", "restarting")


@pytest.fixture
def history() -> Iterator[None]:
    """A trigger that writes down every change of state."""
    with connection.cursor() as cursor:
        cursor.execute(HISTORY)
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER test_note ON runs_taskinstance; DROP FUNCTION test_note; DROP TABLE test_history")


@pytest.fixture
def schedulers(tmp_path: Path) -> Iterator[list[Path]]:
    """The scheduler processes; their logs."""
    s = connection.settings_dict
    url = f"postgresql://{quote(s['USER'])}:{quote(s['PASSWORD'])}@{quote(s['HOST'], safe='')}:{s['PORT']}/{s['NAME']}"
    environment = os.environ | {"DATABASE_URL": url, "TRACKSIDE_LOG_LEVEL": "INFO"}
    root = Path(settings.ROOT)
    logs = [tmp_path / f"scheduler{i}.log" for i in range(SCHEDULERS)]
    processes = []
    for log in logs:
        with log.open("wb") as out:
            processes.append(
                subprocess.Popen([sys.executable, "manage.py", "scheduler"], cwd=root, env=environment, stdout=out, stderr=out)
            )
    try:
        yield logs
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        wake._sender._close()  # the test database is dropped soon, and nobody may be connected then


# --- a random site and a model of it that knows nothing of the planner -----------------------------------------------------
def _tasks(rng: random.Random) -> list[TaskSpec]:
    """A random graph: pools with tasks of several slots, limits per task, retries, three trigger rules."""
    tasks = []
    for i in range(TASKS):
        later = [f"t{k}" for k in range(i + 1, TASKS)]
        tasks.append(support.task(
            f"t{i}", *rng.sample(later, min(len(later), rng.choice((0, 1, 1, 2, 3)))), retries=rng.choice((0, 1)), retry_delay=0.2,
            pool=rng.choice(("narrow", "wide", "wide", "default_pool")),
            trigger_rule=rng.choice(("all_success",) * 4 + ("all_done", "none_failed")),
            priority_weight=rng.randint(1, 5), max_active_tis_per_dag=PER_TASK,
        ))  # fmt: skip
        if tasks[-1].pool != "default_pool":
            tasks[-1].pool_slots = rng.choice((1, 1, 2, 3))
    return tasks


def _outcome(order: dict[str, Any]) -> str:
    """What a task does: every seventh always fails; those with a retry fail the first of their tries."""
    if sum(map(ord, order["dag_id"] + order["task_id"])) % 7 == 0:
        return "failed"
    return "failed" if order["try_number"] == 1 and order["max_tries"] > 0 else "success"


def _model(dag_id: str, tasks: list[TaskSpec]) -> dict[str, str]:
    upstream: dict[str, list[str]] = defaultdict(list)
    for t in tasks:
        for d in t.downstream:
            upstream[d].append(t.task_id)
    states: dict[str, str] = {}
    for t in tasks:  # declared in topological order
        above = [states[u] for u in upstream[t.task_id]]
        if t.trigger_rule != "all_done" and any(s in ("failed", "upstream_failed") for s in above):
            states[t.task_id] = "upstream_failed"
        else:
            states[t.task_id] = "failed" if sum(map(ord, dag_id + t.task_id)) % 7 == 0 else "success"
    return states


def _limits_hold() -> None:
    """Usage of pools, runs and tasks at one committed moment."""
    held = "state IN ('queued', 'running', 'restarting')"
    for name, used in sql.rows(f"SELECT pool, sum(pool_slots) FROM runs_taskinstance WHERE {held} GROUP BY 1"):
        assert used <= POOLS.get(name, 128), f"pool {name}: {used}"
    for what, limit in (("run_id", PER_RUN), ("dag_id, task_id", PER_TASK)):
        worst = sql.rows(f"SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM runs_taskinstance WHERE {held} GROUP BY {what}) x")[
            0
        ][0]
        assert worst <= limit, f"{what}: {worst}"
    active = sql.rows("SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM runs_run WHERE state = 'running' GROUP BY dag_id) x")[0][
        0
    ]
    assert active <= 1, f"max_active_runs: {active}"


def _sweep() -> tuple[dict[str, int], int]:
    """The most slots each pool ever held, and the most instances any task or run held above its limit.

    An end is written down before its transaction is committed, so the sweep sees slots freed a little early: it can miss
    an excess, never invent one. `_limits_hold` looks at what is committed.
    """
    usage: Counter[Any] = Counter()
    most: dict[str, int] = defaultdict(int)
    over = 0
    for run, dag, task, pool, slots, old, new in sql.rows("SELECT run, dag, task, pool, slots, old, new FROM test_history ORDER BY at, n"):
        change = (new in HOLDING) - (old in HOLDING)
        usage[pool] += change * slots
        usage[run] += change
        usage[dag, task] += change
        most[pool] = max(most[pool], usage[pool])
        over = max(over, usage[run] - PER_RUN, usage[dag, task] - PER_TASK)
    return most, over


class Site:
    """The threads beside the schedulers, and what they saw."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.stop = threading.Event()
        self.started: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.clears = 0

    def worker(self, seed: int) -> None:
        """Holds tasks for a few calls, ends them in any order, kills what it must."""
        rng, me = random.Random(seed), Worker(slots=6)
        try:
            while not self.stop.is_set():
                kill = set(me.told_to_kill)
                ready = [o for o in me.held.values() if o["try_id"] in kill or rng.random() < 0.7]
                before = set(me.held)
                answer = me.exchange([me.report(o, "killed" if o["try_id"] in kill else _outcome(o)) for o in ready])
                with self.lock:
                    self.started.update(set(me.held) - before)
                if not (answer.start or ready):
                    self.stop.wait(0.01)
        finally:
            connection.close()

    def person(self) -> None:
        """Clears tasks with what is below them, in running and finished runs."""
        rng = random.Random(SEED + 1)
        try:
            while not self.stop.wait(0.15) and self.clears < CLEARS:
                pk = rng.choice(list(Run.objects.values_list("pk", flat=True)))
                dag_id = Run.objects.get(pk=pk).dag_id
                some = [f"t{rng.randrange(TASKS)}" for _ in range(2)]
                clearing.clear(clearing.ClearRequest(dag_id, run_pks=[pk], task_ids=some, downstream=rng.random() < 0.5), actor=ACTOR)
                self.clears += 1
        finally:
            connection.close()

    def watch(self) -> int:
        """Looks at the limits as often as it can; how often."""
        looks = 0
        try:
            while not self.stop.is_set():
                _limits_hold()
                looks += 1
                self.stop.wait(0.005)
        finally:
            connection.close()
        return looks


def test_many_schedulers_start_nothing_twice_exceed_no_limit_and_end_every_run_right(history: None, schedulers: list[Path]) -> None:
    rng = random.Random(SEED)
    for name, slots in POOLS.items():
        support.pool(name, slots)
    expected: dict[str, dict[str, str]] = {}
    for i in range(DAGS):
        tasks = _tasks(rng)
        expected[f"dag{i}"] = _model(f"dag{i}", tasks)
        support.dag(tasks, f"dag{i}", max_active_tasks=PER_RUN, max_active_runs=1)
        for _ in range(RUNS_EACH):
            support.run(f"dag{i}", begin=False)
    start = sql.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=6)
    hourly = from_schedule("@hourly", create_cron_data_intervals=True).to_dict()
    support.dag(
        support.chain("only"), "hourly", paused=True, timetable=hourly, start_date=start.isoformat(), catchup=True, max_active_runs=1
    )
    expected["hourly"] = _model("hourly", support.chain("only"))
    catalogue.set_paused(["hourly"], False, actor=ACTOR)

    site = Site(SEED)
    with ThreadPoolExecutor(WORKERS + 2) as threads:
        people = threads.submit(site.person)
        others = [threads.submit(site.worker, SEED + 10 + k) for k in range(WORKERS)]
        watch = threads.submit(site.watch)
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline and not any(f.done() for f in (*others, watch)):
            if (
                people.done()
                and Run.objects.count() >= DAGS * RUNS_EACH + 6
                and not Run.objects.exclude(state__in=("success", "failed")).exists()
            ):
                break
            time.sleep(0.1)
        site.stop.set()
        for f in (people, watch, *others):
            f.result()

    unfinished = {
        f"{ti}": (ti.state, ti.reason)
        for ti in TaskInstance.objects.exclude(run__state__in=("success", "failed")).exclude(state__in=("success", "failed"))
    }
    assert not Run.objects.exclude(state__in=("success", "failed")).exists(), unfinished
    # every run as the model says, whatever was cleared on the way
    for run in Run.objects.all():
        assert support.states(run) == expected[run.dag_id], run
    # each scheduled interval once, though four schedulers saw it due
    assert Run.objects.filter(dag_id="hourly").count() == 6
    # every try started at most once, and exactly the tries that started have rows that say so
    assert set(site.started.values()) == {1}
    never = Try.objects.filter(start_date__isnull=True).exclude(state="fenced")
    assert not never.exists()
    assert {str(i) for i in Try.objects.filter(start_date__isnull=False).values_list("id", flat=True)} == set(site.started)
    # a number is taken when a task may run: what is cleared before it is queued has taken one for nothing (Airflow's rule)
    for_nothing = dict(sql.rows("SELECT ti, count(*) FROM test_history WHERE old = 'scheduled' AND new = 'none' GROUP BY 1"))
    for ti, numbers in _numbers().items():
        assert len(set(numbers)) == len(numbers) >= numbers[-1] - for_nothing.get(ti, 0), f"try numbers without gaps: {numbers}"
    # limits, now and at every moment before; and the narrow pool was really used up
    _limits_hold()
    most, over = _sweep()
    assert over <= 0 and all(most[name] <= slots for name, slots in POOLS.items())
    assert most["narrow"] == POOLS["narrow"] and watch.result() > 50 and site.clears == CLEARS
    for log in schedulers:
        said = log.read_text()
        assert not any(word in said.lower() for word in ("deadlock", "traceback", "error", "unavailable")), said[-3000:]


def _numbers() -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for ti, number in Try.objects.order_by("number").values_list("ti_id", "number"):
        found[ti].append(number)
    return found
