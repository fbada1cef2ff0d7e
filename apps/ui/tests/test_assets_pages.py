"""Assets and data status: what people see, what they may do, and the badge that needs no sign-in."""

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
from apps.dags.models import Asset, AssetUse, Dag
from apps.runs.assets.models import AssetEvent
from apps.runs.models import QueuedAsset, Run
from apps.ui.queries import data_status
from apps.ui.tests import factories

pytestmark = pytest.mark.django_db
HX = {"HX-Request": "true"}


@pytest.fixture
def mara(client: Client) -> Client:
    client.force_login(factories.user())
    return client


def made(name: str = "orders.daily", maker: str = "maker", **kwargs: Any) -> Asset:
    """An asset that a DAG makes and another one waits for."""
    asset = Asset.objects.create(name=name, uri=f"s3://{name}", is_active=True, **kwargs)
    AssetUse.objects.create(dag=factories.dag(maker), kind="outlet", task_id="extract", asset=asset)
    return asset


def wait_for(asset: Asset, dag_id: str = "reader") -> Dag:
    dag = factories.dag(dag_id)
    AssetUse.objects.create(dag=dag, kind="schedule", asset=asset)
    Dag.objects.filter(pk=dag_id).update(timetable={"kind": "asset"})
    return dag


def status(asset: Asset) -> data_status.DataLine:
    return next(x for x in data_status.board(User.objects.get(username="mara")) if x.asset == asset)


def test_the_list_names_makers_readers_and_the_last_news(mara: Client) -> None:
    asset = made()
    wait_for(asset)
    AssetEvent.objects.create(asset=asset, timestamp=now() - timedelta(hours=2))
    page = mara.get(reverse("assets")).content.decode()
    assert "orders.daily" in page and "maker" in page and "reader" in page and "2 h ago" in page
    assert "orders.daily" not in mara.get(reverse("assets"), {"q": "nothing"}).content.decode()
    assert "No assets like that" in mara.get(reverse("assets"), {"q": "nothing"}).content.decode()


def test_lists_cost_the_same_for_one_asset_and_for_many(mara: Client) -> None:
    made()
    for name in ("assets", "data_status"):
        mara.get(reverse(name))
        with CaptureQueriesContext(connection) as one:
            mara.get(reverse(name))
        for k in range(4):
            made(f"{name}.{k}", f"{name}_{k}")
        with CaptureQueriesContext(connection) as many:
            mara.get(reverse(name))
        assert len(many) == len(one), name


def test_news_by_hand_queue_what_waits(mara: Client) -> None:
    asset = made()
    wait_for(asset)
    bad = mara.post(reverse("asset_event", args=[asset.pk]), {"extra": "{"}, headers=HX)
    assert bad.status_code == 422 and "not JSON" in bad.content.decode() and not AssetEvent.objects.exists()
    assert mara.post(reverse("asset_event", args=[asset.pk]), {"extra": '{"rows": 3}'}, headers=HX).status_code == 200
    assert AssetEvent.objects.get().extra["rows"] == 3
    assert QueuedAsset.objects.get().dag_id == "reader"
    assert "somebody, or another system" in mara.get(reverse("asset", args=[asset.pk])).content.decode()


def test_make_it_runs_the_one_dag_that_makes_it(mara: Client) -> None:
    asset = made()
    answer = mara.post(reverse("asset_materialize", args=[asset.pk]), headers=HX)
    run = Run.objects.get()
    assert (run.dag_id, run.run_type) == ("maker", "asset_materialization")
    assert answer.json()["href"] == reverse("run", args=["maker", run.run_id])
    AssetUse.objects.create(dag=factories.dag("other"), kind="outlet", task_id="x", asset=asset)
    refused = mara.post(reverse("asset_materialize", args=[asset.pk]), headers=HX)
    assert refused.status_code == 422 and "More than one DAG makes it: maker, other" in refused.content.decode()


def test_each_situation_has_its_word_and_a_sentence_without_dags(mara: Client) -> None:
    asset = made()
    dag = Dag.objects.get(pk="maker")
    assert (status(asset).status, status(asset).text) == ("never", "Nothing has been delivered so far.")
    AssetEvent.objects.create(asset=asset)
    assert status(asset).status == "ready"
    Dag.objects.filter(pk="maker").update(next_run_after=now() - timedelta(minutes=10))
    assert status(asset).status == "late" and "has not begun" in status(asset).text
    Dag.objects.filter(pk="maker").update(next_run_after=None)
    run = factories.run(dag, state="failed")
    assert status(asset).status == "late" and "failed" in status(asset).text
    factories.run(dag, state="running", states={"load": "awaiting_input"})
    assert status(asset).status == "decision"
    Run.objects.exclude(pk=run.pk).delete()
    Run.objects.filter(pk=run.pk).update(state="success")
    for _ in range(2):
        factories.run(dag)
    slow = factories.run(dag, state="running")
    assert status(asset).status == "now" and "left" in status(asset).text
    Run.objects.filter(pk=slow.pk).update(start_date=now() - timedelta(minutes=30))
    assert status(asset).status == "risk" and "longer than usual" in status(asset).text
    slow.delete()
    Dag.objects.filter(pk="maker").update(is_paused=True)
    assert status(asset).status == "stopped"
    page = mara.get(reverse("data_status")).content.decode()
    main = re.sub(r"<[^>]*>", " ", page[page.index("<main") :])
    assert "orders.daily" in main and not re.search(r"\b(DAG|run|task|pool)s?\b", main), main


def test_the_strip_tells_good_and_bad_days(mara: Client) -> None:
    asset = made()
    dag = Dag.objects.get(pk="maker")
    for days, state in ((3, "success"), (2, "failed"), (1, "success"), (1, "failed")):
        factories.run(dag, state=state, at=now() - timedelta(days=days))
    line = status(asset)
    assert line.days[-4:] == ["success", "failed", "up_for_retry", ""]
    assert line.on_time == 50


def test_a_badge_needs_its_signed_address_and_tells_name_and_status_only(mara: Client, client: Client) -> None:
    asset = made(name="<b>orders</b>")
    page = mara.get(reverse("asset", args=[asset.pk])).content.decode()
    address = re.search(r"http://testserver(/data/badge/[^)]+\.svg)", page)
    assert address
    client.logout()
    badge = client.get(address[1])
    assert badge["Content-Type"] == "image/svg+xml" and "No data yet" in badge.content.decode()
    assert "<b>" not in badge.content.decode()
    assert client.get(f"/data/badge/{asset.pk}.svg").status_code == 404
    assert client.get(f"/data/badge/{asset.pk}:forged.svg").status_code == 404


def test_who_may_not_see_the_maker_sees_neither_it_nor_its_status(client: Client) -> None:
    asset = made()
    stranger = User.objects.create_user("nobody", password="x")
    client.force_login(stranger)
    assert client.get(reverse("assets")).status_code == 403
    assert client.get(reverse("asset", args=[asset.pk])).status_code == 403
    assert data_status.board(stranger) == []
    viewer = User.objects.create_user("vera", password="x")
    viewer.groups.add(Group.objects.get_or_create(name="Viewer")[0])
    client.force_login(viewer)
    assert client.get(reverse("asset", args=[asset.pk])).status_code == 200
    assert client.post(reverse("asset_materialize", args=[asset.pk])).status_code == 403
    assert client.post(reverse("asset_event", args=[asset.pk])).status_code == 403
