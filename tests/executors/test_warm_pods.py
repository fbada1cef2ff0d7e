"""Warm pods on the real cluster: tries that share pods, and what happens when a pod, a process or a task among them dies.

On paper they are in `test_warm_plan`; the ledger's side is in apps/runs/tests/test_warm_pods.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

import pytest

from tests.executors import world
from tests.executors.world import LONG, Cluster, Site
from tests.support.server import until

DAGS = """
import os, pathlib, time
from datetime import datetime, timedelta
from airflow.sdk import dag, task, get_current_context

common = dict(schedule=None, start_date=datetime(2026, 1, 1), max_active_tasks=100)
WARM = {"executor_config": {"reuse": {"idle": 30, "tries": 50}}}
seen = []

def here():
    seen.append(os.getpid())
    left = pathlib.Path("/tmp/left-by-a-try")
    was = left.exists()
    left.write_text("x")
    return {"pod": os.environ["HOSTNAME"], "imports": len(seen), "left": was, "template": os.getppid()}

@dag(**common, default_args=WARM)
def chain():
    @task
    def step(before=None):
        print("a line of a warm pod")
        return here()
    value = step.override(task_id="t0")()
    for n in range(1, 6):
        value = step.override(task_id=f"t{n}")(value)

chain()

@dag(**common, default_args=WARM)
def fan():
    @task
    def one(n):
        return here()
    one.expand(n=list(range(12)))

fan()

@dag(**common, default_args=WARM)
def storm():
    @task
    def one(n):
        time.sleep(1)
        return here()
    @task
    def total(values):
        return len(list(values))
    total(one.expand(n=list(range(24))))

storm()

@dag(**common, default_args=WARM)
def sleeper():
    @task
    def sleeps():
        print("asleep", flush=True)
        time.sleep(get_current_context()["dag_run"].conf.get("seconds", 600))
        return here()
    sleeps()

sleeper()

@dag(**common, default_args=WARM)
def ends():
    @task
    def dies():
        os._exit(3)
    @task(retries=1, retry_delay=timedelta(0))
    def again():
        if get_current_context()["ti"].try_number == 1:
            raise ValueError("the first try fails")
        return here()
    dies(), again()

ends()

@dag(**common, default_args={"executor_config": {"reuse": {"idle": 2}}})
def short():
    @task
    def one():
        return here()
    one()

short()

def pod(**container):
    return {"reuse": True, "pod_override": {"spec": {"containers": [{"name": "base", **container}]}}}

@dag(**common)
def wrong():
    @task(executor_config=pod(image="localhost/none:1", imagePullPolicy="Never"))
    def image():
        pass
    @task(executor_config={"reuse": {"idel": 3}})
    def wish():
        pass
    @task(executor_config=pod(resources={"limits": {"memory": "256Mi"}}))
    def memory():
        kept = [bytearray(1 << 20) for _ in range(1000)]
    image(), wish(), memory()

wrong()
"""


@pytest.fixture(scope="module")
def site(cluster: Cluster) -> Iterator[Site]:
    settings = {"TRACKSIDE_KUBERNETES_MAX_PODS": "4", "TRACKSIDE_KUBERNETES_KEEP_FAILED": "0", "TRACKSIDE_KUBERNETES_GRACE": "3",
                "TRACKSIDE_KILL_GRACE": "2", "TRACKSIDE_MAX_INFRA_FAILURES": "5"}  # fmt: skip
    with world.site({"warm.py": DAGS}, ["kubernetes"], cluster=cluster, **settings) as found:
        yield found


def values(site: Site, dag: str, run: str, *tasks: str) -> list[dict]:
    return [site.server.value(dag, run, task) for task in tasks]


def starts(site: Site, run: str) -> list[tuple]:
    """(task, map index, number, state, pod) of all tries of a run."""
    return site.sql(
        "SELECT ti.task_id, ti.map_index, t.number, t.state, t.facts->>'pod' FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id "
        "JOIN runs_run r ON r.id = ti.run_id WHERE r.run_id = %s ORDER BY t.queued_at", run,
    )  # fmt: skip


def warm_pods(cluster: Cluster, dag: str) -> list[str]:
    return [p["metadata"]["name"] for p in cluster.pods(dag_id=dag) if "deletionTimestamp" not in p["metadata"]]


def test_a_chain_runs_in_one_pod_and_no_try_sees_what_another_left(site: Site, cluster: Cluster) -> None:
    run = site.runs("chain")
    assert site.server.wait_run("chain", run, LONG)["state"] == "success"
    tasks = [f"t{n}" for n in range(6)]
    found = values(site, "chain", run, *tasks)
    assert len({v["pod"] for v in found}) == 1
    assert {v["imports"] for v in found} == {1}, "each try is a fresh fork of what the file's import left"
    assert not any(v["left"] for v in found)
    assert all("a line of a warm pod" in site.server.wait_log("a line", "chain", run, task) for task in tasks)
    assert {pod for *_, pod in starts(site, run)} == {found[0]["pod"]}
    assert len(warm_pods(cluster, "chain")) == 1
    again = site.runs("chain")
    assert site.server.wait_run("chain", again, LONG)["state"] == "success"
    assert {v["pod"] for v in values(site, "chain", again, *tasks)} == {found[0]["pod"]}, "another run of the DAG finds it warm"


def test_a_wide_run_has_no_more_pods_than_it_may_and_each_serves_many(site: Site, cluster: Cluster) -> None:
    run = site.runs("fan")
    assert site.server.wait_run("fan", run, LONG)["state"] == "success"
    pods = [pod for *_, pod in starts(site, run)]
    assert len(pods) == 12
    assert len(set(pods)) <= 4


def test_whoever_is_killed_each_try_ends_once_and_no_retry_is_used(site: Site, cluster: Cluster) -> None:
    def a_pod() -> None:
        busy = until(lambda: [pod for *_, state, pod in starts(site, run) if state == "running" and pod], "a pod was busy", LONG)
        cluster.api.delete("pods", cluster.namespace, busy[0], grace_s=0)

    def done() -> int:
        return sum(1 for *_, state, _ in starts(site, run) if state == "success")

    run = site.runs("storm")
    kills = [partial(site.kill, "executor"), partial(site.kill, "scheduler"), a_pod, partial(site.kill, "web")]
    for number, kill in enumerate(kills, 1):
        until(lambda n=number: done() >= 4 * n, f"{4 * number} tasks had ended", LONG)
        kill()
    assert site.server.wait_run("storm", run, 2 * LONG)["state"] == "success", starts(site, run)
    assert site.server.value("storm", run, "total") == 24
    ended = starts(site, run)
    assert {state for *_, state, _ in ended} <= {"success", "lost"}, "a failure would have used a retry"
    assert sum(1 for *_, state, _ in ended if state == "success") == 25


def test_a_task_that_is_cleared_while_it_runs_starts_again_only_after_its_end(site: Site) -> None:
    site.server.unpause("sleeper")
    run = site.server.trigger("sleeper", {"seconds": 600})
    site.server.wait_log("asleep", "sleeper", run, "sleeps", seconds=LONG)
    site.server.clear("sleeper", run, "sleeps")
    site.server.wait_log("asleep", "sleeper", run, "sleeps", try_number=2, seconds=LONG)
    first, second = starts(site, run)
    assert (first[3], second[3]) == ("fenced", "running")
    assert first[4] != second[4], "its pod was deleted"
    site.server.call("PATCH", f"/dags/sleeper/dagRuns/{run}", json={"state": "failed"})
    confirmed = "SELECT bool_and(t.kill_confirmed) FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id WHERE ti.dag_id = 'sleeper'"
    until(lambda: site.sql(confirmed)[0][0], "both ends were confirmed", LONG)


def test_a_task_that_ends_badly_leaves_its_pod_to_the_others(site: Site) -> None:
    run = site.runs("ends")
    assert site.server.wait_run("ends", run, LONG)["state"] == "failed"
    tries = {(task, number): state for task, _, number, state, _ in starts(site, run)}
    assert tries == {("dies", 1): "failed", ("again", 1): "failed", ("again", 2): "success"}
    assert "exit code 3" in site.tries("ends", "dies")[0]["error"]


def test_an_idle_pod_leaves_and_nothing_of_it_stays(site: Site, cluster: Cluster) -> None:
    run = site.runs("short")
    assert site.server.wait_run("short", run, LONG)["state"] == "success"
    pod = values(site, "short", run, "one")[0]["pod"]
    until(lambda: pod not in warm_pods(cluster, "short"), "the pod had left", LONG)
    secrets = lambda: {s["metadata"]["name"] for s in cluster.api.list("secrets", cluster.namespace)[0]}  # noqa: E731
    until(lambda: pod not in secrets(), "its secret was gone", LONG)
    later = site.runs("short")
    assert site.server.wait_run("short", later, LONG)["state"] == "success"
    assert values(site, "short", later, "one")[0]["pod"] != pod


def test_what_cannot_start_or_uses_too_much_says_why(site: Site, cluster: Cluster) -> None:
    run = site.runs("wrong")
    assert site.server.wait_run("wrong", run, LONG)["state"] == "failed"
    said = {task: site.tries("wrong", task)[-1] for task in ("image", "wish", "memory")}
    assert {t["state"] for t in said.values()} == {"failed"}
    assert re.search(r"Its image cannot be used.*localhost/none:1", said["image"]["error"])
    assert "knows no 'idel'" in said["wish"]["error"]
    assert "memory" in said["memory"]["error"]
    until(lambda: not [p for p in cluster.pods(dag_id="wrong") if p["status"].get("phase") == "Pending"], "no pod waits for nobody", LONG)
