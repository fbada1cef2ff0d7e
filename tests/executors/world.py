"""What the tests of executors need around them: a Redis, a Kubernetes, and a Trackside whose tasks can go to all of them.

Everything is real. What cannot be had on this machine leaves its tests out and says how to have it (`tools/left-out`):
`redis-server` for Celery; for Kubernetes a KUBECONFIG, or Go 1.24 and root for the cluster of tools/cluster.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import server
from tests.support.server import ROOT, Server, until

CLUSTER = ROOT / "tools/cluster/cluster"
REFUSED = ROOT / "test-artifacts/no-cluster"
"""Why `tools/executors` could start none on this machine; missing if it could."""
GATEWAY = os.environ.get("TRACKSIDE_TEST_GATEWAY", "10.88.0.1")
"""The address of this machine as pods see it."""
LONG = 240.0
"""Seconds a test waits at most for something that takes one or two on a machine without other work."""


def can_have_redis() -> bool:
    """Whether Celery's tests can run here."""
    return shutil.which("redis-server") is not None


def can_have_kubernetes() -> bool:
    """Whether the cluster's tests can run here: somebody's cluster, or what it takes to start one."""
    if os.environ.get("KUBECONFIG"):
        return bool(os.environ.get("TRACKSIDE_TEST_TASK_IMAGE"))
    if os.environ.get("TRACKSIDE_TEST_KUBERNETES") == "0" or REFUSED.exists():
        return False
    return sys.platform == "linux" and os.geteuid() == 0 and (_binary().exists() or _has_go())


def helm() -> str | None:
    """A Helm: on the path, or the one that `tools/cluster/cluster prepare` built."""
    return shutil.which("helm") or next((str(found) for found in sorted(_cache().glob("helm-*"))), None)


def _cache() -> Path:
    return Path(os.environ.get("CLUSTER_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "trackside-cluster"))


def _binary() -> Path:
    """Its name holds a hash of its sources, which only the script knows how to make."""
    return Path(subprocess.run([str(CLUSTER), "binary"], check=True, capture_output=True, text=True).stdout.strip())


def _has_go() -> bool:
    if shutil.which("go") is None:
        return False
    found = re.search(r"go1\.(\d+)", subprocess.run(["go", "version"], capture_output=True, text=True).stdout)
    return found is not None and int(found[1]) >= 24


@contextmanager
def redis(port: int = 0) -> Iterator[str]:
    """The URL of a Redis of our own."""
    port = port or server.free_port()
    process = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        until(lambda: _answers(port), "Redis answered")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    import redis as client

    try:
        return bool(client.Redis(port=port).ping())
    except client.ConnectionError:
        return False


@dataclass
class Cluster:
    """A Kubernetes, spoken to with kubectl-like calls of the executor's own client."""

    kubeconfig: str
    image: str
    namespace: str
    api: Any = None

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        """Pods of the test's namespace with these labels."""
        selector = ",".join(f"{k}={v}" for k, v in labels.items())
        return list(self.api.list("pods", self.namespace, selector)[0])

    def pod_of(self, dag_id: str, task_id: str, **labels: str) -> dict[str, Any] | None:
        """The newest pod of a task."""
        found = sorted(self.pods(dag_id=dag_id, task_id=task_id, **labels), key=lambda p: p["metadata"]["creationTimestamp"])
        return found[-1] if found else None

    def part(self, verb: str, name: str) -> None:
        """start, stop or kill a part of the cluster that is our own."""
        subprocess.run([str(CLUSTER), verb, name], check=True, capture_output=True)


@contextmanager
def kubernetes() -> Iterator[Cluster]:
    """A cluster (started if need be; it stays for the next run, `make cluster-down` ends it) and a namespace of our own."""
    from trackside.executors.kubernetes.api import Api
    from trackside.executors.kubernetes.settings import PodSettings

    kubeconfig = os.environ.get("KUBECONFIG", "")
    ours = not kubeconfig and subprocess.run([str(CLUSTER), "kubectl", "get", "--raw", "/readyz"], capture_output=True).returncode != 0
    if not kubeconfig:
        said = subprocess.run([str(CLUSTER), "up"], check=True, stdout=subprocess.PIPE, text=True).stdout
        kubeconfig = said.strip().rpartition("KUBECONFIG=")[2]
    image = (
        os.environ.get("TRACKSIDE_TEST_TASK_IMAGE")
        or subprocess.run([str(ROOT / "tools/images"), "cluster"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    )
    namespace = f"trackside-test-{os.getpid()}-{int(time.time()) % 100_000}"
    cluster = Cluster(kubeconfig, image, namespace)
    cluster.api = Api(PodSettings(image=image, api_url="http://x", config_file=kubeconfig))
    cluster.api.create("namespaces", None, {"metadata": {"name": namespace}})
    try:
        until(lambda: _has_account(cluster), "the namespace was ready")
        yield cluster
    finally:
        cluster.api.delete("namespaces", None, namespace)
        cluster.api.close()
        if ours:
            subprocess.run([str(CLUSTER), "down"], capture_output=True)


def _has_account(cluster: Cluster) -> bool:
    from trackside.executors.kubernetes.api import Refusal

    try:
        return bool(cluster.api.get("serviceaccounts", cluster.namespace, "default"))
    except Refusal:
        return False


@dataclass
class Site:
    """A Trackside with executors."""

    server: Server
    executors: list[str]
    environment: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    cluster: Cluster | None = None
    redis_url: str = ""

    def celery_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a Celery worker."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("TRACKSIDE_", "PG")) and k != "DATABASE_URL"}
        environment |= {
            "TRACKSIDE_WORKER_TOKEN_FILE": str(self.server.home / "data/keys/worker.token"), "TRACKSIDE_API_URL": self.server.url,
            "TRACKSIDE_CELERY_BROKER_URL": self.redis_url,
        }  # fmt: skip
        log = self.server.home / f"celery-{len(self.workers)}.log"
        with log.open("ab") as out:
            worker = subprocess.Popen([sys.executable, "-P", "-m", "trackside.cli", "celery", "worker", *options], env=environment,
                                      stdout=out, stderr=subprocess.STDOUT, start_new_session=True, cwd=self.server.home)  # fmt: skip
        self.workers.append(worker)

        def ready() -> bool:
            assert worker.poll() is None, log.read_text(errors="replace")[-3000:]
            return " ready." in log.read_text(errors="replace")

        until(ready, f"the Celery worker was ready: {log}", LONG)
        return worker

    def end(self, worker: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
        """Send a signal to a worker with everything it started, and wait for its end."""
        if number == signal.SIGKILL:
            _kill_tree(worker.pid)
        else:
            worker.send_signal(number)
        worker.wait(60)

    def pid(self, part: str) -> int:
        """The process id of a part of the server now."""
        ready = self.server.home / "ready.json"
        return int(json.loads(ready.read_text())["pids"][part])

    def kill(self, part: str) -> None:
        """kill -9 a part; standalone starts it again. Returns when the new one is there."""
        before = self.pid(part)
        os.kill(before, signal.SIGKILL)
        until(lambda: self.pid(part) != before, f"{part} was started again", 60)

    def runs(self, dag_id: str) -> str:
        """Unpause and trigger."""
        self.server.unpause(dag_id)
        return self.server.trigger(dag_id)

    def ti(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """One task instance."""
        found: dict[str, Any] = self.server.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        return found

    def wait_state(self, dag_id: str, run_id: str, task_id: str, *states: str, seconds: float = LONG) -> dict[str, Any]:
        """The task instance once it is in one of these states."""

        def there() -> dict[str, Any] | None:
            ti = self.ti(dag_id, run_id, task_id)
            return ti if ti["state"] in states else None

        try:
            return until(there, f"{task_id} was {' or '.join(states)}", seconds)
        except server.TookTooLong as e:
            raise server.TookTooLong(f"{e}\n{self.ti(dag_id, run_id, task_id)}\n{self.server.tail()}") from None

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask the ledger itself."""
        import psycopg

        from config.embedded_postgres import read_server_info

        info = read_server_info(self.server.home / "data")
        assert info is not None
        with psycopg.connect(info.url(), autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def tries(self, dag_id: str, task_id: str) -> list[dict[str, Any]]:
        """All tries of a task in all runs, oldest first."""
        columns = ("id", "number", "state", "exit_code", "signal", "error", "facts", "reason")
        rows = self.sql(
            "SELECT t.id, t.number, t.state, t.exit_code, t.signal, t.error, t.facts, ti.reason FROM runs_try t JOIN runs_taskinstance ti "
            "ON ti.id = t.ti_id WHERE ti.dag_id = %s AND ti.task_id = %s ORDER BY t.queued_at", dag_id, task_id,
        )  # fmt: skip
        return [dict(zip(columns, row, strict=True)) for row in rows]


def _kill_tree(pid: int) -> None:
    import psutil

    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for one in family:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            pass


@contextmanager
def site(
    dags: dict[str, str], executors: list[str], *, redis_url: str = "", cluster: Cluster | None = None,
    python: Path | str = sys.executable, **more: str,
) -> Iterator[Site]:  # fmt: skip
    """A Trackside with these DAG files (name, with folders if need be → text) and executors, the first the default."""
    home = server.temporary_home("trackside-executors-")
    folder = home / "dags"
    folder.mkdir()
    for name, text in dags.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    port = server.free_port()
    environment = {"TRACKSIDE_EXECUTOR": ",".join(executors), "TRACKSIDE_DAGS_ARE_PAUSED_AT_CREATION": "true", **more}
    if redis_url:
        environment["TRACKSIDE_CELERY_BROKER_URL"] = redis_url
    if cluster is not None:
        environment |= {
            "TRACKSIDE_HOST": "0.0.0.0", "KUBECONFIG": cluster.kubeconfig, "TRACKSIDE_KUBERNETES_IMAGE": cluster.image,
            "TRACKSIDE_KUBERNETES_NAMESPACE": cluster.namespace, "TRACKSIDE_KUBERNETES_API_URL": f"http://{GATEWAY}:{port}",
            "TRACKSIDE_KUBERNETES_ALLOW_HOST_ACCESS": "true",  # Airflow's example and the trace of starts mount folders of the node
            **more,
        }  # fmt: skip
    running = server.start(home, folder, environment=environment, port=port, seconds=LONG, python=python)
    world = Site(running, executors, environment, cluster=cluster, redis_url=redis_url)
    try:
        yield world
    finally:
        for worker in world.workers:
            if worker.poll() is None:
                world.end(worker)
        running.stop()
        server.remove(home)
