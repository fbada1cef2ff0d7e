"""Twelve causes injected into real pods; twelve named on the try, with what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.executors import world
from tests.executors.world import LONG, Cluster, Site
from tests.support.server import until

DAGS = """
import os, time
from datetime import datetime
from airflow.sdk import dag, task
from kubernetes.client import models as k8s

def pod(container=None, **spec):
    return {"pod_override": {"spec": {"containers": [{"name": "base", **(container or {})}], **spec}}}

LIMITED = k8s.V1Pod(spec=k8s.V1PodSpec(containers=[k8s.V1Container(
    name="base", resources=k8s.V1ResourceRequirements(limits={"memory": "200Mi"}, requests={"memory": "50Mi"}))]))

@dag(schedule=None, start_date=datetime(2026, 1, 1), max_active_tasks=50)
def causes():
    @task(executor_config={"pod_override": LIMITED})
    def oom():
        hog = bytearray(1 << 30)
        for place in range(0, len(hog), 4096):
            hog[place] = 1
    @task
    def exit_code():
        os._exit(3)
    @task
    def killed():
        print("come and get me", flush=True)
        time.sleep(600)
    @task(executor_config=pod({"image": "localhost:1/nothing:1"}))
    def bad_image():
        pass
    @task(executor_config=pod({"image": "Not An Image"}))
    def bad_name():
        pass
    @task(executor_config=pod({"command": ["/no/such/command"]}))
    def bad_command():
        pass
    @task(executor_config=pod({"envFrom": [{"secretRef": {"name": "no-such-secret"}}]}))
    def missing_secret():
        pass
    @task(executor_config=pod(nodeSelector={"no": "such-node"}))
    def unschedulable():
        pass
    @task(executor_config=pod(activeDeadlineSeconds=5))
    def deadline():
        time.sleep(600)
    @task(executor_config=pod({"resources": {"limits": {"memory": "nonsense"}}}))
    def invalid():
        pass
    @task(executor_config=pod({"resources": {"limits": {"ephemeral-storage": "5Mi"}}}))
    def evicted():
        with open("/tmp/large", "wb") as f:
            for _ in range(64):
                f.write(b"x" * (1 << 20))
        time.sleep(600)
    @task(executor_config=pod(initContainers=[{"name": "prepare", "image": IMAGE, "command": ["sh", "-c", "exit 7"]}]))
    def init_fails():
        pass
    oom(), exit_code(), killed(), bad_image(), bad_name(), bad_command(), missing_secret(), unschedulable()
    deadline(), invalid(), evicted(), init_fails()

causes()
"""

CAUSES = {
    # task: (state of its first try, words that name the cause)
    "oom": ("failed", "more memory than its limit of 200Mi"),
    "exit_code": ("failed", "exit code 3"),
    "killed": ("failed", "signal 9 (SIGKILL)"),
    "bad_image": ("failed", "cannot be pulled"),
    "bad_name": ("failed", "invalid reference format"),
    "bad_command": ("failed", "/no/such/command"),
    "missing_secret": ("failed", 'secret "no-such-secret" not found'),
    "unschedulable": ("lost", "node affinity/selector"),
    "deadline": ("failed", "activeDeadlineSeconds"),
    "invalid": ("failed", "quantities must match"),
    "evicted": ("lost", "evicted its pod"),
    "init_fails": ("failed", "Init container prepare failed with exit code 7"),
}


@pytest.fixture(scope="module")
def site(cluster: Cluster) -> Iterator[Site]:
    text = DAGS.replace("IMAGE", repr(cluster.image))
    settings = {"TRACKSIDE_KUBERNETES_PENDING_TIMEOUT": "8", "TRACKSIDE_KUBERNETES_PULL_TIMEOUT": "5", "TRACKSIDE_MAX_INFRA_FAILURES": "0"}
    with world.site({"causes.py": text}, ["kubernetes"], cluster=cluster, **settings) as found:
        found.run = found.runs("causes")  # type: ignore[attr-defined]
        yield found


def process_of(try_id: Any) -> psutil.Process:
    """The first process of a try's pod, which runs on this machine."""
    wanted = {str(try_id), "trackside.runner"}
    found = [process for process in psutil.process_iter(["cmdline", "ppid"]) if wanted <= set(process.info["cmdline"] or ())]
    pids = {process.pid for process in found}
    (runner,) = [process for process in found if process.info["ppid"] not in pids]  # what it forked has its command line, too
    return runner


def kill_runner(site: Site) -> None:
    """kill -9 from outside: the first process of a container cannot be killed from within."""
    if os.environ.get("KUBECONFIG"):
        pytest.skip("processes of nodes that are not this machine cannot be killed from here")
    site.server.wait_log("come and get me", "causes", site.run, "killed", seconds=LONG)  # type: ignore[attr-defined]
    process_of(site.tries("causes", "killed")[0]["id"]).kill()


@pytest.mark.parametrize("task", CAUSES)
def test_the_cause_is_named(site: Site, task: str) -> None:
    state, words = CAUSES[task]
    if task == "killed":
        kill_runner(site)
    first = until(
        lambda: [t for t in site.tries("causes", task) if t["state"] not in ("queued", "running")],
        f"{task} ended\n{site.tries('causes', task)}",
        LONG,
    )[0]
    assert words in first["error"]
    assert first["state"] == state
    assert first["facts"]["pod"].startswith("causes-")


def test_a_pod_that_never_ran_leaves_its_events_as_its_log(site: Site) -> None:
    site.wait_state("causes", site.run, "bad_image", "failed")  # type: ignore[attr-defined]
    log = site.server.wait_log("cannot be pulled", "causes", site.run, "bad_image")  # type: ignore[attr-defined]
    assert "Pod event: Failed" in log


def test_the_user_learns_what_was_asked_and_no_secret(site: Site) -> None:
    site.wait_state("causes", site.run, "oom", "failed")  # type: ignore[attr-defined]
    facts = site.tries("causes", "oom")[0]["facts"]
    assert facts["resources"] == {"limits": {"memory": "200Mi"}, "requests": {"memory": "50Mi"}}
    assert facts["node"]
    assert {variable.get("value", "***") for variable in facts["spec"]["containers"][0]["env"]} == {"***"}
