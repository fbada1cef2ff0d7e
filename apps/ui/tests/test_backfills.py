"""The backfill dialog counts before it creates; the tab shows how far each is and lets it pause or end."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from apps.access.models import AuditEvent, User
from apps.dags.models import Dag
from apps.runs.models import Backfill, Run
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db
HX = {"HX-Request": "true"}
SPAN = {"from": "2024-01-01T00:00", "to": "2024-01-05T00:00"}


@pytest.fixture
def daily(client: Client) -> Dag:
    client.force_login(factories.user())
    dag = factories.dag("orders")
    timetable = {"kind": "cron_trigger", "cron": "0 0 * * *", "timezone": "UTC"}
    Dag.objects.filter(pk="orders").update(timetable=timetable, start_date=datetime(2023, 1, 1, tzinfo=UTC))
    dag.refresh_from_db()
    return dag


def create(client: Client, **given: str) -> str:
    response = client.post(reverse("dag_backfill", args=["orders"]), {**SPAN, "max_active": "2", **given}, headers=HX)
    return f"{response.status_code} {response.content.decode()}"


def test_the_dialog_says_how_many_runs_before_it_makes_any(client: Client, daily: Dag) -> None:
    page = client.get(reverse("dag_backfill", args=["orders"]), SPAN).content.decode()
    assert "5 runs will be queued" in page and "Queue 5 runs" in page
    assert not Backfill.objects.exists()
    assert "5 runs of orders queued" in create(client, go="1", seen="5")
    assert Run.objects.filter(dag=daily, run_type="backfill").count() == 5
    assert Backfill.objects.get().max_active_runs == 2
    assert AuditEvent.objects.filter(dag_id="orders", actor="mara", means="ui").exists()


def test_other_numbers_than_those_shown_make_nothing(client: Client, daily: Dag) -> None:
    assert "these are the new numbers" in create(client, go="1", seen="4")
    assert not Backfill.objects.exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"from": "soon"}, "soon is not a date and time"),
        ({"from": "2024-02-01T00:00"}, "from_date must not be later"),
        ({"max_active": "none"}, "enter 1 or more"),
        ({"conf": "{"}, "The config is not JSON"),
        ({"from": "0001-01-01T00:00", "to": "9999-12-31T00:00"}, "runs lie between these dates"),
    ],
)
def test_bad_input_comes_back_with_what_is_wrong(client: Client, daily: Dag, given: dict[str, str], said: str) -> None:
    answer = create(client, go="1", seen="5", **given)
    assert answer.startswith("422") and said in answer
    assert not Backfill.objects.exists()


def test_a_dag_without_a_schedule_says_that_there_is_nothing_to_backfill(client: Client) -> None:
    client.force_login(factories.user())
    factories.dag("orders")
    assert "nothing to backfill" in create(client)


def test_the_tab_pauses_goes_on_and_cancels(client: Client, daily: Dag) -> None:
    create(client, go="1", seen="5")
    tab = client.get(reverse("dag_backfills", args=["orders"])).content.decode()
    assert "Going" in tab and "5 queued" in tab
    change = reverse("dag_backfill_change", args=["orders", Backfill.objects.get().pk])
    client.post(change, {"do": "pause"})
    assert Backfill.objects.get().is_paused
    client.post(change, {"do": "unpause"})
    assert not Backfill.objects.get().is_paused
    client.post(change, {"do": "cancel"})
    assert Backfill.objects.get().completed_at is not None
    assert re.search("5 failed|none left", client.get(reverse("dag_backfills", args=["orders"])).content.decode())
    refused = client.post(change, {"do": "pause"}, headers=HX)
    assert refused.status_code == 422 and refused.json()["toast"]


def test_a_viewer_reads_the_tab_and_may_make_none(client: Client, daily: Dag) -> None:
    viewer = User.objects.create_user("vera", password="x")
    viewer.groups.add(Group.objects.get_or_create(name="Viewer")[0])
    client.force_login(viewer)
    assert client.get(reverse("dag_backfills", args=["orders"])).status_code == 200
    assert client.post(reverse("dag_backfill", args=["orders"]), {**SPAN, "go": "1", "seen": "5"}).status_code == 403
    assert not Backfill.objects.exists()
