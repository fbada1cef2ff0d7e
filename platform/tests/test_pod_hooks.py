"""`pod_mutation_hook`: called in a child with a real V1Pod, held to the rules afterwards; its failures fail the try in its own words."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trackside.executors.base import ExecutorProblem, Submission, TryRef, Verdict
from trackside.executors.kubernetes import builder, settings
from trackside.executors.kubernetes.creating import Creators
from trackside.executors.kubernetes.executor import KubernetesExecutor
from trackside.executors.kubernetes.hooks import HookFailed, PodHooks
from trackside.executors.kubernetes.settings import PodSettings

HOOK = """
import os
from kubernetes.client import models as k8s

def pod_mutation_hook(pod):
    assert isinstance(pod, k8s.V1Pod), type(pod)
    wish = pod.metadata.annotations["task_id"]
    base = pod.spec.containers[0]
    if wish == "label":
        pod.metadata.labels["team"] = "red"
        base.env.append(k8s.V1EnvVar(name="SEEN", value=",".join(sorted(n for n in os.environ if "SECRET" in n or "DATABASE" in n))))
        pod.spec.containers.append(k8s.V1Container(name="side", image="proxy:1"))
    elif wish == "vandal":
        pod.metadata.name = "other"
        pod.metadata.labels = None
        pod.metadata.annotations = None
        pod.spec.volumes = []
        base.volume_mounts = []
        base.env = []
        pod.spec.restart_policy = "Always"
    elif wish == "host":
        pod.spec.volumes.append(k8s.V1Volume(name="node", host_path=k8s.V1HostPathVolumeSource(path="/")))
    elif wish == "root":
        pod.spec.security_context.run_as_user = 0
    elif wish == "namespace":
        pod.metadata.namespace = "kube-system"
    elif wish == "rename":
        base.name = "mine"
    elif wish == "fail":
        raise ValueError("no cost centre is set")
    elif wish == "die":
        os._exit(3)
    elif wish == "hang":
        import time
        time.sleep(600)
"""


class Cluster:
    """An API server that takes everything."""

    def __init__(self) -> None:
        self.made: list[tuple[str, dict[str, Any]]] = []

    def create(self, kind: str, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        self.made.append((kind, body))
        return {**body, "metadata": {**body["metadata"], "uid": "u"}}

    def patch(self, *_: Any) -> None:
        """Ties the secret to its pod."""


class Site:
    """A plugins folder, and creators that use it."""

    def __init__(self, home: Path) -> None:
        self.plugins = home / "plugins"
        (home / "config").mkdir(parents=True)
        self.plugins.mkdir()
        self.file = home / "config" / "airflow_local_settings.py"
        environment = {**os.environ, "TRACKSIDE_PLUGINS_FOLDER": str(self.plugins), "TRACKSIDE_SECRET_KEY": "k", "DATABASE_URL": "postgres://x"}
        self.hooks = PodHooks(environment)
        self.settings = PodSettings(image="task:1", api_url="http://web")
        self.cluster = Cluster()
        self.creators = Creators(self.cluster, self.settings, "kubernetes", self.hooks)  # type: ignore[arg-type]

    def submit(self, wish: str, **config: Any) -> Submission:
        return self.creators.create([ref(wish, **config)])[0]

    def pod(self, wish: str, **config: Any) -> dict[str, Any]:
        said = self.submit(wish, **config)
        assert said.verdict is Verdict.TAKEN, said.reason
        return next(body for kind, body in reversed(self.cluster.made) if kind == "pods")

    def refused(self, wish: str) -> str:
        before = len(self.cluster.made)
        said = self.submit(wish)
        assert said.verdict is Verdict.REFUSED and said.reason is not None
        assert len(self.cluster.made) == before
        return said.reason.text if hasattr(said.reason, "text") else str(said.reason)


def ref(task_id: str, **config: Any) -> TryRef:
    return TryRef(id=uuid.uuid4(), round=1, dag_id="d", task_id=task_id, run_id="r", map_index=-1, number=1, logical_date=None,
                  start_token="t", config=config)  # type: ignore[call-arg, arg-type]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("hooks"))
    made.file.write_text(HOOK)
    yield made
    made.creators.close()


def test_a_hook_gets_a_v1pod_and_what_it_changes_is_created(site: Site) -> None:
    made = site.pod("label", pod_override={"spec": {"nodeSelector": {"disk": "ssd"}}})
    assert made["metadata"]["labels"]["team"] == "red"
    base, side = made["spec"]["containers"]
    assert (side["name"], made["spec"]["nodeSelector"]) == ("side", {"disk": "ssd"})
    assert {e["name"]: e.get("value") or "" for e in base["env"]}["SEEN"] == "", "its process has no keys"


def test_an_idle_hook_changes_nothing(site: Site) -> None:
    asked = ref("nothing")
    built = builder.build(asked, site.settings, "kubernetes")
    assert builder.after_hook(site.hooks.apply(built), built, asked, site.settings, "kubernetes") == built


def test_what_makes_it_the_pod_of_this_try_is_put_back(site: Site) -> None:
    made = site.pod("vandal")
    plain = builder.build(ref("vandal"), site.settings, "kubernetes")
    assert made["metadata"]["name"].startswith("d-vandal-")
    assert set(made["metadata"]["labels"]) == set(plain["metadata"]["labels"])
    assert made["metadata"]["annotations"]["task_id"] == "vandal"
    assert made["spec"]["restartPolicy"] == "Never"
    base = made["spec"]["containers"][0]
    assert {"name": "trackside-start", "mountPath": "/var/run/trackside", "readOnly": True} in base["volumeMounts"]
    assert [v["secret"]["secretName"] for v in made["spec"]["volumes"] if v["name"] == "trackside-start"] == [made["metadata"]["name"]]
    assert {e["name"] for e in base["env"]} >= {"TRACKSIDE_API_URL", "TRACKSIDE_DAG_FILES"}


def test_root_is_what_a_hook_may_ask_for(site: Site) -> None:
    context = site.pod("root")["spec"]["securityContext"]
    assert (context["runAsUser"], context["runAsNonRoot"]) == (0, False)


@pytest.mark.parametrize(("wish", "words"), [
    ("host", "the hostPath volume node"), ("namespace", "namespace kube-system"), ("rename", "took the container 'base' away"),
    ("fail", "ValueError: no cost centre is set"), ("die", "exit code 3"),
])  # fmt: skip
def test_a_pod_that_breaks_the_rules_is_refused_in_words(site: Site, wish: str, words: str) -> None:
    said = site.refused(wish)
    assert words in said
    assert "pod_mutation_hook" in said
    if wish == "fail":
        assert "airflow_local_settings.py, line" in said


def test_what_the_sites_template_holds_is_no_wish_of_the_hook(site: Site) -> None:
    node = {"name": "logs", "hostPath": {"path": "/var/log"}}
    settings = PodSettings(image="task:1", api_url="http://web", template={"spec": {"volumes": [node]}})
    asked = ref("label")
    built = builder.build(asked, settings, "kubernetes")
    assert node in builder.after_hook(site.hooks.apply(built), built, asked, settings, "kubernetes")["spec"]["volumes"]
    moved = {**built, "spec": {**built["spec"], "volumes": [{**v, **({"hostPath": {"path": "/"}} if v == node else {})} for v in
                                                              built["spec"]["volumes"]]}}  # fmt: skip
    with pytest.raises(builder.BadPod, match="hostPath volume logs"):
        builder.after_hook(moved, built, asked, settings, "kubernetes")


def test_a_hook_that_was_killed_is_asked_again_and_one_that_hangs_is_stopped(site: Site) -> None:
    site.pod("label")
    assert site.hooks._child is not None
    os.kill(site.hooks._child.process.pid, signal.SIGKILL)
    site.hooks._child.process.wait()
    assert site.pod("label")["metadata"]["labels"]["team"] == "red"
    asked = builder.build(ref("hang"), site.settings, "kubernetes")
    site.hooks._timeout = 0.3
    with pytest.raises(HookFailed, match=r"took longer than 0.3 s and was stopped \(TRACKSIDE_KUBERNETES_HOOK_TIMEOUT\)"):
        site.hooks.apply(asked)
    site.hooks._timeout = 30.0


def test_a_changed_file_is_loaded_anew_and_without_one_there_is_no_child(tmp_path: Path) -> None:
    site = Site(tmp_path)
    try:
        pod = builder.build(ref("label"), site.settings, "kubernetes")
        assert site.hooks.apply(pod) is pod
        assert site.hooks._child is None
        site.file.write_text("def task_policy(task): pass\n")
        assert site.hooks.apply(pod) is pod
        assert site.hooks._child is None, "there are policies, but no hook"
        site.file.write_text("import nowhere_to_be_found\n")
        with pytest.raises(HookFailed, match="airflow_local_settings cannot be loaded: ModuleNotFoundError"):
            site.hooks.apply(pod)
        site.file.write_text("def pod_mutation_hook(pod):\n    pod.spec.priority_class_name = 'high'\n")
        assert site.hooks.apply(pod)["spec"]["priorityClassName"] == "high"
    finally:
        site.creators.close()


def test_the_time_of_a_hook_is_a_setting_of_the_executor():
    given = {"TRACKSIDE_KUBERNETES_IMAGE": "task:1", "TRACKSIDE_API_URL": "http://web"}
    assert settings.read(given).hook_s == 30
    assert settings.read({**given, "TRACKSIDE_KUBERNETES_HOOK_TIMEOUT": "2.5"}).hook_s == 2.5
    with pytest.raises(ExecutorProblem, match="TRACKSIDE_KUBERNETES_HOOK_TIMEOUT=0 must be at least 1"):
        settings.read({**given, "TRACKSIDE_KUBERNETES_HOOK_TIMEOUT": "0"})
    executor = KubernetesExecutor("kubernetes", {**given, "TRACKSIDE_KUBERNETES_HOOK_TIMEOUT": "2.5"})
    assert executor.hooks._timeout == 2.5
