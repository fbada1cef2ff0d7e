"""Assets and backfills over REST: what the conformance cases do not ask."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.access.tests.resthelp import Api
from apps.dags import assets
from apps.dags.models import Asset, Dag
from apps.runs import sql
from apps.runs.assets import events
from apps.runs.assets.models import AssetEvent, QueuedAsset
from apps.runs.models import Run
from apps.runs.tests.support import dag, task
from apps.runs.tests.support import woken as woken
from trackside.core.spec import DagSpec

pytestmark = pytest.mark.django_db
HUGE = 2**70


def known(row: Dag) -> Dag:
    assert row.current_version is not None
    assets.store({row.dag_id: DagSpec.from_dict(row.current_version.spec)}, (), sql.now())
    return row


def outlet(name: str) -> dict[str, Any]:
    return {"type": "asset", "name": name, "uri": f"s3://{name}", "group": "asset", "extra": {}}


def maker(dag_id: str, *names: str, **fields: Any) -> Dag:
    return known(dag([task("make", outlets=[outlet(n) for n in names])], dag_id, **fields))


def waiter(dag_id: str, *names: str) -> Dag:
    condition = {"all": [{"asset": {"name": n, "uri": f"s3://{n}", "group": "asset"}} for n in names]}
    return known(dag([task("use")], dag_id, timetable={"kind": "asset", "condition": condition}, asset_expression=condition))


def pk(name: str) -> int:
    return Asset.objects.get(name=name).pk


def test_a_list_of_assets_costs_the_same_however_many_there_are() -> None:
    api = Api("Viewer")
    costs = []
    for n in range(3):
        for i in range(5):
            maker(f"m{n}{i}", f"a{n}{i}")
            events.by_hand(Asset.objects.get(name=f"a{n}{i}"), {}, None, sql.now())
        with CaptureQueriesContext(connection) as queries:
            assert api.get("/assets")[1]["total_entries"] == 5 * (n + 1)
        costs.append(len(queries))
    assert costs[0] == costs[1] == costs[2]


def test_an_asset_shows_its_dags_but_not_those_that_are_gone() -> None:
    maker("m", "a")
    waiter("w", "a")
    gone = maker("gone", "a")
    Dag.objects.filter(pk=gone.pk).update(is_stale=True)
    status, body = Api("Viewer").get(f"/assets/{pk('a')}")
    assert status == 200
    assert [t["dag_id"] for t in body["producing_tasks"]] == ["m"]
    assert [d["dag_id"] for d in body["scheduled_dags"]] == ["w"]
    assert body["last_asset_event"] is None


def test_materialize_needs_exactly_one_dag_that_makes_the_asset() -> None:
    maker("m", "one", "both")
    maker("n", "both")
    waiter("w", "none")
    api = Api("Op")
    assert api("POST", f"/assets/{pk('one')}/materialize", None)[0] == 200
    status, body = api("POST", f"/assets/{pk('one')}/materialize", {"conf": {"x": 1}, "note": "n"})
    assert (status, body["run_type"], body["conf"], body["note"]) == (200, "asset_materialization", {"x": 1}, "n")
    assert api("POST", f"/assets/{pk('both')}/materialize", {})[0] == 409
    assert api("POST", f"/assets/{pk('none')}/materialize", {})[0] == 404
    assert api("POST", "/assets/999999/materialize", {})[0] == 404
    assert api("POST", f"/assets/{HUGE}/materialize", {})[0] == 404


def test_an_event_by_hand_queues_the_consumers() -> None:
    waiter("w", "a", "b")
    api = Api("Op")
    status, body = api("POST", "/assets/events", {"asset_id": pk("a"), "extra": {}})
    assert (status, body["extra"], body["source_map_index"]) == (200, {"from_rest_api": True}, -1)
    assert [(q.dag_id, q.asset.name) for q in QueuedAsset.objects.all()] == [("w", "a")]
    assert api("POST", "/assets/events", {"asset_id": 999999})[0] == 404
    assert api("POST", "/assets/events", {"asset_id": pk("b"), "partition_key": "2026"})[0] == 200
    assert QueuedAsset.objects.count() == 1
    for wrong in ({}, {"asset_id": HUGE}, {"asset_id": "x"}, {"asset_id": pk("a"), "extra": [1]}, {"asset_id": pk("a"), "more": 1}):
        assert api("POST", "/assets/events", wrong)[0] == 422


def test_queued_events_of_what_does_not_exist() -> None:
    api = Api("Op")
    assert api.get("/assets/999999/queuedEvents") == (200, {"queued_events": [], "total_entries": 0})
    assert api.get(f"/assets/{HUGE}/queuedEvents")[0] == 200
    assert api.get("/dags/nope/assets/queuedEvents")[0] == 200
    assert api.get("/dags/nope/assets/1/queuedEvents")[0] == 404
    for path in ("/assets/1/queuedEvents", "/dags/nope/assets/queuedEvents", "/dags/nope/assets/1/queuedEvents"):
        assert api("DELETE", path)[0] == 404
        assert api("DELETE", path, query={"before": "x"})[0] == 400


def test_runs_can_be_found_by_the_asset_that_started_them() -> None:
    maker("m", "alpha", "beta")
    row = dag([task("t")], "other")
    runs = [Run.objects.create(dag=row, run_id=f"r{n}", run_type="asset_triggered") for n in range(2)]
    for run, name in zip(runs, ("alpha", "beta"), strict=True):
        event = AssetEvent.objects.get(pk=events.by_hand(Asset.objects.get(name=name), {}, None, sql.now()))
        event.runs.add(run)
    api = Api("Viewer")
    found = [r["dag_run_id"] for r in api.get("/dags/~/dagRuns", consuming_asset_pattern="ALPH")[1]["dag_runs"]]
    assert found == ["r0"]
    assert len(api.get("/dags/~/dagRuns", consuming_asset_prefix_pattern="~")[1]["dag_runs"]) == 2
    status, body = api.get("/dags/other/dagRuns/r1/upstreamAssetEvents")
    assert (status, [e["name"] for e in body["asset_events"]], body["total_entries"]) == (200, ["beta"], 1)
    assert api.get("/dags/other/dagRuns/nope/upstreamAssetEvents")[0] == 404


def test_backfills_over_rest() -> None:
    daily = {"kind": "cron_trigger", "cron": "0 0 * * *", "timezone": "UTC"}
    dag([task("t")], "daily", timetable=daily)
    api = Api("User")
    body = {"dag_id": "daily", "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-02T00:00:00Z"}
    status, made = api("POST", "/backfills", body)
    assert (status, made["from_date"], made["completed_at"]) == (200, "2026-01-01T00:00:00Z", None)
    assert api.get("/backfills", dag_id="daily")[1]["total_entries"] == 1
    assert api("POST", "/backfills", body)[0] == 409
    for change, wanted in (
        ({"dag_id": "nope"}, 404), ({"from_date": "2026-01-01"}, 422), ({"reprocess_behavior": "all"}, 422),
        ({"max_active_runs": 0}, 422), ({"dag_run_conf": [1]}, 422), ({"from_date": "2026-02-01T00:00:00Z"}, 422),
        ({"to_date": "0001-01-01T00:00:00+14:00"}, 422), ({"to_date": "9999-12-31T23:59:59-14:00"}, 200),
        ({"from_date": "0001-01-01T00:00:00+14:00"}, 422), ({"from_date": "0001-01-01T00:00:00Z"}, 422),
    ):  # fmt: skip
        assert api("POST", "/backfills/dry_run", body | change)[0] == wanted, change
    for verb in ("pause", "unpause", "cancel"):
        assert api("PUT", f"/backfills/{made['id']}/{verb}")[0] == 200
        assert api("PUT", f"/backfills/{HUGE}/{verb}")[0] == 404
    assert api.get(f"/backfills/{made['id']}")[1]["completed_at"] is not None
    assert Run.objects.filter(run_type="backfill", logical_date=datetime(2026, 1, 2, tzinfo=UTC), state="failed").count() == 1


@pytest.mark.parametrize("number", [10**30, -(2**64), 2**63])
def test_whole_numbers_of_any_size_stay_exact_in_events_and_state_stores(number: int) -> None:
    maker("m", "huge")
    api, store = Api(), f"/assets/{pk('huge')}/state-store/k"
    status, body = api("POST", "/assets/events", {"asset_id": pk("huge"), "extra": {"n": [number]}})
    assert (status, body["extra"]["n"]) == (200, [number])
    assert api.get("/assets/events")[1]["asset_events"][0]["extra"]["n"] == [number]
    assert api("PUT", store, {"value": number})[0] in (200, 201, 204)
    assert api.get(store)[1]["value"] == number
