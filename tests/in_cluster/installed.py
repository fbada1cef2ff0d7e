"""Trackside in a cluster as its operator installs it: images of this checkout, the chart by Helm, a PostgreSQL outside.

For `test_site`. `release` does what docs/kubernetes.md says, and `Release` is what came of it: Helm and kubectl for the
operator, and a client that comes in by the web's Service for the user. The cluster is the project's own (`world.kubernetes`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml

from config.embedded_postgres import EmbeddedPostgres
from tests.executors import world
from tests.executors.world import CLUSTER, GATEWAY, LONG, ROOT, Cluster
from tests.support import server
from tests.support.server import Server, until

NAME = "site"
POD_USER = 50_000
PARTS = {"web": 2, "scheduler": 2, "executor": 2, "dag-processor": 1, "triggerer": 1}
"""Deployments of the chart as its values have them."""


def is_wanted() -> bool:
    """Whether somebody asked for these tests."""
    return os.environ.get("TRACKSIDE_TEST_IN_CLUSTER") == "1"


@dataclass
class Release:
    """An installed chart. `settings` are the options of `helm` that made it."""

    cluster: Cluster
    settings: list[str]
    user: Server

    def helm(self, verb: str, *words: str) -> str:
        """What a verb of Helm says, for this release."""
        binary = world.helm()
        assert binary, "no Helm: tools/cluster/cluster prepare builds one"
        return self._run(binary, verb, NAME, *words, "--namespace", self.cluster.namespace)

    def kubectl(self, *words: str, given: str | None = None) -> str:
        """What kubectl says, in the release's namespace."""
        return self._run(str(CLUSTER), "kubectl", "--namespace", self.cluster.namespace, *words, given=given)

    def _run(self, *command: str, given: str | None = None) -> str:
        environment = {**os.environ, "KUBECONFIG": self.cluster.kubeconfig}
        done = subprocess.run(command, input=given, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}\n{self.tell() if command[1] != 'kubectl' else ''}"
        return done.stdout

    def get(self, *words: str) -> Any:
        """`kubectl get … -o json`, read."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def pods_of(self, part: str) -> list[dict[str, Any]]:
        """Pods of one of the site's processes."""
        return list(self.get("pods", "-l", f"app.kubernetes.io/component={part}")["items"])

    def kill(self, part: str) -> tuple[str, int]:
        """kill -9 the process of one pod of this part: the pod's name, and how often its container had been started again before."""
        (status,) = (pod := self.pods_of(part)[0])["status"]["containerStatuses"]
        container = status["containerID"].removeprefix("containerd://")
        subprocess.run([str(CLUSTER), "ctr", "tasks", "kill", "-s", "KILL", container], check=True, capture_output=True)
        return pod["metadata"]["name"], status["restartCount"]

    def ready(self, part: str, *, without: str = "") -> bool:
        """Whether as many pods of this part as there should be are ready, the named one not counted."""
        names = [
            pod["metadata"]["name"]
            for pod in self.pods_of(part)
            if "deletionTimestamp" not in pod["metadata"]
            and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
        ]
        return len(names) == PARTS[part] and without not in names

    def tell(self) -> str:
        """For a failed test: how the pods are, and what they said last."""
        words = (
            ["get", "pods,jobs,events"],
            ["logs", "-l", f"app.kubernetes.io/instance={NAME}", "--tail=15", "--prefix", "--max-log-requests=20"],
        )
        said = [
            subprocess.run([str(CLUSTER), "kubectl", "-n", self.cluster.namespace, *some], capture_output=True, text=True,
                           env={**os.environ, "KUBECONFIG": self.cluster.kubeconfig})
            for some in words
        ]  # fmt: skip
        return "\n".join(one.stdout + one.stderr for one in said)[-12_000:]


@contextmanager
def release(cluster: Cluster) -> Iterator[Release]:
    """Install the chart into the cluster's namespace, with its database, volumes and first user."""
    folder = server.temporary_home("trackside-in-cluster-")
    folder.chmod(0o755)  # DAG files are a hostPath that another user reads
    shutil.copytree(Path(__file__).parent / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "logs").mkdir()
    os.chown(folder / "logs", POD_USER, POD_USER)
    try:
        with _postgres(folder / "postgres") as url:
            made = Release(cluster, _settings(cluster, url, folder / "dags"), user=_client(folder))
            made.kubectl("apply", "-f", "-", given=json.dumps(_volume(cluster.namespace, folder / "logs")))
            try:
                made.helm("install", str(ROOT / "deploy/chart"), *made.settings, "--wait", "--wait-for-jobs", "--timeout", f"{LONG:.0f}s")
                _first_user(made)
                yield made
            finally:
                _take_away(made)
    finally:
        server.remove(folder)


def _settings(cluster: Cluster, database: str, dags: Path) -> list[str]:
    image = os.environ.get("TRACKSIDE_TEST_SERVER_IMAGE") or subprocess.run(
        [str(ROOT / "tools/images"), "server"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()  # fmt: skip
    repository, _, tag = image.rpartition(":")
    chosen = {
        "database.url": database, "image.repository": repository, "image.tag": tag, "taskImage": cluster.image,
        "dags.volume.hostPath.path": str(dags),
    }  # fmt: skip
    return [word for name, value in chosen.items() for word in ("--set-string", f"{name}={value}")]


@contextmanager
def _postgres(home: Path) -> Iterator[str]:
    """A PostgreSQL on this machine that pods may use, with its password; the URL as pods write it."""
    database = EmbeddedPostgres(home, durable=False, settings={"listen_addresses": f"127.0.0.1,{GATEWAY}"})
    with database as info:
        with (home / "data/pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {GATEWAY.rpartition('.')[0]}.0/24 scram-sha-256\n")
        with psycopg.connect(info.url(), autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")
        yield info.url().replace("127.0.0.1", GATEWAY)


def _volume(namespace: str, logs: Path) -> dict[str, Any]:
    """The logs' volume: one node, so a folder of it is enough for "many writers"."""
    return {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"{namespace}-logs"},
        "spec": {
            "capacity": {"storage": "20Gi"}, "accessModes": ["ReadWriteMany"], "hostPath": {"path": str(logs)},
            "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": namespace, "name": f"{NAME}-logs"},
        },
    }  # fmt: skip


def _client(folder: Path) -> Server:
    process: Any = None  # there is none of ours: everything is in pods
    return Server(url="http://not-yet", user="ada", password=server.PASSWORD, pids={}, home=folder, dags_folder=folder / "dags",
                  log=folder / "no.log", process=process)  # fmt: skip


def _first_user(made: Release) -> None:
    """As the chart's notes say; then sign in by the Service's address under the Service's name, which is what the site answers to."""
    made.kubectl("exec", "-i", f"deploy/{NAME}-web", "--", "trackside", "users", "create", "--username", "ada", "--role", "Admin",
                 given=f"{server.PASSWORD}\n")  # fmt: skip
    service = made.get("service", f"{NAME}-web")["spec"]
    made.user.http.base_url = f"http://{service['clusterIP']}:{service['ports'][0]['port']}"
    made.user.http.headers["Host"] = f"{NAME}-web.{made.cluster.namespace}.svc"
    made.user.login()


def secret_of(manifest: str, name: str) -> dict[str, str]:
    """The data of a secret in what `helm install --dry-run` prints: release, manifest after a headline, notes."""
    parts = yaml.safe_load_all(manifest.partition("MANIFEST:")[2].partition("\nNOTES:")[0])
    found: dict[str, str] = next(p["data"] for p in parts if p and p["kind"] == "Secret" and p["metadata"]["name"] == name)
    return found


def _take_away(made: Release) -> None:
    """What the test of the uninstallation has not taken yet; the namespace goes with the cluster's fixture."""
    made.user.http.close()
    environment = {**os.environ, "KUBECONFIG": made.cluster.kubeconfig}
    for command in (
        [str(world.helm()), "uninstall", NAME, "--namespace", made.cluster.namespace, "--ignore-not-found", "--wait"],
        [str(CLUSTER), "kubectl", "delete", "persistentvolume", f"{made.cluster.namespace}-logs", "--ignore-not-found", "--wait=false"],
    ):
        subprocess.run(command, capture_output=True, env=environment)
    until(lambda: not made.cluster.pods(), "the site's pods were gone", LONG)
