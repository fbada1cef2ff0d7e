"""The Helm chart, as Helm writes it: every object is taken by a real API server, and rights are the least that work."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import yaml

from tests.executors import world
from tests.executors.world import ROOT, Cluster

DATABASE = ("--set", "database.url=postgresql://u:p@db:5432/trackside")


def rendered(*options: str) -> list[dict[str, Any]]:
    """What `helm template` gives."""
    binary = world.helm()
    if binary is None:
        pytest.skip("no Helm here: see tools/executors")
    done = subprocess.run([binary, "template", "site", str(ROOT / "deploy/chart"), "--kube-version", "1.34.0", *options],
                          capture_output=True, text=True)  # fmt: skip
    if done.returncode:
        raise AssertionError(done.stderr)
    return [part for part in yaml.safe_load_all(done.stdout) if part]


def test_the_api_server_takes_every_object(cluster: Cluster) -> None:
    more = ("--namespace", cluster.namespace, "--set", "ingress.enabled=true", "--set", "tasks.podTemplate.kind=Pod")
    rest = {
        "Deployment": ("apis/apps/v1", "deployments"), "Job": ("apis/batch/v1", "jobs"),
        "Role": ("apis/rbac.authorization.k8s.io/v1", "roles"),
        "RoleBinding": ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
        "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
        "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"), "Ingress": ("apis/networking.k8s.io/v1", "ingresses"),
        "ServiceAccount": ("api/v1", "serviceaccounts"), "Service": ("api/v1", "services"), "Secret": ("api/v1", "secrets"),
        "ConfigMap": ("api/v1", "configmaps"), "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
    }  # fmt: skip
    kinds = set()
    for thing in rendered(*DATABASE, *more):
        base, plural = rest[thing["kind"]]
        path = f"/{base}/namespaces/{cluster.namespace}/{plural}"
        thing["metadata"].setdefault("namespace", cluster.namespace)
        query = {"dryRun": "All", "fieldValidation": "Strict"}
        assert cluster.api._json("POST", path, thing, query)["metadata"]["name"] == thing["metadata"]["name"]
        kinds.add(thing["kind"])
    assert kinds == set(rest)


def test_the_executor_may_do_what_it_does_and_nothing_else() -> None:
    (role,) = [thing for thing in rendered(*DATABASE) if thing["kind"] == "Role"]
    assert {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]} == {
        *(("pods", verb) for verb in ("create", "get", "list", "watch", "delete")), ("pods/log", "get"), ("events", "list"),
        *(("secrets", verb) for verb in ("create", "list", "patch", "delete")),
    }  # fmt: skip


def test_no_container_runs_as_root_or_may_write_its_image() -> None:
    for thing in rendered(*DATABASE):
        if thing["kind"] in ("Deployment", "Job"):
            spec = thing["spec"]["template"]["spec"]
            assert spec["securityContext"]["runAsNonRoot"] is True
            assert all(c["securityContext"]["readOnlyRootFilesystem"] for c in spec["containers"])


def environment(*options: str) -> dict[str, str]:
    """What the web process is given, by name; secrets are left out."""
    (web,) = [t for t in rendered(*DATABASE, *options) if t["kind"] == "Deployment" and t["metadata"]["name"] == "site-web"]
    (container,) = web["spec"]["template"]["spec"]["containers"]
    names = [one["name"] for one in container["env"]]
    assert len(names) == len(set(names))
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}


def test_forms_from_the_pages_of_an_ingress_with_tls_are_accepted() -> None:
    options = ("--set", "ingress.enabled=true,ingress.host=flows.example,ingress.tlsSecret=cert")
    assert "TRACKSIDE_TRUSTED_ORIGINS" not in environment()
    assert environment(*options)["TRACKSIDE_TRUSTED_ORIGINS"] == "https://flows.example"
    assert environment(*options, "--set", "env.TRACKSIDE_TRUSTED_ORIGINS=https://a")["TRACKSIDE_TRUSTED_ORIGINS"] == "https://a"
    assert "flows.example" in environment(*options)["TRACKSIDE_ALLOWED_HOSTS"].split(",")


def test_task_pods_reach_web_by_its_service_or_where_they_are_told_to() -> None:
    options = ("--namespace", "flows")
    given = environment(*options)
    assert given["TRACKSIDE_KUBERNETES_API_URL"] == "http://site-web.flows.svc:8080"
    assert "site-web.flows.svc" in given["TRACKSIDE_ALLOWED_HOSTS"].split(",")
    assert environment("--set", "tasks.apiUrl=https://flows.example")["TRACKSIDE_KUBERNETES_API_URL"] == "https://flows.example"


def test_every_pod_gets_all_pull_secrets_tasks_too() -> None:
    options = ("--set", "image.pullSecrets={one,two}")
    pods = [t["spec"]["template"]["spec"] for t in rendered(*DATABASE, *options) if t["kind"] in ("Deployment", "Job")]
    assert len(pods) == 6 and all(pod["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}] for pod in pods)
    assert environment(*options)["TRACKSIDE_KUBERNETES_IMAGE_PULL_SECRETS"] == "one,two"


def test_wrong_values_are_refused_by_name() -> None:
    with pytest.raises(AssertionError, match=r"database"):
        rendered()
    with pytest.raises(AssertionError, match=r"replicas"):
        rendered(*DATABASE, "--set", "web.replicas=many")
    with pytest.raises(AssertionError, match=r"webb"):
        rendered(*DATABASE, "--set", "webb.replicas=2")
