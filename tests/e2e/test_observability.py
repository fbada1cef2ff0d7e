"""A whole stack as its operators see it: every line an object, one id through all processes, metrics and health of the real thing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import server
from tests.support.server import Server, until

pytestmark = pytest.mark.e2e
DAG = """
from airflow.sdk import dag, task

@dag(schedule=None)
def watched():
    @task
    def first():
        print("a print of a task")
    @task
    def second(): ...
    first() >> second()

watched()
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Server]:
    home = server.temporary_home("trackside-watched-")
    (home / "dags").mkdir()
    (home / "dags/watched.py").write_text(DAG)
    settings = {"TRACKSIDE_LOG_FORMAT": "json", "TRACKSIDE_METRICS_TOKEN": "scrape-me", "TRACKSIDE_HEALTH_PORT": "1"}
    running = None
    try:
        running = server.start(home, home / "dags", environment=settings)
        yield running
    finally:
        if running is not None:
            running.stop()
        server.remove(home)


@pytest.fixture(scope="module")
def ran(site: Server) -> dict[str, Any]:
    """A run that a request with an id of its own began."""
    site.unpause("watched")
    site.http.headers["X-Request-ID"] = "deploy-42"
    run_id = site.trigger("watched")
    del site.http.headers["X-Request-ID"]
    run = site.wait_run("watched", run_id)
    assert run["state"] == "success"
    return run


def lines(site: Server) -> list[dict[str, Any]]:
    """What all processes have written so far."""
    whole = site.log.read_text().rpartition("\n")[0]  # the last one may be half written
    return [json.loads(line) for line in whole.splitlines()]  # one that is no object fails here


def metrics(site: Server) -> dict[tuple[str, str], float]:
    """(sample, its dag_id or kind) → value."""
    answer = site.http.get("/metrics", headers={"Authorization": "Bearer scrape-me"})
    assert answer.status_code == 200
    samples = [s for family in text_string_to_metric_families(answer.text) for s in family.samples]
    return {(s.name, s.labels.get("dag_id") or s.labels.get("kind") or ""): s.value for s in samples}


def test_one_request_id_and_one_try_id_lead_through_the_lines_of_all_processes(site: Server, ran: dict[str, Any]) -> None:
    task = next(t for t in site.tasks("watched", ran["dag_run_id"]) if t["task_id"] == "first")
    steps = {
        ("web", "A try was handed out."), ("worker", "The try begins."), ("web", "A try's report came."),
        ("worker", "The try's report was accepted."),
    }  # fmt: skip

    def complete() -> bool:
        return steps <= {(line["process"], line["message"]) for line in lines(site) if line.get("try_id") == task["id"]}

    until(complete, f"all steps of try {task['id']} were told\n{site.tail()}", seconds=20)
    asked = [line for line in lines(site) if line.get("request_id") == "deploy-42"]
    assert [(line["process"], line["path"], line["status"]) for line in asked] == [("web", "/api/v2/dags/watched/dagRuns", 200)]
    assert all({"at", "level", "logger", "process", "message"} <= set(line) for line in lines(site))


def test_the_run_is_in_the_metrics_of_the_site_soon_after(site: Server, ran: dict[str, Any]) -> None:
    until(lambda: metrics(site).get(("airflow_ti_finish_total", "watched")) == 2, "both tasks were counted", seconds=20)
    found = metrics(site)
    assert found["airflow_dagrun_duration_success_seconds_count", "watched"] == 1 and found["trackside_task_gap_seconds_count", ""] == 1
    assert all(found["trackside_processes", kind] == 1 for kind in ("scheduler", "dag_processor", "worker", "triggerer"))
    assert found["airflow_scheduler_heartbeat_total", ""] > 0
    assert site.http.get("/metrics", headers={"Authorization": ""}).status_code == 401


def test_the_whole_is_well(site: Server, ran: dict[str, Any]) -> None:
    assert site.http.get("/health").json()["status"] == "healthy" and site.http.get("/health/ready").status_code == 200
    asked = [sys.executable, "-m", "trackside.cli", "--server", site.url, "health"]
    environment = {"TRACKSIDE_USERNAME": site.user, "TRACKSIDE_PASSWORD": site.password, "HOME": str(site.home)}
    done = subprocess.run(asked, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()][:4] == [
        ["database", "healthy"], ["scheduler", "healthy"], ["dag_processor", "healthy"], ["worker", "healthy"],
    ]  # fmt: skip
