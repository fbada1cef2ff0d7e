"""KubernetesPodOperator and @task.kubernetes of the published provider package on the cluster: values, logs, a worker that dies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.executors import world
from tests.executors.world import LONG, Cluster, Site
from tests.providers import environment
from tests.support.server import until

DAGS = '''
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG, task

HERE = dict(kubernetes_conn_id="the_cluster", namespace=NAMESPACE, image=IMAGE, startup_check_interval_seconds=1)
SAYS = """
echo "a line of {{ run_id }}"
echo '{"pod": "'$(hostname)'", "word": "'$WORD'"}' > /airflow/xcom/return.json
"""

for later in (False, True):
    with DAG("later" if later else "now", schedule=None, default_args={"deferrable": later}, max_active_tasks=10):
        says = KubernetesPodOperator(
            task_id="says", name="says", cmds=["sh", "-c"], arguments=[SAYS], env_vars={"WORD": "tea"}, do_xcom_push=True, **HERE
        )
        KubernetesPodOperator(task_id="fails", name="fails", cmds=["sh", "-c", "echo last words; exit 3"], **HERE)

        @task
        def told(value):
            return value["word"] + "!"

        @task.kubernetes(do_xcom_push=True, **HERE)
        def adds(numbers):
            print("adding up")
            return {"sum": sum(numbers)}

        told(says.output)
        adds([1, 2, 39])

# the operator hands on a line of the pod's log when the next one is there
with DAG("long", schedule=None):
    KubernetesPodOperator(
        task_id="lives_on", name="lives-on", cmds=["sh", "-c"], do_xcom_push=True,
        arguments=["echo begun; echo and on; sleep 12; echo over; echo '\\"'$(hostname)'\\"' > /airflow/xcom/return.json"], **HERE
    )

with DAG("endless", schedule=None):
    KubernetesPodOperator(
        task_id="stays", name="stays", cmds=["sh", "-c", "echo begun; echo and on; sleep 3600"], termination_grace_period=1, **HERE
    )
'''


@pytest.fixture(scope="module")
def site(cluster: Cluster) -> Iterator[Site]:
    """Local workers beside which the package is installed, and a connection to the cluster."""
    text = DAGS.replace("NAMESPACE", repr(cluster.namespace)).replace("IMAGE", repr(cluster.image))
    quick = {
        "TRACKSIDE_HEARTBEAT": "2", "TRACKSIDE_SELF_FENCE": "15", "TRACKSIDE_LEASE": "22", "TRACKSIDE_KILL_GRACE": "6",
        "TRACKSIDE_PARSE_TIMEOUT": "170",  # libraries of thousands of modules, not compiled yet, on a busy machine
    }  # fmt: skip
    with world.site({"pods.py": text}, ["local"], python=environment.make(), **quick) as found:
        config = json.dumps(yaml.safe_load(Path(cluster.kubeconfig).read_text(encoding="utf-8")))
        extra = json.dumps({"kube_config": config, "xcom_sidecar_container_image": cluster.image})
        found.server.add_connection("the_cluster", conn_type="kubernetes", extra=extra)
        found.server.wait_dag("endless", LONG)
        yield found


def pods(cluster: Cluster, run: str) -> list[dict[str, Any]]:
    """Pods that tasks of a run made themselves."""
    return [pod for pod in cluster.pods(kubernetes_pod_operator="True") if pod["metadata"]["labels"]["run_id"] in (run, _label(run))]


def _label(text: str) -> str:
    from trackside.executors.kubernetes.names import label

    return label(text)


_runs: dict[str, str] = {}


@pytest.fixture(params=["now", "later"])
def dag(request: pytest.FixtureRequest, site: Site) -> str:
    """The DAG whose tasks wait for their pods themselves, and the one whose tasks are deferred; their runs are over."""
    if not _runs:
        _runs.update({name: site.runs(name) for name in ("now", "later")})
    site.server.wait_run(request.param, _runs[request.param], LONG)
    return str(request.param)


def test_a_value_written_in_the_pod_is_the_tasks(site: Site, dag: str) -> None:
    run = _runs[dag]
    states = site.server.states(dag, run)
    lost = [site.server.log_of(dag, run, task)[-3000:] for task, state in states.items() if state == "failed"]
    assert states == {"says": "success", "fails": "failed", "told": "success", "adds": "success"}, "\n".join(lost)
    value = site.server.value(dag, run, "says")
    assert (value["word"], value["pod"].startswith("says-")) == ("tea", True)
    assert site.server.value(dag, run, "told") == "tea!"


def test_a_function_runs_in_the_image(site: Site, dag: str) -> None:
    assert site.server.value(dag, _runs[dag], "adds") == {"sum": 42}
    assert "adding up" in site.server.log_of(dag, _runs[dag], "adds")


def test_the_pods_log_is_the_tasks_also_when_it_fails(site: Site, dag: str) -> None:
    run = _runs[dag]
    assert f"a line of {run}" in site.server.log_of(dag, run, "says")
    log = site.server.log_of(dag, run, "fails")
    assert "last words" in log
    assert "exit_code" in log


def test_no_pod_stays(site: Site, cluster: Cluster, dag: str) -> None:
    until(lambda: not pods(cluster, _runs[dag]), "the pods of the run were gone", LONG)


def test_after_the_death_of_its_worker_the_task_goes_on_with_the_same_pod(site: Site, cluster: Cluster) -> None:
    run = site.runs("long")
    site.server.wait_log("begun", "long", run, "lives_on", seconds=LONG)
    (before,) = pods(cluster, run)
    site.kill("worker")
    assert site.server.wait_run("long", run, LONG)["state"] == "success"
    assert [t["state"] for t in site.tries("long", "lives_on")] == ["lost", "success"]
    assert site.server.value("long", run, "lives_on") == before["metadata"]["name"]
    assert "over" in site.server.log_of("long", run, "lives_on", try_number=2)


def test_ending_the_task_deletes_its_pod(site: Site, cluster: Cluster) -> None:
    run = site.runs("endless")
    site.server.wait_log("begun", "endless", run, "stays", seconds=LONG)
    site.server.call("PATCH", f"/dags/endless/dagRuns/{run}", json={"state": "failed"})
    until(lambda: not pods(cluster, run), "its pod was gone", LONG)
