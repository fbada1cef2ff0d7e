"""The palette finds tasks of all DAGs that one may read, and leads to the search in logs; that page finds what was logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.access.models import User
from apps.dags.models import DagVersion
from apps.runs import logs
from apps.runs.models import TaskInstance, Try
from apps.ui import logindex
from apps.ui.queries import logsearch, tasknames
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh(monkeypatch: Any, settings: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(tasknames, "_kept", {})
    monkeypatch.setattr(logindex, "_cache", type(logindex._cache)())
    settings.LOGS_FOLDER = tmp_path


@pytest.fixture
def mara(client: Client) -> Client:
    client.force_login(factories.user())
    return client


def hits(client: Client, q: str, kind: str = "list") -> list[tuple[str, str, str]]:
    found = client.get(reverse("find_data"), {"q": q}).json()
    return [(h["text"], h["more"], h["href"]) for h in found if h["kind"] == kind and h["more"] != "page"]


def logged(run: Any, task: str, *texts: str, number: int = 1) -> Try:
    ti = TaskInstance.objects.get(run=run, task_id=task)
    row = factories.a_try(ti, log_ended=True) if number == ti.try_number else Try.objects.create(ti=ti, number=number, id=logs_id(number))
    logs.append(row.pk, 0, b"".join(json.dumps({"event": t, "src": "log", "level": "info"}).encode() + b"\n" for t in texts))
    return row


def logs_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def test_the_palette_finds_tasks_by_name_and_leads_to_their_newest_instance(mara: Client) -> None:
    orders = factories.dag("orders", ["extract", "load_orders", "load"])
    factories.run(orders)
    new = factories.run(orders)
    factories.dag("stock", ["load"])
    assert hits(mara, "LOAD") == [
        ("load", "task of orders", reverse("task", args=["orders", new.run_id, "load"])),
        ("load", "task of stock", reverse("dag_tasks", args=["stock"])),
        ("load_orders", "task of orders", reverse("task", args=["orders", new.run_id, "load_orders"])),
    ]
    assert [more for _, more, _ in hits(mara, "stock load")] == ["task of stock"] == [more for _, more, _ in hits(mara, "stock.load")]
    assert hits(mara, "no-such") == [] == hits(mara, "l")


def test_names_follow_the_current_version_and_are_read_once(mara: Client) -> None:
    orders = factories.dag("orders", ["extract"])
    for k in range(5):
        factories.dag(f"d{k}", ["extract"])
    assert len(hits(mara, "extract")) == 6
    with CaptureQueriesContext(connection) as asked:
        hits(mara, "extract")
    assert not [q for q in asked if "jsonb_array_elements" in q["sql"]] and len(asked) <= 10
    made = factories.spec("orders", ["renamed"])
    DagVersion.objects.filter(dag=orders).update(spec=made.to_dict(), spec_hash=made.structure_hash())
    assert [t for t, *_ in hits(mara, "renamed")] == ["renamed"] and len(hits(mara, "extract")) == 5


def test_tasks_and_logs_of_dags_that_are_not_yours_are_not_found(client: Client) -> None:
    run = factories.run(factories.dag("secret", ["canary"]))
    logged(run, "canary", "the canary sings")
    own = factories.run(factories.dag("own", made=factories.spec("own", ["canary"], access_control={"team": ["can_read"]})))
    logged(own, "canary", "the canary sings")
    guest = User.objects.create_user("guest")
    guest.groups.add(Group.objects.create(name="team"))
    client.force_login(guest)
    assert [more for _, more, _ in hits(client, "canary")] == ["task of own"]
    page = client.get(reverse("logs"), {"q": "canary sings"}).content.decode()
    assert "own.canary" in page and "secret" not in page and "1 log looked through" in page


def test_what_was_typed_leads_to_the_logs_that_hold_it(mara: Client) -> None:
    run = factories.run(factories.dag(), states={"load": "failed"})
    logged(run, "extract", "fine")
    logged(run, "load", "one", "Refused by <b>10.4.2.17</b> & gone", "two")
    offered = hits(mara, "by <b>10", "log")
    assert offered == [("Search logs for “by <b>10”", "", "/logs?q=by+%3Cb%3E10")]
    page = mara.get(offered[0][2]).content.decode()
    assert f'{reverse("task", args=["orders", run.run_id, "load"])}?try=1#L2' in page
    assert "Refused by &lt;b&gt;10.4.2.17" in page and "2 logs looked through" in page and "orders.extract" not in page
    assert "Nothing found" in mara.get(reverse("logs"), {"q": "refused", "state": "success"}).content.decode()
    assert "Nothing found" in mara.get(reverse("logs"), {"q": "refused", "dag": "stock"}).content.decode()
    for odd in ({}, {"q": "\0"}, {"q": "x", "before": "no"}, {"q": "x", "before": "9" * 30}, {"q": "x" * 5000}):
        assert mara.get(reverse("logs"), odd).status_code == 200


def test_a_look_is_bounded_and_goes_on_where_it_ended(mara: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logsearch, "TRIES", 3)
    dag = factories.dag("orders", ["a", "b"])
    for _ in range(4):
        run = factories.run(dag)
        for task in ("a", "b"):
            logged(run, task, "needle")
    user, seen, before = User.objects.get(), [], ""
    for _ in range(3):
        with CaptureQueriesContext(connection) as asked:
            look = logsearch.search(user, "needle", before=before)
        assert len(asked) == 1
        seen += [f.row.pk for f in look.found]
        before = look.following
    assert before == "" and len(seen) == len(set(seen)) == 8
    monkeypatch.setattr(logsearch, "SHOWN", 1)
    assert "Search older ones" in mara.get(reverse("logs"), {"q": "needle"}).content.decode()
