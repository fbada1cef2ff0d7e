"""S28: no task gets a way to the node, another namespace or the cluster's API by what its DAG file asks of its pod."""

from __future__ import annotations

import copy
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from trackside.executors.base import ExecutorProblem, TryRef
from trackside.executors.kubernetes import builder
from trackside.executors.kubernetes.settings import PodSettings, read

REF = TryRef(id=uuid.UUID(int=7), round=1, dag_id="d", task_id="t", run_id="r", map_index=-1, number=1, start_token="secret-token")


def base(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "base", **fields}]}}


CORPUS = {
    "hostNetwork": {"spec": {"hostNetwork": True}},
    "hostPID": {"spec": {"hostPID": True}},
    "hostIPC": {"spec": {"hostIPC": True}},
    "hostPath": {"spec": {"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}},
    "a socket": {"spec": {"volumes": [{"name": "s", "hostPath": {"path": "/run/containerd/containerd.sock", "type": "Socket"}}]}},
    "privileged": base(securityContext={"privileged": True}),
    "a side car": {"spec": {"containers": [{"name": "base"}, {"name": "x", "image": "i", "securityContext": {"privileged": True}}]}},
    "a privileged init container": {"spec": {"initContainers": [{"name": "x", "image": "i", "securityContext": {"privileged": True}}]}},
    "an ephemeral container": {"spec": {"ephemeralContainers": [{"name": "x", "securityContext": {"privileged": True}}]}},
    "SYS_ADMIN": base(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}),
    "CAP_SYS_PTRACE": base(securityContext={"capabilities": {"add": ["cap_sys_ptrace"]}}),
    "ALL": base(securityContext={"capabilities": {"add": ["ALL"]}}),
    "hostPort": base(ports=[{"containerPort": 80, "hostPort": 80}]),
    "procMount": base(securityContext={"procMount": "Unmasked"}),
    "seccomp": base(securityContext={"seccompProfile": {"type": "Unconfined"}}),
    "seccomp of the pod": {"spec": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}},
    "apparmor": base(securityContext={"appArmorProfile": {"type": "Unconfined"}}),
    "sysctl": {"spec": {"securityContext": {"sysctls": [{"name": "kernel.core_pattern", "value": "|/x"}]}}},
    "host process": {"spec": {"securityContext": {"windowsOptions": {"hostProcess": True}}}},
}


def built(config: dict[str, Any], **fields: Any) -> dict[str, Any]:
    ref = copy.copy(REF)
    object.__setattr__(ref, "config", config)
    return builder.build(ref, PodSettings(image="i", api_url="http://web", **fields), "kubernetes")


@pytest.mark.parametrize("name", CORPUS)
def test_s28_a_way_to_the_node_is_refused_in_an_override_and_in_a_template_of_the_tasks(name, tmp_path):
    asked = CORPUS[name]
    with pytest.raises(builder.BadPod, match=r"Task t asks for .+ beyond its pod.+TRACKSIDE_KUBERNETES_ALLOW_HOST_ACCESS"):
        built({"pod_override": asked})
    template = copy.deepcopy(asked)
    if not any(c["name"] == "base" for c in template["spec"].setdefault("containers", [])):
        template["spec"]["containers"].insert(0, {"name": "base"})
    file = tmp_path / "pod.yaml"
    file.write_text(yaml.safe_dump({"kind": "Pod", **template}))
    with pytest.raises(builder.BadPod):
        built({"pod_template_file": str(file)})
    built({"pod_override": asked}, allow_host_access=True)


@pytest.mark.parametrize("name", CORPUS)
def test_s28_whoever_runs_the_site_may_give_it_by_the_sites_template(name):
    template = copy.deepcopy(CORPUS[name])
    template["spec"].setdefault("containers", [{"name": "base"}])
    assert built({}, template=template)["spec"]


@pytest.mark.parametrize("namespace", ["kube-system", "", "default ", "other", "DEFAULT", None, "../kube-system"])
def test_s28_no_pod_leaves_the_namespaces_of_the_site(namespace):
    config = {"pod_override": {"metadata": {"namespace": namespace, "name": "kube-apiserver", "generateName": "x-"}}}
    try:
        pod = built(config)
    except builder.BadPod as e:
        assert "pods may only be in default" in str(e)
    else:
        assert pod["metadata"]["namespace"] == "default"
        assert "kube-apiserver" not in pod["metadata"]["name"] and "generateName" not in pod["metadata"]


def test_s28_what_tells_pods_apart_cannot_be_overridden():
    before = built({})["metadata"]["labels"]
    labels = dict.fromkeys(before, "forged")
    after = built({"pod_override": {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Always"}}})
    from trackside.executors.kubernetes import names

    for own in (names.SITE, names.EXECUTOR, names.TRY, names.ROUND):
        assert after["metadata"]["labels"][own] == before[own]
    assert after["spec"]["restartPolicy"] == "Never"


def test_s28_no_token_of_the_cluster_and_none_of_ours_is_in_the_pod():
    pod = built({})
    assert pod["spec"]["automountServiceAccountToken"] is False and pod["spec"]["enableServiceLinks"] is False
    assert "secret-token" not in str(pod)


@pytest.mark.parametrize("override", ["x", 1, [], {"spec": "x"}, {"spec": {"containers": "x"}}, {"spec": {"volumes": [1]}}])
def test_s28_what_is_no_pod_is_refused_in_words(override):
    with pytest.raises(builder.BadPod, match=r"pod_override.* of task t"):
        built({"pod_override": override})


def test_s28_the_setting_is_true_or_false():
    known = {"TRACKSIDE_KUBERNETES_IMAGE": "i", "TRACKSIDE_API_URL": "http://x"}
    assert read(known).allow_host_access is False
    assert read({**known, "TRACKSIDE_KUBERNETES_ALLOW_HOST_ACCESS": "true"}).allow_host_access is True
    with pytest.raises(ExecutorProblem, match="TRACKSIDE_KUBERNETES_ALLOW_HOST_ACCESS='perhaps'"):
        read({**known, "TRACKSIDE_KUBERNETES_ALLOW_HOST_ACCESS": "perhaps"})


def test_s28_the_chart_ships_a_network_policy():
    chart = Path(__file__).parents[2] / "deploy"
    assert any("kind: NetworkPolicy" in f.read_text(encoding="utf-8") for f in chart.rglob("*.yaml"))
