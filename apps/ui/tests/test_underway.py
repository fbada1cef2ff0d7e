"""Pods on the pages: what runs where and why others wait on the page of processes, the pod of a try on its own tab."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from apps.access.models import User
from apps.runs.models import Process, Run, TaskInstance, Try
from apps.ui.tests import factories
from trackside.executors import registry

pytestmark = pytest.mark.django_db
FACTS = {
    "pod": "orders-extract-abc", "namespace": "tasks", "node": "node-7", "image": "registry/etl:5", "phase": "Running",
    "resources": {"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
    "used": {"memory_bytes": 300 * 2**20, "cpu_seconds": 12.34},
    "events": [
        {"at": "2026-01-05T10:00:01Z", "reason": "Scheduled", "type": "Normal", "message": "assigned", "count": 1},
        {"at": "2026-01-05T10:00:09Z", "reason": "BackOff", "type": "Warning", "message": "Back-off pulling <image>", "count": 3},
    ],
    "spec": {"containers": [{"name": "base", "env": [{"name": "PASSWORD", "value": "***"}]}]},
}  # fmt: skip


@pytest.fixture
def mara(client: Client, settings: Any) -> Client:
    settings.EXECUTORS = registry.configured(["local", "kubernetes"])
    client.force_login(factories.user())
    return client


def text(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200 and " style=" not in response.content.decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def tries(run: Run, **fields: Any) -> Try:
    ti = TaskInstance.objects.filter(run=run, tries=None).order_by("id")[0]
    reason = fields.pop("reason", None)
    TaskInstance.objects.filter(pk=ti.pk).update(state=fields["state"], reason=reason)
    return factories.a_try(ti, executor="kubernetes", **fields)


def test_each_pod_is_listed_with_node_reason_and_last_event_and_links_to_its_task(mara: Client) -> None:
    run = factories.run(factories.dag(), state="running")
    tries(run, state="running", submitted_at=now(), facts=FACTS)
    tries(run, state="queued", submitted_at=now(), facts={"pod": "orders-load-x"}, reason="No node can take its pod: too few cpus.")
    tries(run, state="queued")
    shown = text(mara, reverse("processes"))
    assert "Pods of kubernetes 3" in shown
    assert "1 running, 2 waiting, 1 of them not brought there yet, 2 of 100 pods used, on node-7 (1)." in shown
    assert "No node can take its pod: too few cpus." in shown and "BackOff: Back-off pulling &lt;image&gt;" in shown
    assert "It has not been brought to its executor yet." in shown
    assert "no executor" in shown and "manage.py executor" in shown
    html = mara.get(reverse("processes")).content.decode()
    assert f"{reverse('task', args=[run.dag_id, run.run_id, 'extract'])}?try=1&amp;tab=pod" in html


def test_warm_pods_without_a_task_are_counted(mara: Client) -> None:
    moment = now()
    Process.objects.create(kind="executor", lease_until=moment + timedelta(minutes=1), info={"idle_places": {"kubernetes": 2}})
    Process.objects.create(kind="executor", lease_until=moment - timedelta(minutes=1), info={"idle_places": {"kubernetes": 9}})
    assert "2 pods warm without a task" in text(mara, reverse("processes"))


def test_a_site_with_local_workers_only_has_no_such_section(client: Client) -> None:
    client.force_login(factories.user())
    assert "Pods of" not in text(client, reverse("processes")) and "Executors" not in text(client, reverse("processes"))


def test_tries_of_dags_that_a_person_may_not_read_are_counted_but_not_named(mara: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db.models import Q

    from apps.ui.queries import underway

    run = factories.run(factories.dag("secret"), state="running")
    tries(run, state="running", submitted_at=now(), facts=FACTS)
    monkeypatch.setattr(underway.policy, "visible_dags", lambda user, prefix="": Q(pk__in=()))
    shown = text(mara, reverse("processes"))
    assert "1 running" in shown and "secret" not in shown and "orders-extract-abc" not in shown


def test_statements_do_not_grow_with_pods(mara: Client) -> None:
    run = factories.run(factories.dag(task_ids=[f"t{k}" for k in range(12)]), state="running")
    tries(run, state="running", facts=FACTS)
    with CaptureQueriesContext(connection) as few:
        mara.get(reverse("processes"))
    for _ in range(10):
        tries(run, state="queued")
    with CaptureQueriesContext(connection) as many:
        mara.get(reverse("processes"))
    assert len(few) == len(many)


def test_the_tab_pod_shows_place_resources_events_and_the_spec_without_secrets(mara: Client) -> None:
    run = factories.run(factories.dag(), state="running")
    row = tries(run, state="running", facts=FACTS)
    address = reverse("task", args=[run.dag_id, run.run_id, row.ti.task_id])
    shown = text(mara, f"{address}?tab=pod")
    for part in ("orders-extract-abc", "node-7", "registry/etl:5", "memory 256Mi", "1Gi", "300 Mi at most", "12.3 s of CPU time"):
        assert part in re.sub(r" (asks for|limit|used) ", " ", shown)
    assert "2026-01-05 10:00:09" in shown and "×3" in shown and "Back-off pulling &lt;image&gt;" in shown
    assert "name: PASSWORD" in shown and "&#x27;***&#x27;" in shown


def test_a_try_on_a_worker_has_no_tab_pod(mara: Client) -> None:
    run = factories.run(factories.dag(), state="running")
    ti = TaskInstance.objects.filter(run=run).order_by("id")[0]
    factories.a_try(ti, state="running")
    address = reverse("task", args=[run.dag_id, run.run_id, ti.task_id])
    assert "tab=pod" not in mara.get(address).content.decode()
    assert mara.get(f"{address}?tab=pod").status_code == 200


def test_a_viewer_may_look_and_a_guest_may_not(client: Client, settings: Any) -> None:
    settings.EXECUTORS = registry.configured(["kubernetes"])
    viewer = User.objects.create_user("vera")
    viewer.groups.add(Group.objects.get_or_create(name="Viewer")[0])
    run = factories.run(factories.dag(), state="running", at=now() - timedelta(minutes=5))
    tries(run, state="running", facts=FACTS)
    client.force_login(viewer)
    assert "orders-extract-abc" in text(client, reverse("processes"))
    client.force_login(User.objects.create_user("guest"))
    assert client.get(reverse("processes")).status_code == 403
