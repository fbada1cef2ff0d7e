"""The page of processes: does each answer, how loaded is it, and what to do when one is missing."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from apps.access.models import User
from apps.runs.models import Process, TaskInstance
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def mara(client: Client) -> Client:
    client.force_login(factories.user())
    return client


def alive(kind: str, **fields: Any) -> Process:
    fields = {"name": f"{kind}-1", "hostname": "box", "version": settings.VERSION, "lease_until": now() + timedelta(minutes=1), **fields}
    return Process.objects.create(kind=kind, **fields)


def page(client: Client) -> str:
    response = client.get(reverse("processes"))
    assert response.status_code == 200 and " style=" not in response.content.decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_each_process_shows_whether_it_answers_and_how_loaded_it_is(mara: Client) -> None:
    for kind in ("scheduler", "dag_processor"):
        alive(kind)
    worker = alive("worker", slots=4, queues=["default", "gpu"])
    alive("triggerer", slots=1000, info={"triggers": 7, "watchers": 1})
    run = factories.run(factories.dag(), state="running")
    for ti in TaskInstance.objects.filter(run=run)[:3]:
        factories.a_try(ti, state="running", worker=worker)
    shown = page(mara)
    assert "Everything answers: 4 processes." in shown
    assert "3 of 4 slots" in shown and "queues default, gpu" in shown and "8 of 1,000 triggers" in shown


def test_what_is_missing_is_named_with_the_command_that_starts_it(mara: Client) -> None:
    alive("worker")
    shown = page(mara)
    assert "There is no scheduler and no DAG processor. Start them: manage.py scheduler, manage.py dag_processor." in shown


def test_a_silent_process_and_one_of_another_version_stand_out(mara: Client) -> None:
    for kind in ("scheduler", "dag_processor", "worker"):
        alive(kind)
    alive("worker", name="late", lease_until=now() - timedelta(seconds=5), version="0.0.1")
    shown = page(mara)
    assert "1 process is silent" in shown and "Silent late" in shown
    assert f"0.0.1 not {settings.VERSION}" in shown


def test_processes_that_ended_within_a_day_are_folded_away(mara: Client) -> None:
    alive("worker", name="recent", ended_at=now() - timedelta(hours=23))
    alive("worker", name="ancient", ended_at=now() - timedelta(hours=25))
    html = mara.get(reverse("processes")).content.decode()
    folded = html[html.index("<details") :]
    assert "1 that ended within a day" in folded and "recent" in folded and "ancient" not in html


def test_people_without_a_role_do_not_see_the_machine(client: Client) -> None:
    client.force_login(User.objects.create_user("guest"))
    assert client.get(reverse("processes")).status_code == 403


def test_statements_do_not_grow_with_processes(mara: Client) -> None:
    alive("worker")
    with CaptureQueriesContext(connection) as few:
        page(mara)
    for k in range(30):
        alive("worker", name=f"w{k}", ended_at=now() if k % 2 else None)
    with CaptureQueriesContext(connection) as many:
        page(mara)
    assert len(few) == len(many) <= 7
