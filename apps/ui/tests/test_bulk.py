"""Many DAGs at once and favourites: previewed with numbers, done as plain forms, taken back."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse

from apps.access.models import User
from apps.dags.models import Dag, DagFavorite
from apps.runs.models import Run
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
