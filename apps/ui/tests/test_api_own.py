"""What Trackside adds to the REST API: why, preview and undo, waiting, logs by range, and who may."""

from __future__ import annotations

import json

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection

from apps.access.tests.resthelp import Own
from apps.dags.asset_models import Asset, AssetUse
from apps.runs import logs
from apps.runs.models import QueuedAsset, TaskInstance, Try
from apps.runs.tests.restworld import make_dag, make_run
from apps.ui.api import events
from apps.ui.live import hub as hubs
from apps.ui.live import topics
from apps.ui.live.cursor import Cursor

pytestmark = pytest.mark.django_db
RUN = "/dags/d/runs/r"


@pytest.fixture
def run():
    found = make_run(make_dag("d"), "r", state="running")
    TaskInstance.objects.filter(run=found, task_id="first").update(state="failed", reason="It failed: 3 tries are over.")
    TaskInstance.objects.filter(run=found, task_id="second").update(state="upstream_failed", reason="first failed", reason_code="upstream")
    return found


def test_why_a_run_is_not_done_leads_from_its_end_to_the_cause(run):
    status, answer = Own("Viewer").get(f"{RUN}/why")
    assert status == 200
    assert [link["task_id"] for link in answer["chain"]] == ["second", "first"]
    assert answer["reason"] == "It failed: 3 tries are over."
    make_run(run.dag, "well", day=1)
    assert Own("Viewer").get("/dags/d/runs/well/why")[1]["chain"] == []


def test_why_a_task_does_not_run_names_its_cause(run):
    _, answer = Own("Viewer").get(f"{RUN}/tasks/second/why")
    assert (answer["state"], answer["code"]) == ("upstream_failed", "upstream")
    assert [link["task_id"] for link in answer["chain"]] == ["second", "first"]
    assert Own("Viewer").get(f"{RUN}/tasks/nope/why")[0] == 404


def test_why_a_consumer_waits_names_the_assets_without_news():
    dag, asset, other = make_dag("d"), Asset.objects.create(name="a", uri="x://a"), Asset.objects.create(name="b", uri="x://b")
    for each in (asset, other):
        AssetUse.objects.create(dag=dag, kind="schedule", asset=each)
    QueuedAsset.objects.create(dag=dag, asset=asset)
    _, answer = Own("Viewer").get(f"/assets/{asset.pk}/why")
    consumer = answer["consumers"][0]
    assert (consumer["dag_id"], consumer["state"]) == ("d", "waiting")
    assert "b" in consumer["reason"] and consumer["queued_at"] is not None
    assert Own("Viewer").get("/assets/999999/why")[0] == 404


def test_clearing_shows_what_would_happen_then_does_it_and_can_be_taken_back(run):
    api = Own("User")
    body = {"task_ids": ["first"], "downstream": True}
    status, preview = api("POST", f"{RUN}/clear", body)
    assert (status, preview["dry_run"], preview["total"], preview["undo"]) == (200, True, 2, None)
    assert preview["by_state"] == {"failed": 1, "upstream_failed": 1}
    assert TaskInstance.objects.get(run=run, task_id="first").state == "failed"
    _, done = api("POST", f"{RUN}/clear", {**body, "dry_run": False})
    assert done["undo"] is not None and done["undo_until"] is not None
    assert TaskInstance.objects.get(run=run, task_id="first").state == "none"
    assert api("POST", f"/undo/{done['undo']}")[0] == 200
    assert TaskInstance.objects.get(run=run, task_id="first").state == "failed"
    assert api("POST", f"/undo/{done['undo']}")[0] == 409
    assert api("POST", "/undo/00000000-0000-0000-0000-000000000000")[0] == 404


def test_marking_shows_what_would_happen_and_a_viewer_may_not(run):
    body = {"task_ids": ["first"], "state": "success"}
    assert Own("User")("POST", f"{RUN}/mark", body)[1]["total"] == 1
    assert Own("Viewer")("POST", f"{RUN}/mark", body)[0] == 403
    assert Own("User")("POST", f"{RUN}/mark", {**body, "state": "running"})[0] == 422


def read(response):
    """All lines of a stream that ends."""

    async def collect():
        return b"".join([piece async for piece in response.streaming_content])

    return async_to_sync(collect)().decode()


@pytest.mark.django_db(transaction=True)
def test_waiting_for_many_runs_tells_each_end_and_then_the_whole():
    dag = make_dag("d")
    make_run(dag, "good")
    make_run(dag, "bad", day=1, state="failed")
    make_run(dag, "going", day=2, state="running")
    named = [{"dag_id": "d", "run_id": n} for n in ("good", "bad")]
    response = Own("Viewer").call("POST", "/wait", {"runs": named})
    *ends, last = [json.loads(line) for line in read(response).splitlines()]
    assert {e["run_id"]: e["state"] for e in ends} == {"good": "success", "bad": "failed"}
    assert last == {"done": True, "finished": 2, "failed": 1, "left": 0}
    response = Own("Viewer").call("POST", "/wait", {"runs": [*named, {"dag_id": "d", "run_id": "going"}], "until": "failed"})
    assert json.loads(read(response).splitlines()[-1])["left"] == 1
    response = Own("Viewer").call("POST", "/wait", {"runs": [{"dag_id": "d", "run_id": "going"}], "timeout": 0.01})
    assert json.loads(read(response).splitlines()[-1]) == {"done": False, "finished": 0, "failed": 0, "left": 1}
    assert Own("Viewer")("POST", "/wait", {"runs": [{"dag_id": "d", "run_id": "nope"}]})[0] == 404


@pytest.mark.django_db(transaction=True)
def test_a_log_is_read_by_bytes_and_followed_to_its_end(settings, tmp_path):
    settings.LOGS_FOLDER = tmp_path
    run = make_run(make_dag("d"), "r")
    ti = TaskInstance.objects.get(run=run, task_id="first")
    lines = [json.dumps({"event": f"line {k}"}).encode() + b"\n" for k in range(3)]
    row = Try.objects.create(id=ti.try_id, ti=ti, number=1, state="success", log_ended=True, log_size=sum(map(len, lines)))
    logs.append(row.pk, 0, b"".join(lines))
    api = Own("Viewer")
    _, first = api.get(f"{RUN}/tasks/first/log", limit=len(lines[0]))
    assert [line["event"] for line in first["lines"]] == ["line 0"]
    _, rest = api.get(f"{RUN}/tasks/first/log", offset=first["to"])
    assert ([line["event"] for line in rest["lines"]], rest["complete"]) == (["line 1", "line 2"], True)
    response = api.call("GET", f"{RUN}/tasks/first/log/follow", headers={"Last-Event-ID": str(first["to"])})
    told = read(response)
    assert "line 0" not in told and "line 2" in told and told.rstrip().splitlines()[-2] == "event: end"
    assert api.get(f"{RUN}/tasks/second/log")[0] == 404


@pytest.mark.django_db(transaction=True)
def test_events_arrive_with_a_cursor_that_gets_what_was_missed(run):
    topic = topics.parse("dag:d")

    async def may():
        return True

    async def hear(cursor, until):
        stream = events._tell(topic, None, cursor, may)
        try:
            async for piece in stream:
                text = piece.decode()
                if text.startswith("id: ") and "event: ready" in text and cursor is None:
                    await sync_to_async(say)("now")
                    await hubs.current().read()
                if f'"verb":"{until}"' in text:
                    return text
        finally:
            await stream.aclose()
            await hubs.current().close()

    def say(verb):
        sql = "INSERT INTO runs_event (at, kind, verb, dag_id, run_pk, run_id, payload) VALUES (now(), 'run', %s, 'd', %s, 'r', '{}')"
        with connection.cursor() as cursor:
            cursor.execute(sql, [verb, run.pk])

    text = async_to_sync(hear)(None, "now")
    say("missed")
    cursor = Cursor.parse(text.partition("id: ")[2].partition("\n")[0])
    assert '"run_id":"r"' in async_to_sync(hear)(cursor, "missed")


def test_odd_questions_are_refused(run):
    api = Own("Viewer")
    assert api.get("/events", run_id="r")[0] == 422
    assert api.get("/events", cursor="nonsense")[0] == 400
    assert api.get("/events", dag_id="d", run_id="nope")[0] == 404
    assert api.get("/nothing")[0] == 404
    assert Own(None).get("/events")[0] == 403
