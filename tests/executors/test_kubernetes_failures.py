"""Fifteen ways in which task pods fail elsewhere, made for real, one test each; what takes hours in life is scaled down here."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.executors import world
from tests.executors.world import LONG, Cluster, Site
from tests.support.server import until

DAGS = """
import os, time
from datetime import datetime, timedelta
from airflow.sdk import dag, task, get_current_context

def pod(container=None, **spec):
    return {"pod_override": {"spec": {"containers": [{"name": "base", **(container or {})}], **spec}}}

common = dict(schedule=None, start_date=datetime(2026, 1, 1), max_active_tasks=100)

@dag(**common)
def sleeper():
    @task
    def sleeps():
        print("asleep", flush=True)
        time.sleep(get_current_context()["dag_run"].conf.get("seconds", 600))
        print("woke up", flush=True)
    sleeps()

sleeper()

@dag(**common)
def pending():
    @task(executor_config=pod(nodeSelector={"no": "such-node"}))
    def unschedulable():
        pass
    @task(executor_config=pod({"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
                              volumes=[{"name": "data", "configMap": {"name": "no-such"}}]))
    def volume():
        pass
    unschedulable(), volume()

pending()

@dag(**common)
def pulling():
    @task(executor_config=pod({"image": "localhost:1/nothing:1"}))
    def bad():
        pass
    bad()

pulling()

@dag(**common)
def side():
    @task(executor_config={"pod_override": {"spec": {"containers": [{"name": "base"}, {"name": "mesh", "image": IMAGE,
          "command": ["sh", "-c", "sleep 3600"], "securityContext": {"readOnlyRootFilesystem": True}}]}}})
    def beside():
        return "done"
    beside()

side()

@dag(**common)
def many():
    @task
    def small(n):
        return n
    small.expand(n=list(range(8)))

many()

@dag(**common)
def crowded():
    @task
    def small(n):
        from airflow.sdk import Variable
        while Variable.get("crowd_may_go", default=None) is None:  # until somebody has looked at those that wait
            time.sleep(0.2)
        return n
    small.expand(n=list(range(CROWD)))

crowded()

@dag(**common)
def loud():
    @task
    def talks():
        for n in range(3000):
            print("line", n, flush=n % 100 == 0)
            if n % 1000 == 0:
                time.sleep(0.5)
    talks()

loud()
"""


CROWD = int(os.environ.get("TRACKSIDE_TEST_PODS") or 8)
"""Tasks that want to run where a quota lets few in; TRACKSIDE_TEST_PODS=100 makes it the size of a site."""
REASON = "SELECT ti.reason FROM runs_taskinstance ti JOIN runs_run r ON r.id = ti.run_id WHERE r.run_id = %s"


@pytest.fixture(scope="module")
def site(cluster: Cluster) -> Iterator[Site]:
    settings = {
        "TRACKSIDE_KUBERNETES_PENDING_TIMEOUT": "6", "TRACKSIDE_KUBERNETES_PULL_TIMEOUT": "4", "TRACKSIDE_KUBERNETES_KEEP_FAILED": "0",
        "TRACKSIDE_KUBERNETES_GRACE": "5", "TRACKSIDE_KILL_GRACE": "1", "TRACKSIDE_HEARTBEAT": "1",
        "TRACKSIDE_SELF_FENCE": "6", "TRACKSIDE_LEASE": "10",
        "TRACKSIDE_MAX_INFRA_FAILURES": "2",
    }  # fmt: skip
    dags = DAGS.replace("IMAGE", repr(cluster.image)).replace("CROWD", str(CROWD))
    with world.site({"failures.py": dags}, ["kubernetes"], cluster=cluster, **settings) as found:
        yield found


def begin(site: Site, dag: str = "sleeper", task: str = "sleeps", **conf: Any) -> str:
    """Start a run and wait until its task speaks."""
    site.server.unpause(dag)
    run = site.server.trigger(dag, conf)
    site.server.wait_log("asleep", dag, run, task, seconds=LONG)
    return run


def tries_of(site: Site, run: str) -> list[dict[str, Any]]:
    """The tries of a run, oldest first."""
    columns = ("id", "state", "error", "facts", "submissions", "kill_confirmed")
    rows = site.sql("SELECT t.id, t.state, t.error, t.facts, t.submissions, t.kill_confirmed FROM runs_try t "
        "JOIN runs_taskinstance ti ON ti.id = t.ti_id "
                    "JOIN runs_run r ON r.id = ti.run_id WHERE r.run_id = %s ORDER BY t.number, t.queued_at", run)  # fmt: skip
    return [dict(zip(columns, row, strict=True)) for row in rows]


def stop(site: Site, dag: str, run: str) -> None:
    """End a run by hand and wait until nothing of it is left."""
    site.server.call("PATCH", f"/dags/{dag}/dagRuns/{run}", json={"state": "failed"})
    until(lambda: all(t["kill_confirmed"] for t in tries_of(site, run)), "its end was confirmed", LONG)


def test_01_a_pod_that_stays_pending_says_why_and_ends_in_time(site: Site) -> None:
    run = site.runs("pending")
    reason = REASON + " AND task_id = %s"
    for task, words in (("unschedulable", "No node can take its pod"), ("volume", "volume of its pod cannot be mounted")):
        until(lambda t=task, w=words: w in str(site.sql(reason, run, t)[0][0]), f"{task} says {words!r}", LONG)
        until(lambda t=task: [x for x in site.tries("pending", t) if x["state"] == "lost"], f"{task} was given up", LONG)
    stop(site, "pending", run)


def test_02_a_bad_image_fails_with_the_kubelets_words_and_runs_nothing_later(site: Site, cluster: Cluster) -> None:
    run = site.runs("pulling")
    site.wait_state("pulling", run, "bad", "failed")
    (only,) = tries_of(site, run)
    assert "localhost:1/nothing:1" in only["error"]
    until(lambda: not cluster.pods(dag_id="pulling"), "its pod was gone: mending the image would start nothing", LONG)


def test_03_a_watch_that_breaks_is_taken_up_again(site: Site, cluster: Cluster) -> None:
    if os.environ.get("KUBECONFIG"):
        pytest.skip("a cluster that is not ours is not stopped")
    run = begin(site, seconds=8)
    cluster.part("kill", "apiserver")
    time.sleep(2)  # the length of the outage, not a wait for anything
    cluster.part("start", "apiserver")
    assert site.server.wait_run("sleeper", run, LONG)["state"] == "success"
    again = site.server.trigger("sleeper", {"seconds": 0})
    assert site.server.wait_run("sleeper", again, LONG)["state"] == "success"
    assert [t["state"] for t in tries_of(site, run) + tries_of(site, again)] == ["success", "success"]


def test_04_a_pod_that_vanishes_is_found_and_its_task_starts_again(site: Site, cluster: Cluster) -> None:
    run = begin(site)
    pod = cluster.pod_of("sleeper", "sleeps", run_id=_label(run))
    assert pod is not None
    cluster.api.delete("pods", cluster.namespace, pod["metadata"]["name"], grace_s=0)
    site.server.wait_log("asleep", "sleeper", run, "sleeps", try_number=2, seconds=LONG)
    first, second = tries_of(site, run)
    assert (first["state"], second["state"]) == ("lost", "running")
    assert "without using a retry" in first["error"]
    stop(site, "sleeper", run)


def test_05_an_eviction_does_not_use_a_retry_of_the_user(site: Site, cluster: Cluster) -> None:
    run = begin(site)
    pod = cluster.pod_of("sleeper", "sleeps", run_id=_label(run))
    assert pod is not None
    name = pod["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": cluster.namespace}}
    cluster.api.create(f"pods/{name}/eviction", cluster.namespace, body)
    site.server.wait_log("asleep", "sleeper", run, "sleeps", try_number=2, seconds=LONG)
    ti = site.ti("sleeper", run, "sleeps")
    assert (ti["try_number"], ti["max_tries"]) == (2, 1)  # its own retries are 0: the try was for free
    until(lambda: "evict" in str(tries_of(site, run)[0]["error"]).lower(), f"the eviction was named: {tries_of(site, run)[0]}", LONG)
    stop(site, "sleeper", run)


def test_07_no_slot_is_lost_when_the_executor_is_killed(site: Site) -> None:
    runs = [begin(site) for _ in range(2)]
    site.kill("executor")
    for run in runs:
        stop(site, "sleeper", run)
    left = "SELECT count(*) FROM runs_try WHERE executor = 'kubernetes' AND (state IN ('queued', 'running') OR NOT kill_confirmed)"
    until(lambda: site.sql(left)[0][0] == 0, "nothing counted as under way", LONG)


def test_08_two_executors_make_one_pod_per_try(site: Site, cluster: Cluster) -> None:
    import subprocess
    import sys

    from config.embedded_postgres import read_server_info

    info = read_server_info(site.server.home / "data")
    assert info is not None
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TRACKSIDE_", "PG"))} | site.environment
    environment |= {"TRACKSIDE_HOME": str(site.server.home / "data"), "DATABASE_URL": info.url()}
    second = subprocess.Popen([sys.executable, str(world.ROOT / "manage.py"), "executor"], env=environment,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        until(lambda: len(site.sql("SELECT 1 FROM runs_process WHERE kind = 'executor' AND ended_at IS NULL AND lease_until > now()")) >= 2,
              "both executors lived", LONG)  # fmt: skip
        run = site.runs("many")
        assert site.server.wait_run("many", run, LONG)["state"] == "success"
    finally:
        second.send_signal(signal.SIGTERM)
        second.wait(30)
    assert [t["state"] for t in tries_of(site, run)] == ["success"] * 8
    assert [t["submissions"] for t in tries_of(site, run)] == [1] * 8


def test_09_a_restart_of_scheduler_and_executor_touches_no_pod(site: Site, cluster: Cluster) -> None:
    run = begin(site)
    before = cluster.pod_of("sleeper", "sleeps", run_id=_label(run))
    site.kill("executor")
    site.kill("scheduler")
    again = site.server.trigger("sleeper", {"seconds": 0})
    assert site.server.wait_run("sleeper", again, LONG)["state"] == "success"
    after = cluster.pod_of("sleeper", "sleeps", run_id=_label(run))
    assert before is not None and after is not None
    assert (after["metadata"]["uid"], after["metadata"]["labels"]) == (before["metadata"]["uid"], before["metadata"]["labels"])
    assert [t["state"] for t in tries_of(site, run)] == ["running"]
    stop(site, "sleeper", run)


def test_10_finished_pods_and_their_secrets_go(site: Site, cluster: Cluster) -> None:
    run = site.runs("many")
    assert site.server.wait_run("many", run, LONG)["state"] == "success"
    until(lambda: not cluster.pods(dag_id="many"), "the pods were gone", LONG)

    def secrets() -> set[str]:
        return {s["metadata"]["labels"]["trackside-try"] for s in cluster.api.list("secrets", cluster.namespace, "trackside-try")[0]}

    ended = {str(t["id"]) for t in tries_of(site, run)}
    until(lambda: not ended & secrets(), "their secrets were gone", LONG)


def unfinished(cluster: Cluster) -> list[str]:
    return [p["metadata"]["name"] for p in cluster.pods() if p.get("status", {}).get("phase") not in ("Failed", "Succeeded")]


def test_11_a_full_quota_is_a_wait_and_no_failure(site: Site, cluster: Cluster) -> None:
    room = 5 if CROWD > 20 else 2
    for pod in unfinished(cluster):  # a quota counts them; runners of sites that are gone look for them for minutes
        cluster.api.delete("pods", cluster.namespace, pod, grace_s=0)
    until(lambda: not unfinished(cluster), "the pods of other tests had ended", LONG)
    cluster.api.create("resourcequotas", cluster.namespace, {"metadata": {"name": "small"}, "spec": {"hard": {"pods": str(room)}}})
    try:
        until(
            lambda: (cluster.api.get("resourcequotas", cluster.namespace, "small").get("status") or {}).get("hard"), "the quota held", LONG
        )
        run = site.runs("crowded")
        waits = ("SELECT count(*) FILTER (WHERE ti.reason LIKE '%%quota%%'), count(*) FROM runs_taskinstance ti JOIN runs_try t "
                 "ON t.id = ti.try_id JOIN runs_run r ON r.id = ti.run_id "
                 "WHERE r.run_id = %s AND ti.state = 'queued' AND t.submitted_at IS NULL")  # fmt: skip

        def all_say_so() -> bool:
            named, waiting = site.sql(waits, run)[0]
            return bool(named == waiting >= CROWD // 2)

        until(all_say_so, "every waiting task says that it waits for the quota", LONG)
        page = signed_in(site).get(f"/dags/crowded/runs/{run}/tasks/small?map_index={CROWD - 1}&tab=mapped").text
        assert page.count("It waits for room in the namespace") >= CROWD // 4
        site.server.call("POST", "/variables", json={"key": "crowd_may_go", "value": "yes"})
        assert site.server.wait_run("crowded", run, LONG + 6 * CROWD)["state"] == "success"
    finally:
        cluster.api.delete("resourcequotas", cluster.namespace, "small")
    assert [t["state"] for t in tries_of(site, run)] == ["success"] * CROWD


def test_13_the_end_does_not_depend_on_the_log(site: Site) -> None:
    run = site.runs("loud")
    assert site.server.wait_run("loud", run, LONG)["state"] == "success"
    log = site.server.wait_log("line 2999", "loud", run, "talks", seconds=LONG)
    assert [line for line in log.splitlines() if line.startswith("line ")] == [f"line {n}" for n in range(3000)]


def test_14_a_sidecar_that_never_ends_holds_nothing_up(site: Site, cluster: Cluster) -> None:
    run = site.runs("side")
    assert site.server.wait_run("side", run, LONG)["state"] == "success"
    until(lambda: not cluster.pods(dag_id="side"), "the pod was gone with its sidecar", LONG)


def test_15_a_token_is_good_however_long_the_try_was_queued(site: Site) -> None:
    """Scaled down: a day in the queue is written into the row instead of waited for."""
    site.server.unpause("sleeper")
    os.kill(site.pid("executor"), signal.SIGSTOP)
    try:
        run = site.server.trigger("sleeper", {"seconds": 0})
        site.wait_state("sleeper", run, "sleeps", "queued")
        site.sql("UPDATE runs_try SET queued_at = queued_at - interval '1 day' WHERE id = ANY(%s)", [t["id"] for t in tries_of(site, run)])
    finally:
        os.kill(site.pid("executor"), signal.SIGCONT)
    assert site.server.wait_run("sleeper", run, LONG)["state"] == "success"


def signed_in(site: Site) -> httpx.Client:
    """A client that reads pages."""
    pages = httpx.Client(base_url=site.server.url, trust_env=False, follow_redirects=True, timeout=60)
    proof = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', pages.get("/login").text)
    assert proof
    sent = {"username": site.server.user, "password": site.server.password, "csrfmiddlewaretoken": proof[1]}
    pages.post("/login", data=sent, headers={"Referer": site.server.url})
    return pages


def _label(text: str) -> str:
    from trackside.executors.kubernetes.names import label

    return label(text)
