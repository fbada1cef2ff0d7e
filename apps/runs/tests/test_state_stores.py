"""State stores: what a task keeps survives its tries, what an asset keeps belongs to all; REST says so too."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings

from apps.access.tests.resthelp import Api
from apps.dags import assets
from apps.dags.models import Asset
from apps.runs import housekeeping, sql
from apps.runs.execution import stores
from apps.runs.execution.refusal import Refused
from apps.runs.models import Run
from apps.runs.stores import store
from apps.runs.stores.models import AssetStateEntry, TaskStateEntry
from apps.runs.tests.support import Worker, dag, run, task, tick
from apps.runs.tests.support import woken as woken
from trackside.core.spec import DagSpec

pytestmark = pytest.mark.django_db(transaction=True)
OUTLET = {"type": "asset", "name": "a", "uri": "s3://a", "group": "asset", "extra": {}}


def started(worker: Worker, **fields: Any) -> tuple[Run, dict[str, Any]]:
    row = dag([task("t", outlets=[OUTLET], **fields)], "d")
    assert row.current_version is not None
    assets.store({"d": DagSpec.from_dict(row.current_version.spec)}, (), sql.now())
    made = run("d")
    return made, worker.take()["t"]


def ask(order: dict[str, Any], method: str, **call: Any) -> Any:
    return stores.task(method)(token=order["token"], body=call.get("body"), query=call.get("query") or {})


def ask_asset(order: dict[str, Any], method: str, **call: Any) -> Any:
    return stores.asset(method)(token=order["token"], body=call.get("body"), query=call.get("query") or {})


def path(made: Run, key: str = "") -> str:
    return f"/dags/d/dagRuns/{made.run_id}/taskInstances/t/state-store" + (f"/{key}" if key else "")


def test_a_value_survives_the_try_that_left_it_and_other_tries_cannot_touch_it() -> None:
    worker = Worker()
    _, first = started(worker, retries=1, retry_delay=0.0)
    ask(first, "PUT", query={"key": "job/1"}, body={"value": {"n": 1}})
    worker.exchange([worker.report(first, "failed")])
    tick()
    second = worker.take()["t"]
    assert ask(second, "GET", query={"key": "job/1"})["value"] == {"n": 1}
    with pytest.raises(Refused) as refused:
        ask(first, "PUT", query={"key": "job/1"}, body={"value": 2})
    assert refused.value.status == 410
    ask(second, "DELETE", query={"key": "job/1"})
    with pytest.raises(Refused, match="not found"):
        ask(second, "GET", query={"key": "job/1"})


def test_null_is_refused_and_says_what_to_do() -> None:
    _, order = started(Worker())
    with pytest.raises(Refused, match="delete the key instead"):
        ask(order, "PUT", query={"key": "k"}, body={"value": None})


def test_values_expire_as_the_task_or_the_setting_says() -> None:
    _, order = started(Worker())
    now = sql.now()
    past = (now - timedelta(seconds=1)).isoformat()
    for key, expires in (("late", past), ("never", None), ("default", "default")):
        ask(order, "PUT", query={"key": key}, body={"value": 1, "expires_at": expires})
    kept = dict(TaskStateEntry.objects.values_list("key", "expires_at"))
    assert kept["never"] is None and timedelta(days=29) < kept["default"] - now < timedelta(days=31)
    housekeeping.run_once()
    assert sorted(TaskStateEntry.objects.values_list("key", flat=True)) == ["default", "never"]


@pytest.mark.parametrize("clear", [True, False])
def test_success_empties_the_store_only_if_the_site_says_so(clear: bool) -> None:
    worker = Worker()
    _, order = started(worker)
    ask(order, "PUT", query={"key": "k"}, body={"value": 1})
    with override_settings(STATE_CLEAR_ON_SUCCESS=clear):
        worker.exchange([worker.report(order)])
    assert TaskStateEntry.objects.exists() is not clear


def test_an_asset_keeps_values_over_runs_and_says_who_wrote_them() -> None:
    worker = Worker()
    made, order = started(worker)
    ask_asset(order, "PUT", query={"name": "a", "key": "watermark"}, body={"value": "2026"})
    worker.exchange([worker.report(order)])
    run("d")
    later = worker.take()["t"]
    assert ask_asset(later, "GET", query={"uri": "s3://a", "key": "watermark"})["value"] == "2026"
    pk = Asset.objects.get(name="a").pk
    by = Api("Viewer").get(f"/assets/{pk}/state-store/watermark")[1]["last_updated_by"]
    assert by == {"kind": "task", "dag_id": "d", "run_id": made.run_id, "task_id": "t", "map_index": -1}
    with pytest.raises(Refused, match="no active asset"):
        ask_asset(later, "GET", query={"name": "b", "key": "k"})


def test_a_task_asks_for_an_asset_by_its_name() -> None:
    _, order = started(Worker())
    found = stores.assets(token=order["token"], body=None, query={"name": "a"})
    assert found == {"assets": [{"name": "a", "uri": "s3://a", "group": "asset", "extra": {}}]}
    with pytest.raises(Refused, match="no active asset named 'b'"):
        stores.assets(token=order["token"], body=None, query={"name": "b"})


def test_values_of_an_asset_nobody_refers_to_go() -> None:
    started(Worker())
    pk = Asset.objects.get(name="a").pk
    store.set_asset(pk, "k", 1, store.Writer("api"), sql.now())
    store.clean()
    assert AssetStateEntry.objects.exists()
    Asset.objects.filter(pk=pk).update(is_active=False)
    store.clean()
    assert not AssetStateEntry.objects.exists()


def test_rest_refuses_what_cannot_be_kept_or_does_not_exist() -> None:
    made, _ = started(Worker())
    api = Api("User")
    assert api("PUT", path(made, "k"), {"value": None})[0] == 422
    assert api("PUT", path(made, "k"), {"value": "x" * 70_000})[0] == 422
    assert api("PUT", path(made, "k"), {"value": 1, "expires_at": "soon"})[0] == 422
    assert api("PUT", path(made, "k"), {"value": 1, "extra": 1})[0] == 422
    assert api("PUT", path(made, "k" * 600), {"value": 1})[0] == 422
    assert api("PUT", path(made, "k"), {"value": 1}, {"map_index": 3})[0] == 404
    assert api("PUT", path(made, "k").replace(made.run_id, "other"), {"value": 1})[0] == 404
    assert api("PATCH", path(made, "k"), {"value": 1})[0] == 404
    assert api("PUT", "/assets/99/state-store/k", {"value": 1})[0] in (403, 404)
    assert api.get(path(made))[1] == {"task_state_store": [], "total_entries": 0}


def test_rest_pages_and_clears_all_map_indices() -> None:
    made, _ = started(Worker())
    for index in (-1, 0, 1):
        for key in "abc":
            store.set_task(store.Scope(made.pk, "t", index), key, index, None, sql.now())
    api = Api("User")
    status, body = api.get(path(made), limit=2, offset=1)
    assert (status, [e["key"] for e in body["task_state_store"]], body["total_entries"]) == (200, ["b", "c"], 3)
    assert api("DELETE", path(made))[0] == 204 and TaskStateEntry.objects.count() == 6
    assert api("DELETE", path(made), query={"all_map_indices": "true"})[0] == 204 and not TaskStateEntry.objects.exists()


def test_a_viewer_reads_and_changes_nothing() -> None:
    made, _ = started(Worker())
    viewer = Api("Viewer")
    assert viewer.get(path(made))[0] == 200
    assert viewer("PUT", path(made, "k"), {"value": 1})[0] == 403
    assert viewer("PUT", f"/assets/{Asset.objects.get(name='a').pk}/state-store/k", {"value": 1})[0] == 403
