"""Airflow's own example for its Kubernetes executor, as published: it loads, ends well, and its pods are what it asks for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.test_airflow_examples import fetch
from tests.executors import world
from tests.executors.world import LONG, Cluster, Site
from tests.support.server import until
from trackside.executors.kubernetes.api import Unreachable

DAG = "example_kubernetes_executor"
FOLDER = "airflow/example_dags"


@pytest.fixture(scope="module")
def site(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    packages = tmp_path_factory.mktemp("airflow")
    fetch(packages)
    files = {name: (packages / name).read_text() for name in (
        f"{FOLDER}/{DAG}.py", f"{FOLDER}/libs/__init__.py", f"{FOLDER}/libs/helper.py", f"{FOLDER}/__init__.py",
    )}  # fmt: skip
    repository, _, tag = cluster.image.rpartition(":")
    names = {"REPOSITORY": repository, "TAG": tag}
    settings = {f"AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_{name}": value for name, value in names.items()}
    settings["TRACKSIDE_KUBERNETES_ALLOW_HOST_ACCESS"] = "true"  # one of its tasks mounts the node's /tmp
    written = Path("/tmp/volume_mount_test.txt")  # by the example, on the node; whoever else left it there owns it
    written.unlink(missing_ok=True)
    with world.site(files, ["kubernetes"], cluster=cluster, **settings) as found:
        yield found
    written.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def pods(site: Site, cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Task id → its pod as the API server took it, of one run that ended well. A watch sees them all, however short they live."""
    seen: dict[str, dict[str, Any]] = {}
    site.server.wait_dag(DAG, LONG)
    _, version = cluster.api.list("pods", cluster.namespace)

    def watch() -> None:
        with suppress(Unreachable):  # other tests end the API server
            for kind, pod in cluster.api.watch("pods", cluster.namespace, f"dag_id={DAG}", version):
                if kind == "ADDED":
                    seen[pod["metadata"]["annotations"]["task_id"]] = pod

    threading.Thread(target=watch, daemon=True).start()
    run = site.runs(DAG)
    state = site.server.wait_run(DAG, run, LONG)["state"]
    failed = [task["task_id"] for task in site.server.tasks(DAG, run) if task["state"] == "failed"]
    assert state == "success", "\n".join(site.server.log_of(DAG, run, task)[-3000:] for task in failed)
    return until(lambda: seen if len(seen) == len(site.server.tasks(DAG, run)) else None, "every task had a pod", LONG)


def main(pod: dict[str, Any]) -> dict[str, Any]:
    """The container of the task."""
    found: dict[str, Any] = next(c for c in pod["spec"]["containers"] if c["name"] == "base")
    return found


def test_annotations_and_labels_are_added(pods: dict[str, dict[str, Any]]) -> None:
    assert pods["start_task"]["metadata"]["annotations"]["test"] == "annotation"
    assert pods["non_root_task"]["metadata"]["labels"]["release"] == "stable"
    assert [task for task, pod in pods.items() if "test" in pod["metadata"]["annotations"]] == ["start_task"]
    assert [task for task, pod in pods.items() if "release" in pod["metadata"]["labels"]] == ["non_root_task"]


def test_volumes_and_mounts_are_added(pods: dict[str, dict[str, Any]]) -> None:
    pod = pods["test_volume_mount"]
    assert {"name": "example-kubernetes-test-volume", "hostPath": {"path": "/tmp/", "type": ""}} in pod["spec"]["volumes"]
    assert {"name": "example-kubernetes-test-volume", "mountPath": "/foo/"} in main(pod)["volumeMounts"]


def test_a_sidecar_stands_beside_the_task(pods: dict[str, dict[str, Any]]) -> None:
    pod = pods["test_sharedvolume_mount"]
    assert [c["name"] for c in pod["spec"]["containers"]] == ["base", "sidecar"]
    sidecar = pod["spec"]["containers"][1]
    assert (sidecar["image"], sidecar["command"]) == ("ubuntu", ["bash", "-cx"])
    assert sidecar["args"] == ['echo "retrieved from mount" > /shared/test.txt']
    assert {"name": "shared-empty-dir", "mountPath": "/shared/"} in sidecar["volumeMounts"]
    assert {"name": "shared-empty-dir", "mountPath": "/shared/"} in main(pod)["volumeMounts"]
    assert {"name": "shared-empty-dir", "emptyDir": {}} in pod["spec"]["volumes"]


def test_affinity_tolerations_and_resources_are_taken_over(pods: dict[str, dict[str, Any]]) -> None:
    pod = pods["task_with_resource_limits"]
    assert main(pod)["resources"] == {"requests": {"memory": "512Mi"}, "limits": {"memory": "512Mi"}}
    wanted = {"key": "dedicated", "operator": "Equal", "value": "airflow"}
    assert wanted in pod["spec"]["tolerations"]
    selector = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["airflow"]}]}
    term = {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"}
    assert pod["spec"]["affinity"] == {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    assert "affinity" not in pods["start_task"]["spec"]


def test_the_image_of_the_settings_is_the_one_asked_for(pods: dict[str, dict[str, Any]], cluster: Cluster) -> None:
    assert main(pods["base_image_override_task"])["image"] == cluster.image
