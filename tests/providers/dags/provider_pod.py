"""The pod operator of the kubernetes provider, against the API of the connection `provider_kubernetes`."""

from __future__ import annotations

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

with DAG("provider_pod", schedule=None):
    KubernetesPodOperator(
        task_id="pod",
        kubernetes_conn_id="provider_kubernetes",
        namespace="default",
        name="hello",
        image="busybox",
        cmds=["echo", "{{ run_id }}"],
        startup_check_interval_seconds=1,
    )
