"""Operators and sensors of the http provider, at once and deferred, against the server of the connection `provider_http`."""

from __future__ import annotations

from airflow.providers.http.hooks.http import HttpHook
from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor
from airflow.sdk import dag, task

CONN = "provider_http"


@dag(schedule=None)
def provider_http():
    get = HttpOperator(
        task_id="get",
        http_conn_id=CONN,
        method="GET",
        endpoint="echo",
        data={"q": "{{ dag.dag_id }}"},
        headers={"X-Run": "{{ run_id }}"},
        response_check=lambda response: response.json()["path"].startswith("/echo"),
        response_filter=lambda response: response.json(),
    )
    post = HttpOperator(task_id="post", http_conn_id=CONN, endpoint="echo", data='{"a": 1}', response_filter=lambda r: r.json()["body"])
    pages = HttpOperator(
        task_id="pages",
        http_conn_id=CONN,
        method="GET",
        endpoint="page/1",
        pagination_function=lambda response: {"endpoint": response.json()["next"]} if response.json()["next"] else None,
        response_filter=lambda responses: [r.json()["number"] for r in responses],
    )
    later = HttpOperator(
        task_id="later", http_conn_id=CONN, method="GET", endpoint="echo", deferrable=True, response_filter=lambda r: r.json()["path"]
    )
    ready = HttpSensor(task_id="ready", http_conn_id=CONN, endpoint="count/ready", poke_interval=0.2, timeout=30)
    awaited = HttpSensor(task_id="awaited", http_conn_id=CONN, endpoint="count/awaited", poke_interval=0.2, timeout=30, deferrable=True)
    HttpOperator(task_id="refused", http_conn_id=CONN, method="GET", endpoint="missing")

    @task
    def hook():
        response = HttpHook(method="GET", http_conn_id=CONN).run("echo")
        return response.json()["sha256"]

    get >> post >> later
    ready >> awaited
    [pages, hook()]


provider_http()
