"""Trackside itself in Kubernetes, from its own images and its own chart: what a site's operator and user do on the first day.

In the order of the file: all tests share one release, and the last one takes it away.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.executors.world import CLUSTER, LONG
from tests.in_cluster import installed
from tests.in_cluster.installed import NAME, PARTS, Release
from tests.support.server import PASSWORD, ROOT, until

KEPT = [f"persistentvolumeclaim/{NAME}-logs", f"secret/{NAME}-keys"]
"""What `helm uninstall` says that it leaves: nobody could make logs and keys again."""


def test_every_process_is_ready_and_the_tables_are_made(release: Release) -> None:
    deployments = {one["metadata"]["name"]: one for one in release.get("deployments")["items"]}
    assert {name: one["status"].get("readyReplicas") for name, one in deployments.items()} == {f"{NAME}-{p}": n for p, n in PARTS.items()}
    (job,) = release.get("jobs")["items"]
    assert job["status"]["succeeded"] == 1


def test_health_says_that_everything_lives(release: Release) -> None:
    answer = release.user.http.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")
    assert {part: answer.json()[part]["alive"] for part in ("scheduler", "executor", "dag_processor", "triggerer")} == {
        "scheduler": 2, "executor": 2, "dag_processor": 1, "triggerer": 1,
    }  # fmt: skip


def test_a_person_signs_in_and_every_file_of_a_page_is_there(release: Release) -> None:
    with httpx.Client(base_url=release.user.http.base_url, headers={"Host": release.user.http.headers["Host"]}, trust_env=False) as browser:
        form = browser.get("/login").raise_for_status().text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        assert token
        answer = browser.post("/login", data={"username": "ada", "password": PASSWORD, "csrfmiddlewaretoken": token[1]})
        assert answer.status_code == 302, answer.text
        page = browser.get("/dags")
        assert page.status_code == 200 and "walk" in page.text
        files = set(re.findall(r'(?:src|href)="(/static/[^"#?]+)', page.text))
        assert {Path(file).suffix for file in files} >= {".css", ".js"}
        assert {file: browser.get(file).status_code for file in files} == dict.fromkeys(files, 200)


def test_a_run_ends_well_though_a_scheduler_and_a_web_process_are_killed(release: Release) -> None:
    user = release.user
    user.unpause("walk")
    run_id = user.trigger("walk")

    def holding() -> bool:
        states = user.states("walk", run_id)
        failed = [task for task, state in states.items() if state == "failed"]
        assert not failed, f"{states}\n{user.log_of('walk', run_id, failed[0])}\n{release.tell()}"
        return states.get("held") == "running"

    until(holding, "the run was where the test holds it", LONG)
    scheduler, before = release.kill("scheduler")
    web = release.pods_of("web")[0]["metadata"]["name"]
    release.kubectl("delete", "pod", web, "--grace-period=0", "--force")
    until(lambda: release.ready("web", without=web), "another web process was ready", LONG)

    def again() -> bool:
        (status,) = next(p for p in release.pods_of("scheduler") if p["metadata"]["name"] == scheduler)["status"]["containerStatuses"]
        return status["restartCount"] > before and status["ready"]

    until(again, "the scheduler was started again", LONG)
    until(lambda: _answers(release), "the Service leads to living processes only")
    user.call("POST", "/variables", json={"key": "go", "value": "on"})
    assert user.wait_run("walk", run_id, LONG)["state"] == "success", f"{user.describe('walk', run_id)}\n{release.tell()}"
    assert [t["try_number"] for t in user.tasks("walk", run_id)] == [1, 1, 1, 1]
    assert user.value("walk", run_id, "waits") == "resumed"
    hosts = {user.value("walk", run_id, task) for task in ("first", "held", "last")}
    assert len(hosts) == 3 and all(host.startswith("walk-") for host in hosts)  # a pod each, named after its task
    assert "good morning from a pod" in user.wait_log("good morning", "walk", run_id, "first")


def _answers(release: Release) -> bool:
    """Several connections of their own, so that the Service chooses more than once."""
    address, host = f"{release.user.http.base_url}/health/ready", release.user.http.headers["Host"]
    try:
        return all(httpx.get(address, headers={"Host": host}, timeout=3, trust_env=False).status_code == 200 for _ in range(8))
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("account", [NAME, f"{NAME}-executor", "trackside-task"])
def test_accounts_may_do_no_more_than_they_need(release: Release, account: str) -> None:
    asked = [("create", "pods"), ("delete", "pods"), ("update", "pods"), ("get", "secrets"), ("create", "deployments"), ("list", "nodes")]
    needed = asked[:2] if account.endswith("executor") else []
    assert [right for right in asked if _may(release, account, *right)] == needed


def _may(release: Release, account: str, verb: str, what: str) -> bool:
    namespace = release.cluster.namespace
    question = ["auth", "can-i", verb, what, "--namespace", namespace, f"--as=system:serviceaccount:{namespace}:{account}"]
    return subprocess.run([str(CLUSTER), "kubectl", *question], capture_output=True, text=True).stdout.strip() == "yes"


def test_uninstalled_it_leaves_logs_and_keys_and_nothing_else(release: Release) -> None:
    keys = release.get("secret", f"{NAME}-keys")["data"]
    said = release.helm("uninstall", "--wait")
    assert f"[Secret] {NAME}-keys" in said and f"[PersistentVolumeClaim] {NAME}-logs" in said
    kinds = (
        "pods,services,deployments,replicasets,jobs,configmaps,secrets,serviceaccounts,roles,rolebindings,networkpolicies,"
        "poddisruptionbudgets,persistentvolumeclaims"
    )

    def left() -> list[str]:
        names = release.kubectl("get", kinds, "-o", "name").split()
        return sorted(name for name in names if name not in ("configmap/kube-root-ca.crt", "serviceaccount/default"))

    until(lambda: left() == KEPT, "everything but logs and keys was gone", LONG)
    # who installs it again has the same keys
    chart = str(ROOT / "deploy/chart")
    again = release.helm("install", chart, *release.settings, "--dry-run=server")
    assert installed.secret_of(again, f"{NAME}-keys") == keys
