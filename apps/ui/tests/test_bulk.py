"""Many DAGs at once and favourites: previewed with numbers, done as plain forms, taken back."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from apps.access.models import User
from apps.dags.models import Dag, DagFavorite
from apps.runs.models import Run, TaskInstance
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def mara(client: Client) -> Client:
    client.force_login(factories.user())
    for name in ("one", "two", "three"):
        factories.dag(name, timetable={"kind": "null"}).tags.create(name="even" if name == "two" else "odd")
    return client


def paused() -> set[str]:
    return set(Dag.objects.filter(is_paused=True).values_list("dag_id", flat=True))


def test_everything_with_a_tag_is_paused_after_a_look_and_taken_back(mara: Client) -> None:
    preview = mara.post(reverse("dags_bulk"), {"do": "pause", "all": "1", "tag": "odd"}).content.decode()
    assert "Pause 2 DAGs" in preview and not paused()
    chosen = re.findall(r'name="dag" value="([^"]+)"', preview)
    page = mara.post(reverse("dags_bulk"), {"do": "pause", "dag": chosen, "seen": "2", "go": "1"}, follow=True).content.decode()
    assert paused() == {"one", "three"} and "2 DAGs paused" in page
    url = re.search(r'action="(/undo/[^"]+)"', page)
    assert url
    mara.post(url[1])
    assert not paused()


def test_numbers_that_are_not_the_shown_ones_stop_the_action(mara: Client) -> None:
    answer = mara.post(reverse("dags_bulk"), {"do": "pause", "dag": ["one", "two"], "seen": "1", "go": "1"})
    assert answer.status_code == 422 and not paused()


def test_several_dags_are_triggered(mara: Client) -> None:
    mara.post(reverse("dags_bulk"), {"do": "trigger", "dag": ["one", "two"], "seen": "2", "go": "1"})
    assert set(Run.objects.values_list("dag_id", flat=True)) == {"one", "two"}


def test_who_may_not_change_dags_changes_none(mara: Client) -> None:
    guest = Client()
    guest.force_login(User.objects.create_user("guest"))
    guest.post(reverse("dags_bulk"), {"do": "pause", "dag": ["one"], "seen": "1", "go": "1"})
    guest.post(reverse("dag_star", args=["one"]), {"starred": "1"})
    assert not paused() and not DagFavorite.objects.exists()


def test_a_favourite_has_a_view_of_its_own_and_can_be_taken_back(mara: Client) -> None:
    mara.post(reverse("dag_star", args=["two"]), {"starred": "1"})
    shown = mara.get(reverse("dags") + "?view=starred").content.decode()
    assert re.findall(r'data-dag="([^"]+)"', shown) == ["two"]
    mara.post(reverse("dag_star", args=["two"]), {"starred": "0"})
    assert not DagFavorite.objects.exists()


def test_failed_tasks_of_the_newest_runs_are_cleared_as_previewed_and_taken_back(mara: Client) -> None:
    for name in ("one", "two"):
        factories.run(Dag.objects.get(pk=name), state="failed", states={"load": "failed", "check": "upstream_failed"})
    older = factories.run(Dag.objects.get(pk="three"), state="failed", states={"load": "failed"}, at=now() - timedelta(days=1))
    factories.run(Dag.objects.get(pk="three"), state="success")
    preview = mara.post(reverse("dags_bulk"), {"do": "clear", "all": "1"}).content.decode()
    assert "Clear 4 failed tasks of 2 DAGs" in preview and "load, check" in preview
    assert "1 of the chosen has no failed newest run" in preview
    chosen = re.findall(r'name="dag" value="([^"]+)"', preview)
    assert chosen == ["one", "two"] and states("failed") == 3
    moved = mara.post(reverse("dags_bulk"), {"do": "clear", "dag": chosen, "seen": "3", "go": "1"})
    assert moved.status_code == 422 and states("failed") == 3
    page = mara.post(reverse("dags_bulk"), {"do": "clear", "dag": chosen, "seen": "4", "go": "1"}, follow=True).content.decode()
    assert "4 tasks will run again" in page and states("failed") == 1 and states("upstream_failed") == 0
    assert Run.objects.get(pk=older.pk).state == "failed" and Run.objects.filter(state="queued").count() == 2
    url = re.search(r'action="(/undo/[^"]+)"', page)
    assert url
    mara.post(url[1])
    assert states("failed") == 3 and states("upstream_failed") == 2 and not Run.objects.filter(state="queued").exists()


def states(state: str) -> int:
    return TaskInstance.objects.filter(state=state).count()


def test_who_may_not_clear_clears_nothing_of_many(mara: Client) -> None:
    factories.run(Dag.objects.get(pk="one"), state="failed", states={"load": "failed"})
    guest = Client()
    guest.force_login(User.objects.create_user("guest"))
    guest.post(reverse("dags_bulk"), {"do": "clear", "dag": ["one"], "seen": "1", "go": "1"})
    assert states("failed") == 1
