"""What every executor must do, asked of all of them on one running product: local, Celery over a real Redis, pods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.executors import world
from tests.executors.world import GATEWAY, LONG, Cluster, Site
from tests.support.server import until
from trackside.core.messages import NOT_STARTED

KINDS = ("local", "celery", "kubernetes")

DAGS = """
import os, signal, sys, time
from datetime import datetime, timedelta
from airflow.sdk import dag, task, get_current_context

for kind in EXECUTORS:
    here = dict(executor=kind)

    @dag(dag_id=f"ends_{kind}", schedule=None, start_date=datetime(2026, 1, 1), default_args=here, max_active_tasks=50)
    def ends():
        @task
        def first():
            print("a line of", kind)
            return {"n": 41}

        @task(retries=1, retry_delay=timedelta(seconds=0))
        def second(value):
            if get_current_context()["ti"].try_number == 1:
                raise ValueError("the first try fails")
            return value["n"] + 1

        @task
        def raises():
            raise RuntimeError("no such luck")

        @task
        def exits():
            print("last words", flush=True)
            os._exit(3)

        @task
        def dies():
            os.kill(os.getpid(), signal.SIGSEGV)

        @task(execution_timeout=timedelta(seconds=1))
        def too_long():
            time.sleep(600)

        @task
        def talks():
            for number in range(2000):
                print("line", number)
            print("last line")

        second(first())
        raises(), exits(), dies(), too_long(), talks()

    ends()

    @dag(dag_id=f"long_{kind}", schedule=None, start_date=datetime(2026, 1, 1), default_args=here)
    def long():
        @task
        def sleeps():
            print("asleep", flush=True)
            time.sleep(get_current_context()["dag_run"].conf.get("seconds", 600))
            return "woke up"

        sleeps()

    long()

    @dag(dag_id=f"waits_{kind}", schedule=None, start_date=datetime(2026, 1, 1), default_args=here)
    def waits():
        @task(queue="nobody", executor_config={"pod_override": {"spec": {"nodeSelector": {"no": "such-node"}}}})
        def never():
            pass

        never()

    waits()
"""


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """One server with as many executors as this machine can have."""
    executors, redis_url, cluster = ["local"], "", None
    if world.can_have_redis():
        executors.append("celery")
        redis_url = request.getfixturevalue("redis_url")
    if world.can_have_kubernetes():
        executors.append("kubernetes")
        cluster = request.getfixturevalue("cluster")
    dags = {"conformance.py": DAGS.replace("EXECUTORS", repr(executors))}
    with world.site(dags, executors, redis_url=redis_url, cluster=cluster, TRACKSIDE_KILL_GRACE="2") as found:
        if redis_url:
            found.celery_worker("--concurrency", "6")
        yield found


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, site: Site) -> str:
    """The executor that is asked."""
    if request.param not in site.executors:
        pytest.skip(f"{request.param} cannot be had here: see tools/left-out")
    return str(request.param)


_ended: dict[str, str] = {}


@pytest.fixture
def ended(site: Site, kind: str) -> str:
    """A finished run of the DAG whose tasks end in all ways; one for all tests of an executor."""
    if kind not in _ended:
        _ended[kind] = site.runs(f"ends_{kind}")
        site.server.wait_run(f"ends_{kind}", _ended[kind], LONG)
    return _ended[kind]


def test_values_go_from_task_to_task_and_a_failed_try_is_repeated(site: Site, kind: str, ended: str) -> None:
    assert site.server.value(f"ends_{kind}", ended, "second") == 42
    tries = site.tries(f"ends_{kind}", "second")
    assert [(t["number"], t["state"]) for t in tries] == [(1, "failed"), (2, "success")]


def test_every_end_is_named(site: Site, kind: str, ended: str) -> None:
    said = {task: site.tries(f"ends_{kind}", task)[-1] for task in ("raises", "exits", "dies", "too_long")}
    assert {t["state"] for t in said.values()} == {"failed"}
    assert "no such luck" in said["raises"]["error"]
    assert said["exits"]["exit_code"] == 3
    assert "exit code 3" in said["exits"]["error"]
    assert said["dies"]["signal"] == 11
    assert "SIGSEGV" in said["dies"]["error"]
    assert "AirflowTaskTimeout" in said["too_long"]["error"]


def test_a_task_runs_where_its_executor_says(site: Site, kind: str, ended: str) -> None:
    rows = site.sql("SELECT DISTINCT t.executor, w.info->>'executor' FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id "
                    "LEFT JOIN runs_process w ON w.id = t.worker_id WHERE ti.dag_id = %s", f"ends_{kind}")  # fmt: skip
    assert rows == [(kind, None if kind == "kubernetes" else kind)]


def test_logs_are_complete(site: Site, kind: str, ended: str) -> None:
    log = site.server.wait_log("last line", f"ends_{kind}", ended, "talks")
    lines = [line for line in log.splitlines() if line.startswith("line ")]
    assert lines == [f"line {n}" for n in range(2000)]
    assert "last words" in site.server.wait_log("exit code 3", f"ends_{kind}", ended, "exits")


def test_a_task_cleared_while_it_runs_starts_again_only_after_its_end(site: Site, kind: str) -> None:
    dag = f"long_{kind}"
    site.server.unpause(dag)
    run = site.server.trigger(dag, {"seconds": 600})
    site.server.wait_log("asleep", dag, run, "sleeps", seconds=LONG)
    site.server.clear(dag, run, "sleeps")
    site.server.wait_log("asleep", dag, run, "sleeps", try_number=2, seconds=LONG)
    first, second = site.sql(
        "SELECT t.id, t.state, t.kill_confirmed, t.start_date, t.end_date FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id "
        "JOIN runs_run r ON r.id = ti.run_id WHERE r.run_id = %s ORDER BY t.number", run)  # fmt: skip
    assert (first[1], first[2], second[1]) == ("fenced", True, "running")
    site.server.call("PATCH", f"/dags/{dag}/dagRuns/{run}", json={"state": "failed"})
    until(
        lambda: all(r[0] for r in site.sql("SELECT kill_confirmed FROM runs_try WHERE id = %s", second[0])), "its end was confirmed", LONG
    )


def test_killing_the_executor_and_the_scheduler_changes_no_running_task(site: Site, kind: str) -> None:
    dag = f"long_{kind}"
    site.server.unpause(dag)
    run = site.server.trigger(dag, {"seconds": 6})
    site.server.wait_log("asleep", dag, run, "sleeps", seconds=LONG)
    site.kill("scheduler")
    if "executor" in site.server.pids:
        site.kill("executor")
    assert site.server.wait_run(dag, run, LONG)["state"] == "success"
    tries = site.sql("SELECT t.state FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id JOIN runs_run r ON r.id = ti.run_id "
                     "WHERE r.run_id = %s", run)  # fmt: skip
    assert tries == [("success",)]


def test_what_cannot_start_says_why_and_can_be_cancelled(site: Site, kind: str) -> None:
    dag = f"waits_{kind}"
    run = site.runs(dag)
    wanted = {
        "local": "No worker serves queue nobody",
        "celery": "No worker of executor celery serves queue nobody",
        "kubernetes": "No node",
    }
    site.wait_state(dag, run, "never", "queued")
    reason = "SELECT reason FROM runs_taskinstance WHERE dag_id = %s"
    until(lambda: wanted[kind] in str(site.sql(reason, dag)[0][0]), f"the reason says {wanted[kind]!r}", LONG)
    site.server.call("PATCH", f"/dags/{dag}/dagRuns/{run}", json={"state": "failed"})
    assert site.server.wait_run(dag, run, LONG)["state"] == "failed"
    assert [t["state"] for t in site.tries(dag, "never")] == ["fenced"]
    if site.cluster is not None and kind == "kubernetes":
        until(lambda: site.cluster and not site.cluster.pods(dag_id=dag), "its pod was gone", LONG)


def test_a_stale_reference_starts_nothing(site: Site, kind: str, ended: str) -> None:
    """A message that comes twice, a pod that comes too late: the try is not to be had, and nothing changes."""
    from apps.runs.execution import tokens

    done = site.tries(f"ends_{kind}", "first")[0]
    secret = (site.server.home / "data/keys/worker.token").read_text().strip()
    import hashlib
    import hmac

    mac = hmac.new(secret.encode(), f"start:{done['id']}".encode(), hashlib.sha256).hexdigest()
    assert tokens.split(f"{done['id']}.{mac}") is not None
    answer = site.server.http.post(f"/execution/tries/{done['id']}/start", json={}, headers={"Authorization": f"Bearer {done['id']}.{mac}"})
    assert answer.status_code == 410
    assert json.loads(answer.text)["detail"] == "This try is success; it is not started again."
    if site.cluster is not None and kind == "kubernetes":
        assert _last_words(site, site.cluster, done["id"], f"{done['id']}.{mac}") == f"{NOT_STARTED}410 {json.loads(answer.text)['detail']}"
    assert site.tries(f"ends_{kind}", "first") == [done]


def _last_words(site: Site, cluster: Cluster, try_id: str, token: str) -> str:
    """What a pod that comes too late leaves in its status."""
    late = {"name": "base", "image": cluster.image, "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", f"echo {token} | python3 -m trackside.runner --try-id {try_id}"],
            "env": [{"name": "TRACKSIDE_API_URL", "value": f"http://{GATEWAY}:{site.server.url.rpartition(':')[2]}"}]}  # fmt: skip
    spec = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [late]}
    cluster.api.create("pods", cluster.namespace, {"metadata": {"name": "late", "labels": {"late": "1"}}, "spec": spec})

    def ended() -> dict[str, Any] | None:
        statuses = (cluster.pods(late="1")[0].get("status") or {}).get("containerStatuses") or [{}]
        return (statuses[0].get("state") or {}).get("terminated")

    found = until(ended, "the late pod ended", LONG)
    cluster.api.delete("pods", cluster.namespace, "late", grace_s=0)
    assert found["exitCode"] == 2
    return str(found["message"])
