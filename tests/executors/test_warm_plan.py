"""Warm pods on paper: what may share one, how many there are, what a pod's state means for which try. No cluster is needed."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.executors.test_kubernetes_pods import ref, settings
from trackside.executors.base import Fault, Known, Phase, TryRef
from trackside.executors.kubernetes import names, reasons, reuse
from trackside.executors.kubernetes.builder import BadPod
from trackside.executors.kubernetes.settings import PodSettings
from trackside.executors.kubernetes.warm import HANGS_S, Told, WarmPods

KEY = "k" * 24


def planned(config: Any = True, **fields: Any) -> reuse.Plan:
    one = ref(config={"reuse": config, **fields.pop("more", {})}, **fields)
    wish = reuse.wish_of(one)
    assert wish is not None
    return reuse.plan(one, wish, settings(), "kubernetes")


# --- what may share a pod ----------------------------------------------------------------------------------------------------
def test_tries_of_one_dag_with_the_same_wishes_share_and_nothing_else_does() -> None:
    key = planned().key
    other_try = {"id": uuid.UUID(int=9), "run_id": "r2", "number": 1, "map_index": -1, "round": 2, "task_id": "other", "logical_date": None}
    assert planned(**other_try).key == key
    override = {"spec": {"containers": [{"name": "base", "resources": {"limits": {"memory": "1Gi"}}}]}}
    different = [
        planned(dag_id="another").key, planned({"idle": 5}).key, planned(more={"pod_override": override}).key,
        planned(more={"pod_override": {"spec": {"serviceAccountName": "other"}}}).key,
    ]  # fmt: skip
    assert len({key, *different}) == 5
    one = ref(config={"reuse": True})
    assert reuse.plan(one, reuse.Wish(), PodSettings(image="task:2", api_url="http://web:8080"), "kubernetes").key != key
    assert reuse.plan(one, reuse.Wish(), settings(), "other").key != key


def test_the_pod_names_no_try_and_asks_for_tries() -> None:
    plan = planned({"idle": 5, "tries": 7})
    pod = reuse.named(plan.pod, "Daily Report")
    labels, base = pod["metadata"]["labels"], pod["spec"]["containers"][0]
    assert (labels[reuse.KEY], labels["dag_id"]) == (plan.key, names.label("Daily Report"))
    assert not {"task_id", "run_id", "try_number", "map_index", "ti_id", names.TRY, names.ROUND} & set(labels)
    assert pod["metadata"]["annotations"] == {"dag_id": "Daily Report"}
    assert base["command"][3:11] == ["--reuse", "--idle", "5", "--tries", "7", "--age", "3600", "--empty"]
    (volume,) = [v for v in pod["spec"]["volumes"] if v["name"] == "trackside-start"]
    assert volume["secret"]["secretName"] == pod["metadata"]["name"]
    assert len(pod["metadata"]["name"]) <= 63
    assert reuse.named(plan.pod, "Daily Report")["metadata"]["name"] != pod["metadata"]["name"]
    made = reuse.secret(pod, "token-of-the-pod")
    assert (made["metadata"]["name"], made["stringData"]) == (pod["metadata"]["name"], {"token": "token-of-the-pod"})
    assert "token-of-the-pod" not in str(pod)


def test_a_tmp_that_is_somebodys_volume_is_not_emptied() -> None:
    volumes = {"spec": {"volumes": [{"name": "kept", "persistentVolumeClaim": {"claimName": "c"}}],
                        "containers": [{"name": "base", "volumeMounts": [{"name": "kept", "mountPath": "/tmp"}]}]}}  # fmt: skip
    assert "--empty" not in planned(more={"pod_override": volumes}).pod["spec"]["containers"][0]["command"]


@pytest.mark.parametrize(("wish", "says"), [
    ("yes", r"reuse'\] of task group\.load must be True or a mapping"), ({"idel": 3}, r"knows no 'idel'"),
    ({"tries": 0}, r"tries must be a number from 1"), ({"age": "1h"}, r"age must be a number"), ({"idle": True}, r"idle must be a number"),
])  # fmt: skip
def test_wishes_that_make_no_sense_are_refused_in_words(wish: Any, says: str) -> None:
    with pytest.raises(BadPod, match=says):
        reuse.wish_of(ref(config={"reuse": wish}))


def test_not_asked_for_is_a_pod_for_each_try() -> None:
    assert reuse.wish_of(ref()) is None
    assert reuse.wish_of(ref(config={"reuse": False})) is None


# --- how many there are ------------------------------------------------------------------------------------------------------
class Cluster:
    """The pods that the watch shows."""

    def __init__(self) -> None:
        self.pods: list[dict[str, Any]] = []
        self.warm = WarmPods(settings(keep_failed_s=600), lambda: self.pods)

    def pod(self, name: str, phase: str = "Running", *, key: str = KEY, age_s: float = 60, idle: int = 60, **status: Any) -> dict[str, Any]:
        created = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
        state = {"terminated": status.pop("ended")} if "ended" in status else {"running": {}} if phase == "Running" else {"waiting": {}}
        made = {
            "metadata": {"name": name, "uid": f"uid-{name}", "namespace": "default", "labels": {reuse.KEY: key},
                         "creationTimestamp": created},
            "spec": {"containers": [{"name": "base", "command": ["python3", "--reuse", "--idle", str(idle)]}]},
            "status": {"phase": phase, "containerStatuses": [{"name": "base", "state": state}], **status},
        }  # fmt: skip
        self.pods = [p for p in self.pods if p["metadata"]["name"] != name] + [made]
        return made

    def look(self, known: dict[uuid.UUID, Known], *changed: dict[str, Any], gone: tuple = ()) -> dict[uuid.UUID, Any]:
        told = [Told(pod, reasons.judge(pod, [], settings(), datetime.now(UTC))) for pod in changed]
        return {one.try_id: one for one in self.warm.look(known, told, gone)}

    def due(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.warm.superfluous()]


@pytest.fixture
def there() -> Cluster:
    return Cluster()


A, B, C = (uuid.UUID(int=n) for n in (1, 2, 3))


def waits(since_s: float = 5) -> Known:
    return Known("queued", datetime.now(UTC) - timedelta(seconds=since_s), KEY, "")


def at(place: str, state: str = "running") -> Known:
    return Known(state, datetime.now(UTC), KEY, place)


def plans(*ids: uuid.UUID) -> dict[uuid.UUID, reuse.Plan]:
    return {i: reuse.Plan(KEY, reuse.Wish(), {}) for i in ids}


def shared_ref(try_id: uuid.UUID, place: str = "") -> tuple[TryRef, datetime]:
    return ref(id=try_id, reuse_key=KEY, place=place), datetime.now(UTC) - timedelta(seconds=30)


def test_there_are_as_many_pods_as_tries_under_way(there: Cluster) -> None:
    there.pod("busy")
    there.pod("free")
    there.pod("ended", "Succeeded", ended={"exitCode": 0})
    there.look({A: at("busy"), B: at("free")})
    wanted = plans(B, C)
    there.warm.enough(wanted, {A: at("busy")})
    assert [plan.create for plan in wanted.values()] == [False, True], "one takes the free pod"


def test_a_pod_just_made_counts_before_the_watch_shows_it(there: Cluster) -> None:
    there.look({})
    there.warm.created(KEY, "new")
    wanted = plans(A)
    there.warm.enough(wanted, {})
    assert not wanted[A].create
    there.pod("new", "Pending", age_s=0)
    more = plans(B)
    there.warm.enough(more, {A: waits()})
    assert more[B].create, "it is counted once"


def test_what_no_pod_will_come_for_is_submitted_again(there: Cluster) -> None:
    there.pod("busy")
    there.look({A: at("busy"), B: waits(), C: at("gone", "queued")})
    assert set(there.warm.lost([shared_ref(B), shared_ref(C, "gone")], datetime.now(UTC))) == {B, C}
    there.pod("free")
    assert there.warm.lost([shared_ref(B)], datetime.now(UTC)) == []
    there.pod("free", "Succeeded", ended={"exitCode": 0})
    young = (shared_ref(B)[0], datetime.now(UTC))
    assert there.warm.lost([young], datetime.now(UTC)) == [], "another executor may just have made one"


def test_pods_that_wait_for_nobody_are_taken_away(there: Cluster) -> None:
    there.pod("waits", "Pending")
    there.pod("young", "Pending", age_s=0)
    there.look({})
    assert there.due() == ["waits"]
    there.look({A: waits()})
    assert there.due() == ["waits"], "one of the two is enough"
    there.look({A: waits(), B: waits()})
    assert there.due() == []


def test_a_pod_that_does_not_leave_or_does_not_take_what_waits_is_made_to(there: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    from trackside.executors.kubernetes import warm

    clock = [1000.0]
    monkeypatch.setattr(warm.time, "monotonic", lambda: clock[0])
    there.pod("idle", idle=300)
    there.look({})
    assert there.due() == []
    clock[0] += 300
    there.look({A: waits(1)})
    assert there.due() == [], "it has just got something to take"
    there.look({A: waits(HANGS_S + 1)})
    assert there.due() == ["idle"], "and did not take it"
    there.look({})
    assert there.due() == []
    clock[0] += HANGS_S + 1
    assert there.due() == ["idle"]
    there.look({A: at("idle")})
    assert there.due() == []


def test_what_left_goes_at_once_and_what_failed_stays_for_a_while(there: Cluster) -> None:
    there.pod("left", "Succeeded", ended={"exitCode": 0})
    there.pod("failed", "Failed", ended={"exitCode": 1})
    there.pod("with-a-try", "Failed", ended={"exitCode": 1})
    there.look({A: at("with-a-try")})
    assert there.due() == ["left"]


# --- what a pod's state means ------------------------------------------------------------------------------------------------
def test_a_pod_that_dies_takes_the_one_try_that_ran_in_it(there: Cluster) -> None:
    oom = there.pod("dies", "Failed", ended={"exitCode": 137, "reason": "OOMKilled"})
    seen = there.look({A: at("dies"), B: at("lives"), C: waits()}, oom)
    assert (seen[A].phase, seen[A].fault, seen[A].reason.code) == (Phase.ENDED, Fault.USER, "oom")
    assert set(seen) == {A}
    evicted = there.pod("dies", "Failed", reason="Evicted", ended={"exitCode": 137})
    assert there.look({A: at("dies")}, evicted)[A].fault is Fault.INFRA


def test_a_try_that_was_only_handed_over_is_not_ended_by_the_loss_of_its_pod(there: Cluster) -> None:
    evicted = there.pod("dies", "Failed", reason="Evicted", ended={"exitCode": 137})
    assert there.look({A: at("dies", "queued")}, evicted) == {}
    assert there.warm.lost([shared_ref(A, "dies")], datetime.now(UTC)) == [A]
    left = there.pod("dies", "Succeeded", ended={"exitCode": 0})
    assert there.look({A: at("dies", "queued")}, left) == {}
    crashed = there.pod("dies", "Failed", ended={"exitCode": 1})
    assert there.look({A: at("dies", "queued")}, crashed)[A].fault is Fault.USER, "or it would crash again and again"


def test_a_pod_that_never_begins_is_charged_to_the_oldest_that_waits_and_to_one_only(there: Cluster) -> None:
    bad = there.pod("bad", "Pending")
    bad["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "InvalidImageName", "message": "no such name"}}
    seen = there.look({A: waits(1), B: waits(9)}, bad)
    assert set(seen) == {B}
    assert (seen[B].fault, seen[B].reason.code, seen[B].facts["pod"]) == (Fault.USER, "image_name", "bad")


def test_what_was_taken_away_from_a_pod_without_a_try_is_charged_to_nobody(there: Cluster) -> None:
    for reason, code in (("Evicted", 137), ("Preempting", 143)):
        assert there.look({A: waits()}, there.pod("taken", "Failed", reason=reason, ended={"exitCode": code})) == {}
    left = there.pod("taken", "Succeeded", ended={"exitCode": 0})
    assert there.look({A: waits()}, left) == {}


def test_those_that_wait_hear_what_holds_their_pod_up_once(there: Cluster) -> None:
    stuck = there.pod("stuck", "Pending")
    stuck["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "message": "no node", "lastTransitionTime": datetime.now(UTC).isoformat()}
    ]
    known = {A: waits(), B: waits()}
    seen = there.look(known, stuck)
    assert {one.reason.code for one in seen.values()} == {"pod_unschedulable"}
    assert set(seen) == {A, B}
    assert there.look(known) == {}
    assert set(there.look(known | {C: waits()})) == {C}


def test_the_page_of_a_try_learns_its_pod_when_it_gets_one(there: Cluster) -> None:
    there.pod("pod-1")["spec"]["nodeName"] = "node1"
    known = {A: at("pod-1")}
    facts = there.look(known)[A].facts
    assert (facts["pod"], facts["node"]) == ("pod-1", "node1")
    assert there.look(known) == {}
    assert set(there.look({B: at("pod-1")})) == {B}


def test_a_vanished_pod_ends_what_ran_in_it(there: Cluster) -> None:
    pod = there.pod("away")
    there.pods = []
    seen = there.look({A: at("away"), B: at("away", "queued")}, gone=(pod,))
    assert seen[A].phase is Phase.GONE
    assert set(seen) == {A}
    assert there.warm.missing({A: at("away"), B: waits(), C: at("other", "fenced")}) == [A, C]
