"""Many tasks in pods while everything around them is killed in turn.

TRACKSIDE_TEST_PODS says how many tasks: 16 take a minute or two, 200 are the size of a site.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.executors import world
from tests.executors.test_kubernetes_causes import process_of
from tests.executors.world import LONG, Cluster, Site
from tests.support.server import until

TASKS = int(os.environ.get("TRACKSIDE_TEST_PODS") or 16)
SECONDS = LONG + 6 * TASKS
"""Two cores start two or three pods a second when nobody else wants them."""
pytestmark = [
    pytest.mark.skipif(bool(os.environ.get("KUBECONFIG")), reason="parts of a cluster that is not ours are not killed"),
    pytest.mark.timeout(int(2 * SECONDS)),
]

DAGS = '''
import os, time
from datetime import datetime
from airflow.sdk import dag, task

TRACE = {"pod_override": {"spec": {
    "containers": [{"name": "base", "volumeMounts": [{"name": "trace", "mountPath": "/trace"}]}],
    "volumes": [{"name": "trace", "hostPath": {"path": FOLDER}}]}}}

def begin():
    """A line per start of user code, at once and whole."""
    trace = os.open("/trace/pods", os.O_WRONLY | os.O_APPEND)
    os.write(trace, (os.environ["HOSTNAME"] + "\\n").encode())
    os.close(trace)

@dag(schedule=None, start_date=datetime(2026, 1, 1), max_active_tasks=1000)
def stormy():
    @task(executor_config=TRACE)
    def works(n):
        begin()
        time.sleep(2)
        return n

    @task(executor_config=TRACE)
    def adds(values):
        begin()
        return sum(values)

    adds(works.expand(n=list(range(TASKS))))

stormy()

@dag(schedule=None, start_date=datetime(2026, 1, 1))
def stays():
    @task
    def sleeps():
        print("asleep", flush=True)
        time.sleep(600)

    sleeps()

stays()
'''


@pytest.fixture(scope="module")
def trace(cluster: Cluster) -> Iterator[Path]:
    """The file in which user code notes the pod it began in."""
    folder = Path("/var/tmp", cluster.namespace)
    folder.mkdir()
    folder.chmod(0o755)
    file = folder / "pods"
    file.touch()
    file.chmod(0o666)  # tasks are not root
    yield file
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def site(cluster: Cluster, trace: Path) -> Iterator[Site]:
    dags = DAGS.replace("FOLDER", repr(str(trace.parent))).replace("TASKS", str(TASKS))
    settings = {
        "TRACKSIDE_KUBERNETES_MAX_PODS": "12", "TRACKSIDE_KUBERNETES_KEEP_FAILED": "0", "TRACKSIDE_KUBERNETES_GRACE": "5",
        "TRACKSIDE_MAX_INFRA_FAILURES": "5", "TRACKSIDE_KUBERNETES_ALLOW_HOST_ACCESS": "true",
    }  # fmt: skip
    with world.site({"chaos.py": dags}, ["kubernetes"], cluster=cluster, **settings) as found:
        yield found


def ended(site: Site, run: str) -> int:
    """How many tasks of the run are done."""
    return int(site.sql("SELECT count(*) FROM runs_taskinstance ti JOIN runs_run r ON r.id = ti.run_id "
                        "WHERE r.run_id = %s AND ti.state = 'success'", run)[0][0])  # fmt: skip


def test_whoever_is_killed_every_task_runs_once_and_no_retry_is_used(site: Site, cluster: Cluster, trace: Path) -> None:
    def breaks(part: str) -> Callable[[], None]:
        def away() -> None:
            cluster.part("kill", part)
            time.sleep(2)  # the length of the outage, not a wait for anything
            cluster.part("start", part)

        return away

    processes = [partial(site.kill, part) for part in ("scheduler", "web", "executor")]
    kills = [*processes, breaks("kubelet"), breaks("apiserver")]
    run = site.runs("stormy")
    for number, kill in enumerate(kills):
        until(lambda n=number: ended(site, run) >= n * TASKS // (len(kills) + 1), f"tasks ended before kill {number}", SECONDS)
        kill()
    state = site.server.wait_run("stormy", run, SECONDS)["state"]
    wrong = [t for task in ("works", "adds") for t in site.tries("stormy", task) if t["state"] != "success"]
    assert state == "success", f"{site.server.describe('stormy', run)}\n{wrong}"
    assert site.server.value("stormy", run, "adds") == sum(range(TASKS))
    tries = site.sql("SELECT t.id::text, t.state, ti.max_tries, ti.try_number FROM runs_try t JOIN runs_taskinstance ti ON ti.id = t.ti_id "
                     "JOIN runs_run r ON r.id = ti.run_id WHERE r.run_id = %s", run)  # fmt: skip
    assert Counter(row[1] for row in tries)["success"] == TASKS + 1
    assert {row[1] for row in tries} <= {"success", "lost"}  # nothing failed: a failure would have used a retry
    began = trace.read_text().split()
    known = {row[0].replace("-", "") for row in tries}
    of_try = Counter(next(identity for identity in known if identity in pod) for pod in began)
    assert set(of_try.values()) == {1}, of_try.most_common(3)
    assert len(of_try) >= TASKS + 1


def test_a_lost_node_is_named_and_its_task_starts_again_for_free(site: Site, cluster: Cluster) -> None:
    run = site.runs("stays")
    site.server.wait_log("asleep", "stays", run, "sleeps", seconds=LONG)
    cluster.part("kill", "kubelet")
    try:
        process_of(site.tries("stays", "sleeps")[0]["id"]).kill()
        lost = until(lambda: [t for t in site.tries("stays", "sleeps") if t["state"] == "lost"], "the try counted as lost", LONG)
    finally:
        cluster.part("start", "kubelet")
    assert f"node {lost[0]['facts']['node']}" in lost[0]["error"].lower()
    assert "starts again without using a retry" in lost[0]["error"]
    site.server.wait_log("asleep", "stays", run, "sleeps", try_number=2, seconds=LONG)
    site.server.call("PATCH", f"/dags/stays/dagRuns/{run}", json={"state": "failed"})
    until(lambda: not cluster.pods(dag_id="stays"), "its pods were gone", LONG)
