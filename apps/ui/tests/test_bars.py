"""Bars of the last runs in the list of DAGs: links to the runs, by short addresses that are judged like the run's page."""

from __future__ import annotations

import gzip
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from apps.access.models import User
from apps.dags.models import Dag
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db


def of_row(html: str, dag_id: str) -> str:
    return html.split(f'id="dag-{dag_id}"')[1].split("</tr>")[0]


def test_each_bar_leads_to_its_run_and_says_its_state_with_one_tab_stop_for_all(client: Client) -> None:
    client.force_login(factories.user())
    dag = factories.dag()
    states = ("success", "failed", "running", "queued")
    runs = [factories.run(dag, state=state, at=now() - timedelta(hours=4 - k)) for k, state in enumerate(states)]
    for path in ("/dags", "/ui/rows?id=orders"):  # the page, and what replaces its rows live
        bars = of_row(client.get(path).content.decode(), "orders").split('class="bars"')[1].split("</td>")[0]
        found = re.findall(r'<a href="([^"]+)" data-r="(\d+)([^"]*)" aria-label="([^"]+)"( tabindex="-1")?', bars)
        assert [href for href, *_ in found] == [reverse("run_short", args=[r.pk]) for r in runs]
        assert [int(at) for _, at, *_ in found] == [int(r.run_after.timestamp()) for r in runs]
        assert [name for *_, name, _ in found] == ["Success", "Failed", "Running", "Queued"]
        assert [bool(out) for *_, out in found] == [True, True, True, False]
        assert [seconds for _, _, seconds, *_ in found] == [" 60", " 60", "", ""], "how long it takes so far is not written down"
    for run in runs:
        answer = client.get(reverse("run_short", args=[run.pk]))
        assert (answer.status_code, answer["Location"]) == (302, reverse("run", args=["orders", run.run_id]))


def test_the_short_address_tells_nothing_of_runs_that_are_not_yours(client: Client) -> None:
    secret = factories.run(factories.dag("secret"))
    own = factories.run(factories.dag("own", made=factories.spec("own", ["a"], access_control={"team": ["can_read"]})))
    guest = User.objects.create_user("guest")
    guest.groups.add(Group.objects.create(name="team"))
    client.force_login(guest)
    answers = [client.get(reverse("run_short", args=[pk])) for pk in (secret.pk, 999_999)]
    assert [a.status_code for a in answers] == [404, 404] and not any("secret" in a.content.decode() for a in answers)
    assert client.get(reverse("run_short", args=[own.pk]))["Location"] == reverse("run", args=["own", own.run_id])
    client.logout()
    assert client.get(reverse("run_short", args=[own.pk]))["Location"].startswith("/login")


def test_links_cost_the_page_little(client: Client) -> None:
    client.force_login(factories.user())
    for k in range(50):
        dag = factories.dag(f"dag_{k:03}", ["a"])
        for j in range(14):
            factories.run(dag, state=("success", "failed")[(k * j) % 5 == 1], at=now() - timedelta(hours=j, seconds=k))
    assert Dag.objects.count() == 50
    html = client.get("/dags").content
    assert html.count(b'<a href="/r/') == 700
    assert len(html) < 230_000 and len(gzip.compress(html, 6)) < 16_000, (len(html), len(gzip.compress(html, 6)))
