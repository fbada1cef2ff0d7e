"""Logs by REST, from the real log store, and waiting for a run, line by line."""

from __future__ import annotations

import asyncio
import json

import orjson
import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient

from apps.access import tokens
from apps.access.tests.resthelp import Api, person
from apps.runs import logs
from apps.runs.models import Run, TaskInstance, Try, XCom
from apps.runs.tests.restworld import make_dag, make_run

LOG = "/dags/d/dagRuns/r/taskInstances/first/logs"
LINES = [
    {"t": "2024-01-01T12:00:00.000001Z", "level": "info", "event": "printed", "src": "stdout"},
    {"t": "2024-01-01T12:00:01.000000Z", "level": "warning", "event": "said", "logger": "my.logger", "src": "log"},
]
WIRE = [
    {"timestamp": LINES[0]["t"], "event": "printed", "level": "info", "logger": "task.stdout"},
    {"timestamp": LINES[1]["t"], "event": "said", "level": "warning", "logger": "my.logger"},
]


@pytest.fixture
def tried(db, settings, tmp_path):
    """The current try of a task, with two lines of log so far."""
    settings.LOGS_FOLDER = tmp_path
    make_run(make_dag("d"), "r")
    ti = TaskInstance.objects.get(task_id="first")
    logs.append(ti.try_id, 0, b"".join(orjson.dumps(line) + b"\n" for line in LINES))
    return Try.objects.create(id=ti.try_id, ti=ti, number=1, state="running")


def test_a_finished_log_is_whole_and_has_no_continuation(tried):
    Try.objects.update(log_ended=True)
    assert Api("Viewer").get(f"{LOG}/1") == (200, {"content": WIRE, "continuation_token": None})


def test_a_growing_log_is_continued_with_the_token_of_the_last_answer(tried):
    api = Api("Viewer")
    _, first = api.get(f"{LOG}/1")
    assert (first["content"], type(first["continuation_token"])) == (WIRE, str)
    more = orjson.dumps({**LINES[1], "event": "more"}) + b"\n"
    logs.append(tried.pk, logs.size_of(tried.pk), more)
    _, second = api.get(f"{LOG}/1", token=first["continuation_token"])
    assert [e["event"] for e in second["content"]] == ["more"]
    assert api.get(f"{LOG}/1", token="forged")[0] == 400
    assert api.get(f"{LOG}/1", token=first["continuation_token"] + "x")[0] == 400


def test_a_log_comes_as_lines_of_json_when_asked_for(tried):
    answer = Api("Viewer").call("GET", f"{LOG}/1", headers={"Accept": "application/x-ndjson"})
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line) for line in answer.content.splitlines()] == WIRE
    assert Api("Viewer").call("GET", f"{LOG}/1", headers={"Accept": "text/plain"}).status_code == 406


def test_a_log_that_does_not_exist_is_404(tried):
    api = Api("Viewer")
    assert api.get(f"{LOG}/2")[0] == 404
    assert api.get(f"{LOG}/1", map_index=7)[0] == 404
    assert api.get(f"{LOG}/-1")[0] == 422
    assert api.get(f"{LOG}/99999999999999999999")[0] == 404
    assert api.get(LOG.replace("first", "second") + "/1") == (200, {"content": [], "continuation_token": None})


@pytest.mark.django_db(transaction=True)
def test_waiting_tells_every_look_and_ends_with_the_results():
    run = make_run(make_dag("d"), "r", state="running")
    XCom.objects.create(run=run, dag_id="d", task_id="first", key="return_value", value='["x"]')
    token = tokens.issue(person("Viewer"))

    async def play() -> list[dict]:
        answer = await AsyncClient().get(
            "/api/v2/dags/d/dagRuns/r/wait",
            {"interval": 0.01, "result": "first"},
            headers={"Authorization": f"Bearer {token}"},
        )
        lines = []
        async for chunk in answer.streaming_content:
            lines.append(json.loads(chunk))
            if len(lines) == 2:
                await sync_to_async(Run.objects.filter(pk=run.pk).update)(state="success", end_date=run.start_date)
        await sync_to_async(connections.close_all)()  # of the thread that served the request
        return lines

    lines = asyncio.run(play())
    assert lines[0] == {"state": "running"}
    assert lines[-1] == {"state": "success", "results": {"first": ["x"]}}
    assert len(lines) >= 3


@pytest.mark.django_db
def test_waiting_needs_an_interval_and_a_run():
    make_run(make_dag("d"), "r")
    api = Api("Viewer")
    assert api.get("/dags/d/dagRuns/r/wait")[1]["detail"][0]["loc"] == ["query", "interval"]
    assert api.get("/dags/d/dagRuns/r/wait", interval=0)[0] == 422
    assert api.get("/dags/d/dagRuns/nope/wait", interval=1)[0] == 404
