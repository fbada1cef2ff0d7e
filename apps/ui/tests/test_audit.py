"""The audit trail on pages: who did what, with filters, pages and links to what it was done to."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from apps.access.models import AuditEvent, User
from apps.ui.queries import audit
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def mara(client: Client) -> Client:
    client.force_login(factories.user())
    return client


def event(action: str = "trigger_dag_run", actor: str = "mara", **fields: Any) -> AuditEvent:
    return AuditEvent.objects.create(action=action, actor=actor, means="ui", **fields)


def html(client: Client, query: str = "", url: str = "") -> str:
    response = client.get((url or reverse("audit")) + query)
    assert response.status_code == 200
    return response.content.decode()


def rows(client: Client, query: str = "", url: str = "") -> list[str]:
    body = re.search(r"<tbody>(.*)</tbody>", html(client, query, url), re.S)
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", r)).strip() for r in re.findall(r"<tr>(.*?)</tr>", body[1], re.S)] if body else []


def test_an_entry_says_in_words_who_did_what_to_what(mara: Client) -> None:
    run = factories.run(factories.dag())
    event("clear_task_instances", dag_id="orders", run_id=run.run_id, task_id="load", map_index=3, extra={"only_failed": True})
    event("patch_pool", "ben", object_type="pool", object_id="etl", extra={"before": {"slots": 1}, "after": {"slots": 8}})
    pool, clear = rows(mara)
    assert "ben on the pages changed a pool" in pool and "slots 1 → 8" in pool
    assert "cleared tasks" in clear and "load [3]" in clear and "only_failed true" in clear
    page = html(mara)
    assert f'href="{reverse("task", args=["orders", run.run_id, "load"])}?map_index=3"' in page
    assert '/admin/runs/pool/?q=etl"' in page and f'href="{reverse("run", args=["orders", run.run_id])}"' in page


def test_what_was_deleted_has_no_link(mara: Client) -> None:
    event("delete_dag_run", dag_id="orders", run_id="gone")
    assert "run gone" in rows(mara)[0] and f'href="{reverse("run", args=["orders", "gone"])}"' not in html(mara)


def test_filters_narrow_by_person_action_dag_and_day(mara: Client) -> None:
    event("login", "ben", at=datetime(2026, 3, 1, 23, 59, tzinfo=UTC))
    event("paused", "mara", dag_id="orders", at=datetime(2026, 3, 2, 0, 0, tzinfo=UTC))
    event("paused", "mara", dag_id="other", at=datetime(2026, 3, 3, 0, 0, tzinfo=UTC))
    event("something_new", "mara", at=datetime(2026, 3, 4, 0, 0, tzinfo=UTC))
    assert len(rows(mara)) == 4
    assert len(rows(mara, "?who=BEN")) == 1
    assert len(rows(mara, "?what=paused")) == 2
    assert len(rows(mara, "?dag=orders")) == 1
    assert len(rows(mara, "?since=2026-03-02&until=2026-03-02")) == 1
    assert len(rows(mara, "?what=something_new")) == 1
    assert rows(mara, "?who=nobody-like-this") == [] and "Show everything" in html(mara, "?who=nobody-like-this")


@pytest.mark.parametrize("query", ["?since=soon", "?until=2026-02-31", "?since=9999-12-31", "?until=0001-01-01"])
def test_what_is_no_day_is_said_and_filters_nothing(mara: Client, query: str) -> None:
    event()
    assert "is not a day" in html(mara, query) and len(rows(mara, query)) == 1


def test_pages_neither_repeat_nor_leave_out_an_entry_even_at_the_same_moment(mara: Client) -> None:
    at = now()
    for k in range(audit.PAGE * 2 + 3):
        event("paused", f"p{k:03}", at=at - timedelta(seconds=k // 7))
    seen: list[str] = []
    query = ""
    while True:
        seen += [name for r in rows(mara, query) for name in re.findall(r"p\d{3}", r)]
        older = re.search(r'href="(\?before=\d+)">Older', html(mara, query))
        if older is None:
            break
        query = older[1]
    assert len(seen) == len(set(seen)) == audit.PAGE * 2 + 3
    assert rows(mara, "?before=99999999") == []


def test_the_tab_of_a_dag_shows_that_dag_only(mara: Client) -> None:
    factories.dag()
    event(dag_id="orders", run_id="r1")
    event(dag_id="other")
    assert len(rows(mara, url=reverse("dag_audit", args=["orders"]))) == 1
    assert len(rows(mara, "?dag=other", url=reverse("dag_audit", args=["orders"]))) == 1


def test_an_empty_trail_says_what_will_be_noted(mara: Client) -> None:
    assert not AuditEvent.objects.exists()
    assert "Nothing was changed yet" in html(mara)


def test_viewers_may_read_it_and_people_without_a_role_may_not(client: Client) -> None:
    factories.dag()
    guest = User.objects.create_user("guest")
    client.force_login(guest)
    assert client.get(reverse("audit")).status_code == 403
    assert client.get(reverse("dag_audit", args=["orders"])).status_code == 403
    assert reverse("audit") not in client.get(reverse("home")).content.decode()
    guest.groups.add(Group.objects.get_or_create(name="Viewer")[0])
    client.force_login(User.objects.get(pk=guest.pk))
    assert client.get(reverse("audit")).status_code == 200
    assert f'href="{reverse("audit")}"' in client.get(reverse("home")).content.decode()


def test_statements_do_not_grow_with_entries(mara: Client) -> None:
    event(dag_id="orders")
    with CaptureQueriesContext(connection) as few:
        html(mara)
    for k in range(40):
        event(dag_id=f"d{k}", run_id="r", task_id="t", object_type="asset", object_id="7")
    with CaptureQueriesContext(connection) as many:
        html(mara)
    assert len(few) == len(many) <= 5
