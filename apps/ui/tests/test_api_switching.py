"""Pause, the state of a run and deletion by REST: looking changes nothing, doing does what was shown, undo takes it back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.test import Client

from apps.access.models import AuditEvent
from apps.access.tests.resthelp import Own
from apps.dags.models import Dag
from apps.runs.models import Run, TaskInstance
from apps.runs.tests.restworld import make_dag, make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run():
    dag = make_dag("d")
    Dag.objects.filter(pk="d").update(
        is_paused=False, timetable={"kind": "cron_data_interval", "cron": "0 0 * * *", "timezone": "UTC"}, catchup=False,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    return make_run(dag, "r", state="running")


def test_pausing_says_what_waits_then_pauses_and_is_taken_back(run):
    api = Own("User")
    status, look = api("POST", "/dags/d/pause", {})
    assert (status, look["dry_run"], look["total"], look["undo"]) == (200, True, 1, None)
    assert any("1 run under way will wait" in text for text in look["consequences"])
    assert not Dag.objects.get(pk="d").is_paused and not AuditEvent.objects.filter(action="paused").exists()
    done = api("POST", "/dags/d/pause", {"dry_run": False})[1]
    assert done["consequences"] == look["consequences"] and Dag.objects.get(pk="d").is_paused
    assert api("POST", "/dags/d/pause", {})[1]["total"] == 0, "it is paused already"
    assert api("POST", f"/undo/{done['undo']}")[0] == 200
    assert not Dag.objects.get(pk="d").is_paused


def test_looking_at_an_unpause_writes_nothing_and_tells_of_what_comes(run):
    Dag.objects.filter(pk="d").update(is_paused=True, next_run_after=None)
    before = Dag.objects.filter(pk="d").values().get()
    look = Own("User")("POST", "/dags/d/pause", {"paused": False})[1]
    assert look["total"] == 1 and look["consequences"]
    assert any("1 run that waits will go on" in text for text in look["consequences"])
    assert Dag.objects.filter(pk="d").values().get() == before


def test_the_state_of_a_run_is_previewed_set_and_taken_back(run):
    api = Own("User")
    TaskInstance.objects.filter(run=run).update(state="none")
    look = api("POST", "/dags/d/runs/r/state", {"state": "success"})[1]
    total = TaskInstance.objects.filter(run=run).count()
    assert (look["dry_run"], look["total"]) == (True, total)
    assert any(f"{total} tasks that did not begin will be skipped" in text for text in look["consequences"])
    assert Run.objects.get(pk=run.pk).state == "running"
    done = api("POST", "/dags/d/runs/r/state", {"state": "success", "dry_run": False, "note": "by hand"})[1]
    found = Run.objects.get(pk=run.pk)
    assert (found.state, found.note) == ("success", "by hand")
    assert set(TaskInstance.objects.filter(run=run).values_list("state", flat=True)) == {"skipped"}
    assert api("POST", f"/undo/{done['undo']}")[0] == 200
    assert Run.objects.get(pk=run.pk).state == "running"
    assert set(TaskInstance.objects.filter(run=run).values_list("state", flat=True)) == {"none"}
    assert api("POST", "/dags/d/runs/r/state", {"state": "running"})[0] == 422
    assert api("POST", "/dags/d/runs/nope/state", {"state": "failed"})[0] == 404


def test_deletion_counts_what_goes_and_is_refused_while_it_runs(run):
    api = Own("User")
    assert api("POST", "/dags/d/runs/r/delete", {})[0] == 409
    Run.objects.filter(pk=run.pk).update(state="failed", end_date=datetime(2026, 1, 2, tzinfo=UTC))
    count = TaskInstance.objects.filter(run=run).count()
    look = api("POST", "/dags/d/runs/r/delete", {})[1]
    assert look["total"] == 1 and f"1 run, {count} task instances, 0 logs go for good" in look["consequences"][0]
    assert Run.objects.filter(pk=run.pk).exists()
    assert api("POST", "/dags/d/runs/r/delete", {"dry_run": False})[1]["undo"] is None
    assert not Run.objects.filter(pk=run.pk).exists()
    make_run(run.dag, "other", state="success")
    assert api("POST", "/dags/d/delete", {})[1]["total"] == 1
    assert Dag.objects.filter(pk="d").exists()
    assert api("POST", "/dags/d/delete", {"dry_run": False})[1]["total"] == 1
    assert not Dag.objects.filter(pk="d").exists()
    assert api("POST", "/dags/d/delete", {})[0] == 404


@pytest.mark.parametrize("path", ["/dags/d/pause", "/dags/d/delete", "/dags/d/runs/r/delete", "/dags/d/runs/r/state"])
def test_a_viewer_may_not_even_look(run, path):
    assert Own("Viewer")("POST", path, {"state": "failed"} if path.endswith("state") else {})[0] == 403


def test_the_dialog_for_many_dags_tells_what_waits_before_it_pauses(run):
    client = Client()
    client.force_login(Own("User").user)
    shown = client.post("/dags-bulk", {"do": "pause", "dag": ["d"]}).content.decode()
    assert "1 run under way will wait" in shown and not Dag.objects.get(pk="d").is_paused


def test_the_dialog_for_a_run_says_what_is_skipped(run):
    client = Client()
    client.force_login(Own("User").user)
    TaskInstance.objects.filter(run=run).update(state="none")
    assert "did not begin will be skipped" in client.get("/dags/d/runs/r/mark?state=failed").content.decode()
