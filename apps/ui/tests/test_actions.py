"""Actions from pages: each is one domain call, works as a plain form, and answers the shell with a sentence."""

from __future__ import annotations

import json
import re

import pytest
from django.test import Client
from django.urls import reverse

from apps.access.models import AuditEvent, User
from apps.dags.models import Dag
from apps.runs.models import Run, TaskInstance
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db
HX = {"HX-Request": "true"}
PARAMS = {
    "rows": {"value": 10, "schema": {"type": "integer", "minimum": 1, "maximum": 100}, "description": "Rows per batch"},
    "mode": {"value": "merge", "schema": {"enum": ["merge", "append"]}},
    "full": {"value": False, "schema": {"type": "boolean"}},
    "extra": {"value": {}, "schema": {"type": "object"}},
    "names": {"value": ["a"], "schema": {"type": "array", "items": {"type": "string"}}},
}


@pytest.fixture
def mara(client: Client) -> Client:
    client.force_login(factories.user())
    return client


def form(**changes: object) -> dict[str, object]:
    return {"param.rows": "20", "param.mode": '"append"', "param.full": "on", "param.extra": '{"k": 1}', "param.names": "a\nb", **changes}


def test_a_switch_pauses_and_says_so(mara: Client) -> None:
    factories.dag()
    response = mara.post(reverse("dag_pause", args=["orders"]), {"paused": "1"}, headers=HX)
    assert "paused" in response.json()["toast"]
    assert Dag.objects.get(pk="orders").is_paused
    assert AuditEvent.objects.filter(dag_id="orders", actor="mara", means="ui").exists()
    plain = mara.post(reverse("dag_pause", args=["orders"]), {"paused": "0"})
    assert plain.status_code == 302 and not Dag.objects.get(pk="orders").is_paused


def test_actions_need_a_post_with_the_csrf_token() -> None:
    factories.dag()
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(factories.user())
    assert strict.get(reverse("dag_pause", args=["orders"])).status_code == 405
    assert strict.post(reverse("dag_pause", args=["orders"]), {"paused": "1"}).status_code == 403
    assert strict.post(reverse("dag_trigger", args=["orders"])).status_code == 403
    assert not Dag.objects.get(pk="orders").is_paused


def test_a_reader_may_not_act(client: Client) -> None:
    from django.contrib.auth.models import Group

    run = factories.run(factories.dag())
    viewer = User.objects.create_user("vera")
    viewer.groups.add(Group.objects.get_or_create(name="Viewer")[0])
    client.force_login(viewer)
    assert client.get(reverse("dag", args=["orders"])).status_code == 200
    assert client.post(reverse("dag_pause", args=["orders"]), {"paused": "1"}).status_code == 403
    assert client.post(reverse("dag_trigger", args=["orders"])).status_code == 403
    assert client.post(reverse("run_clear", args=["orders", run.run_id]), {"go": "1"}).status_code == 403
    assert Run.objects.count() == 1 and not Dag.objects.get(pk="orders").is_paused


def test_the_trigger_form_is_made_from_the_params(mara: Client) -> None:
    factories.dag(made=factories.spec("orders", ["a"], params=PARAMS))
    page = mara.get(reverse("dag_trigger", args=["orders"]), headers=HX).content.decode()
    assert 'name="param.rows"' in page and 'min="1"' in page and 'max="100"' in page and "Rows per batch" in page
    assert 'name="param.full"' in page and "<option" in page


def test_the_form_becomes_a_typed_conf(mara: Client) -> None:
    factories.dag(made=factories.spec("orders", ["a"], params=PARAMS))
    response = mara.post(reverse("dag_trigger", args=["orders"]), form(note="because"), headers=HX)
    run = Run.objects.get()
    assert response.json()["href"] == reverse("run", args=["orders", run.run_id])
    assert run.conf == {"rows": 20, "mode": "append", "full": True, "extra": {"k": 1}, "names": ["a", "b"]}
    assert (run.note, run.triggered_by, run.triggering_user_name) == ("because", "ui", "mara")


def test_a_wrong_value_is_told_at_its_field_and_nothing_runs(mara: Client) -> None:
    factories.dag(made=factories.spec("orders", ["a"], params=PARAMS))
    for changes, words in [
        ({"param.rows": "250000"}, "250000"),
        ({"param.rows": "many"}, "not a whole number"),
        ({"param.extra": "{"}, "Not JSON"),
    ]:
        response = mara.post(reverse("dag_trigger", args=["orders"]), form(**changes), headers=HX)
        page = response.content.decode()
        assert response.status_code == 422 and 'aria-invalid="true"' in page and words in page
    assert not Run.objects.exists()


def test_a_run_id_that_is_taken_is_refused_with_what_to_do(mara: Client) -> None:
    run = factories.run(factories.dag())
    response = mara.post(reverse("dag_trigger", args=["orders"]), {"run_id": run.run_id, "conf": ""}, headers=HX)
    assert response.status_code == 422 and "Choose another" in response.content.decode()
    response = mara.post(reverse("dag_trigger", args=["orders"]), {"conf": "[1]"}, headers=HX)
    assert response.status_code == 422 and "must be a JSON object" in response.content.decode()


def test_clear_shows_what_it_will_do_and_does_exactly_that(mara: Client) -> None:
    run = factories.run(factories.dag(), state="failed", states={"load": "failed", "check": "upstream_failed"})
    url = reverse("task_clear", args=["orders", run.run_id, "load"])
    page = mara.get(url, headers=HX).content.decode()
    assert "2 task instances will run again" in page and "Clear 2 tasks" in page
    moved_on = mara.post(url, {"what": "downstream", "runs": "this", "code": "same", "seen": "7", "go": "1"}, headers=HX)
    assert moved_on.status_code == 422 and "Things moved" in moved_on.content.decode()
    done = mara.post(url, {"what": "downstream", "runs": "this", "code": "same", "seen": "2", "go": "1"}, headers=HX)
    assert done.json()["toast"] == "2 tasks will run again."
    states = dict(TaskInstance.objects.filter(run=run).values_list("task_id", "state"))
    assert states["extract"] == "success" and states["load"] == states["check"] == "none"


def test_the_preview_alone_changes_nothing(mara: Client) -> None:
    run = factories.run(factories.dag(), state="failed", states={"load": "failed"})
    url = reverse("run_clear", args=["orders", run.run_id])
    page = mara.post(url, {"what": "all", "runs": "this", "code": "same"}, headers={**HX, "HX-Target": "clear-preview"}).content.decode()
    assert page.lstrip().startswith("<section") and 'data-total="3"' in page
    assert TaskInstance.objects.filter(run=run, state="failed").count() == 1


def test_a_task_can_be_marked_and_a_run_too(mara: Client) -> None:
    run = factories.run(factories.dag(), state="failed", states={"load": "failed", "check": "upstream_failed"})
    url = reverse("task_mark", args=["orders", run.run_id, "load"])
    assert "Mark 1 task" in mara.get(url, headers=HX).content.decode()
    response = mara.post(url, {"state": "success", "seen": "1", "go": "1", "note": "by hand"}, headers=HX)
    assert response.status_code == 200, response.content
    assert TaskInstance.objects.get(run=run, task_id="load").state == "success"
    response = mara.post(reverse("run_mark", args=["orders", run.run_id]), {"state": "success", "go": "1"}, headers=HX)
    assert response.status_code == 200 and Run.objects.get().state == "success"


def test_notes_are_kept_and_an_empty_one_deletes(mara: Client) -> None:
    run = factories.run(factories.dag())
    url = reverse("run_note", args=["orders", run.run_id])
    assert mara.post(url, {"note": "look here"}).status_code == 302
    assert Run.objects.get().note == "look here"
    mara.post(url, {"note": ""})
    assert not Run.objects.get().note


def test_dialogs_are_whole_pages_without_scripts(mara: Client) -> None:
    run = factories.run(factories.dag())
    for url in (
        reverse("dag_trigger", args=["orders"]),
        reverse("run_clear", args=["orders", run.run_id]),
        reverse("run_note", args=["orders", run.run_id]),
    ):
        page = mara.get(url).content.decode()
        assert page.lstrip().startswith("<!doctype html>") and "csrfmiddlewaretoken" in page and '<form method="post"' in page


def test_search_finds_dags_and_runs_that_the_person_may_see(mara: Client, django_user_model: type[User]) -> None:
    run = factories.run(factories.dag())
    hits = mara.get(reverse("find_data") + "?q=orde").json()
    assert hits[0]["href"] == reverse("dag", args=["orders"])
    assert any(run.run_id in h["text"] for h in mara.get(reverse("find_data") + f"?q={run.run_id[8:20]}").json())
    guest = Client()
    guest.force_login(django_user_model.objects.create_user("guest"))
    assert json.loads(guest.get(reverse("find_data") + "?q=orde").content) == []


def test_a_pause_offers_undo_to_the_shell_and_as_a_form(mara: Client) -> None:
    factories.dag(timetable={"kind": "null"})
    answer = mara.post(reverse("dag_pause", args=["orders"]), {"paused": "1"}, headers={"HX-Request": "true"}).json()
    assert mara.post(answer["undo"], headers={"HX-Request": "true"}).json()["toast"] == "Undone: orders runs on schedule again."
    assert not Dag.objects.get(pk="orders").is_paused
    page = mara.post(reverse("dag_pause", args=["orders"]), {"paused": "1"}, follow=True).content.decode()
    url = re.search(r'action="(/undo/[^"]+)"', page)
    assert url
    assert "Undone" in mara.post(url[1], follow=True).content.decode()
    assert not Dag.objects.get(pk="orders").is_paused


def test_a_clear_is_undone_unless_something_started_and_only_by_those_who_may_edit(mara: Client) -> None:
    run = factories.run(factories.dag(), state="failed", states={"load": "failed"})
    form = {"what": "failed_only", "runs": "this", "code": "same", "seen": "1", "go": "1"}
    answer = mara.post(reverse("run_clear", args=["orders", run.run_id]), form, headers={"HX-Request": "true"}).json()
    guest = Client()
    guest.force_login(User.objects.create_user("guest"))
    assert guest.post(answer["undo"]).status_code == 403
    assert TaskInstance.objects.get(run=run, task_id="load").state == "none"
    assert mara.post(answer["undo"], headers={"HX-Request": "true"}).status_code == 200
    assert TaskInstance.objects.get(run=run, task_id="load").state == "failed"
    again = mara.post(answer["undo"], headers={"HX-Request": "true"})
    assert again.status_code == 422 and "already" in again.json()["toast"]
