"""Pods as they are asked for: names, labels, overrides, defaults; checked by the real API server where it has a say."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.executors.world import ROOT, Cluster
from trackside.core.messages import NOT_STARTED
from trackside.executors.base import Fault, Phase, TryRef, Verdict
from trackside.executors.kubernetes import builder, causes, names, reasons
from trackside.executors.kubernetes.api import Refusal
from trackside.executors.kubernetes.creating import ROOM_PAUSE_S, Creators
from trackside.executors.kubernetes.merge import merged
from trackside.executors.kubernetes.settings import PodSettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ref(**fields: object) -> TryRef:
    base = {"id": uuid.UUID(int=7), "round": 1, "dag_id": "Daily Report", "task_id": "group.load",
            "run_id": "manual__2026-01-01T00:00:00+00:00", "map_index": 2,
            "number": 3, "logical_date": "2026-01-01T00:00:00+00:00", "start_token": "secret-token"}  # fmt: skip
    return TryRef(**(base | fields))  # type: ignore[arg-type]


def settings(**fields: object) -> PodSettings:
    return PodSettings(image="task:1", api_url="http://web:8080", **fields)  # type: ignore[arg-type]


def pod(config: dict | None = None, **fields: object) -> dict:
    return builder.build(ref(config=config or {}), settings(**fields), "kubernetes")


def test_the_name_follows_from_the_try_and_its_round() -> None:
    assert names.pod_name(ref()) == "daily-report-group-load-00000000000000000000000000000007"
    assert names.pod_name(ref(round=2)).endswith("0007-2")
    assert len(names.pod_name(ref(dag_id="x" * 250))) == 63


def test_labels_are_airflows_and_different_values_stay_different() -> None:
    labels = pod()["metadata"]["labels"]
    assert (labels["try_number"], labels["map_index"], labels["task_id"]) == ("3", "2", "group.load")
    assert labels["logical_date"] == "2026-01-01T00_00_00_plus_00_00"
    assert names.label("daily") == "daily"
    assert names.label("a b") != names.label("ab")
    assert names.label("x" * 64) != names.label("x" * 65)
    assert all(len(value) <= 63 for value in labels.values())
    assert pod()["metadata"]["annotations"]["dag_id"] == "Daily Report"


def test_the_token_is_in_the_secret_and_nowhere_else() -> None:
    made = pod()
    assert "secret-token" not in str(made)
    assert "secret-token" not in str(ref())
    assert "secret-token" not in str(builder.facts(made))
    assert builder.secret(ref(), made)["stringData"] == {"token": "secret-token"}


def test_pods_are_locked_down_unless_they_say_otherwise() -> None:
    spec = pod()["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    loose = pod({"pod_override": {"spec": {"automountServiceAccountToken": True, "containers": [
        {"name": "base", "securityContext": {"readOnlyRootFilesystem": False}}]}}})["spec"]  # fmt: skip
    assert loose["automountServiceAccountToken"] is True
    assert loose["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is False


def test_an_override_wins_and_lists_add_up() -> None:
    template = {"spec": {"containers": [{"name": "base", "image": "other:2", "env": [{"name": "A", "value": "1"}]}]}}
    override = {"metadata": {"labels": {"team": "red"}}, "spec": {"nodeSelector": {"disk": "ssd"}, "containers": [
        {"name": "base", "env": [{"name": "A", "value": "2"}], "resources": {"limits": {"memory": "1Gi"}}},
        {"name": "side", "image": "s:1"}]}}  # fmt: skip
    made = pod({"pod_override": override}, template=template)
    base, side = made["spec"]["containers"]
    assert (base["image"], base["resources"], side["name"]) == ("other:2", {"limits": {"memory": "1Gi"}}, "side")
    assert [v["value"] for v in base["env"] if v["name"] == "A"] == ["2"]
    assert made["metadata"]["labels"]["team"] == "red"
    assert made["metadata"]["labels"]["dag_id"]
    assert made["spec"]["nodeSelector"] == {"disk": "ssd"}


def test_a_v1pod_of_the_client_is_kept_in_the_apis_own_names() -> None:
    from kubernetes.client import models as k8s

    from trackside.sdk.jsonable import jsonable

    made = k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(labels={"a": "b"}),
        spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base", image_pull_policy="Always")], node_selector={"disk": "ssd"}),
    )
    assert jsonable({"pod_override": made}) == {
        "pod_override": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"imagePullPolicy": "Always", "name": "base"}],
                                                                      "nodeSelector": {"disk": "ssd"}}},
    }  # fmt: skip


def test_wishes_that_make_no_pod_are_refused_in_words() -> None:
    with pytest.raises(builder.BadPod, match=r"must be a V1Pod or a dict"):
        pod({"pod_override": "nonsense"})
    with pytest.raises(builder.BadPod, match=r"namespace elsewhere, but pods may only be in default"):
        pod({"pod_override": {"metadata": {"namespace": "elsewhere"}}})
    with pytest.raises(builder.BadPod, match=r"cannot be read"):
        pod({"pod_template_file": "/no/such/file"})


def test_merging_changes_neither_side() -> None:
    base, over = {"a": {"b": 1}, "env": [{"name": "x"}]}, {"a": {"c": 2}, "env": [{"name": "y"}], "n": None}
    assert merged(base, over) == {"a": {"b": 1, "c": 2}, "env": [{"name": "x"}, {"name": "y"}]}
    assert base == {"a": {"b": 1}, "env": [{"name": "x"}]}


def judged(status: dict, *, events: tuple = (), age_s: int = 0, **metadata: object) -> reasons.Judgement:
    from datetime import timedelta

    made = {
        "metadata": {"creationTimestamp": NOW.isoformat(), **metadata},
        "spec": {"nodeName": "n1", "containers": [{"name": "base"}]},
        "status": status,
    }
    return reasons.judge(made, events, settings(), NOW + timedelta(seconds=age_s))


def main(**state: object) -> dict:
    return {"containerStatuses": [{"name": "base", "state": state}, {"name": "mesh", "state": {"running": {}}}]}


@pytest.mark.parametrize(("code", "fault", "status"), [
    ("node_lost", Fault.INFRA, {"phase": "Failed", "reason": "NodeLost"}),
    ("node_refused", Fault.INFRA, {"phase": "Failed", "reason": "OutOfmemory"}),
    ("evicted", Fault.INFRA, {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
    ("disrupted", Fault.INFRA, {"phase": "Failed", "reason": "NodeShutdown"}),
    ("deadline", Fault.USER, {"phase": "Failed", "reason": "DeadlineExceeded"}),
    ("preempted", Fault.INFRA, {"phase": "Failed", "conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "preempting"}]}),
    ("node_lost", Fault.INFRA, {"phase": "Failed", **main(terminated={"exitCode": 137, "reason": "ContainerStatusUnknown"})}),
    ("oom", Fault.USER, {"phase": "Running", **main(terminated={"exitCode": 137, "reason": "OOMKilled"})}),
    ("signal", Fault.USER, {"phase": "Running", **main(terminated={"exitCode": 139, "reason": "Error"})}),
    ("exit_code", Fault.USER, {"phase": "Running", **main(terminated={"exitCode": 1, "reason": "Error"})}),
])  # fmt: skip
def test_ends_are_told_by_the_main_container(code: str, fault: Fault, status: dict) -> None:
    found = judged(status)
    assert (found.cause.code if found.cause else None, found.fault, found.phase) == (code, fault, Phase.ENDED)
    assert found.reason is not None


def test_a_node_that_the_cluster_has_lost_shows_on_the_pod_and_ends_nothing() -> None:
    def conditions(ready: str, containers: str) -> list[dict]:
        return [{"type": "Ready", "status": ready}, {"type": "ContainersReady", "status": containers}]

    silent = {"phase": "Running", "conditions": conditions("False", "True"), **main(running={})}
    assert reasons.node_is_silent(silent)
    assert judged(silent).fault is None
    assert not reasons.node_is_silent(silent | {"conditions": conditions("True", "True")})
    assert not reasons.node_is_silent(silent | {"conditions": conditions("False", "False")})  # a sidecar is not ready


def test_a_runtime_that_is_killed_while_it_starts_a_container_is_not_the_tasks_fault() -> None:
    def fault(said: str) -> Fault | None:
        return judged({"phase": "Failed", **main(terminated={"reason": "StartError", "exitCode": 128, "message": said})}).fault

    made = "failed to create containerd task: "
    assert fault(made + "failed to start shim: start failed: : signal: killed: unknown") is Fault.INFRA
    assert fault(made + "failed to create shim task: context canceled: unknown") is Fault.INFRA
    assert fault(made + "failed to create shim task: ttrpc: closed: unknown") is Fault.INFRA
    missing = 'OCI runtime create failed: runc create failed: exec: "nope": executable file not found in $PATH'
    assert fault(f"{made}failed to create shim task: {missing}: unknown") is Fault.USER


def test_a_runner_that_the_server_refused_costs_no_retry() -> None:
    said = f"{NOT_STARTED}409 This try is running; it is not started again."
    found = judged({"phase": "Failed", **main(terminated={"reason": "Error", "exitCode": 2, "message": said})})
    assert (found.fault, "409 This try is running" in str(found.reason)) == (Fault.INFRA, True)
    assert judged({"phase": "Failed", **main(terminated={"reason": "Error", "exitCode": 2})}).fault is Fault.USER


def test_a_node_that_has_just_started_is_waited_for() -> None:
    for reason, said in (
        ("CreateContainerConfigError", "services have not yet been read at least once, cannot construct envvars"),
        ("CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition"),
        ("CreateContainerError", "rpc error: code = Unavailable desc = connection error: dial unix containerd.sock: no such file"),
        ("RunContainerError", "context deadline exceeded"),
    ):
        waiting = {"phase": "Pending", **main(waiting={"reason": reason, "message": said})}
        assert (judged(waiting, age_s=5).fault, judged(waiting, age_s=901).fault) == (None, Fault.INFRA)
        assert said[:20] in str(judged(waiting, age_s=5).reason)
    missing = {"phase": "Pending", **main(waiting={"reason": "CreateContainerConfigError", "message": 'secret "x" not found'})}
    assert judged(missing, age_s=5).fault is Fault.USER


def test_waits_have_a_reason_and_an_end() -> None:
    unschedulable = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "lastTransitionTime": NOW.isoformat(),
                                                         "message": "0/3 nodes are available: 3 Insufficient memory."}]}  # fmt: skip
    assert judged(unschedulable).fault is None
    assert "Insufficient memory" in str(judged(unschedulable).reason)
    assert judged(unschedulable, age_s=901).fault is Fault.INFRA
    pulling = {"phase": "Pending", **main(waiting={"reason": "ImagePullBackOff", "message": "Back-off pulling image"})}
    assert judged(pulling).fault is None
    assert judged(pulling, age_s=61).fault is Fault.USER
    assert judged({"phase": "Pending", **main(waiting={"reason": "ErrImagePull", "message": "pull QPS exceeded"})}, age_s=100).fault is None
    assert judged({"phase": "Pending", **main(waiting={"reason": "ContainerCreating"})}).reason is None


class _Full:
    """Refuses as an API server does whose namespace has no room."""

    def create(self, *_: object) -> dict:
        said = 'pods "x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=5, limited: pods=5'
        raise Refusal(403, "Forbidden", said)


def test_a_pod_that_goes_ends_the_long_pause_for_a_quota() -> None:
    creators = Creators(_Full(), settings(), "kubernetes")  # type: ignore[arg-type]
    creators._pause = 20.0
    assert creators.create([ref()])[0].verdict is Verdict.LATER
    assert creators.paused_for() > ROOM_PAUSE_S
    creators.room()
    assert 0 < creators.paused_for() <= ROOM_PAUSE_S
    creators.close()


def test_the_page_of_causes_is_fresh() -> None:
    fresh = "Put the output of `python -m trackside.executors.kubernetes.causes` into docs/kubernetes.md."
    assert causes.table() in Path(ROOT, "docs/kubernetes.md").read_text(encoding="utf-8"), fresh


def test_the_api_server_takes_what_is_built(cluster: Cluster) -> None:
    made = builder.build(ref(), settings(namespace=cluster.namespace, namespaces=[cluster.namespace]), "kubernetes")
    kept = cluster.api.create("pods", cluster.namespace, made, dry_run=True)
    assert kept["metadata"]["labels"] == made["metadata"]["labels"]
    kept = cluster.api.create("secrets", cluster.namespace, builder.secret(ref(), made), dry_run=True)
    assert kept["metadata"]["name"] == made["metadata"]["name"]
