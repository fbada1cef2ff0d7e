"""Runs by REST: what one looks like, filters, orders, cursors, changing, bulk calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.access.models import AuditEvent
from apps.access.tests.resthelp import Api
from apps.runs.models import Run
from apps.runs.tests.restworld import make_dag, make_run

pytestmark = pytest.mark.django_db


def names(answer):
    return [r["dag_run_id"] for r in answer[1]["dag_runs"]]


@pytest.fixture
def runs():
    dag = make_dag("d", dag_display_name="D!")
    make_run(dag, "base_1", day=0, conf={"k": 1}, note="n")
    make_run(dag, "base_2", day=1, state="failed", end_date="2024-01-02T12:11:00Z")
    make_run(dag, "other", day=None, state="queued", run_type="scheduled")
    make_run(make_dag("e"), "foreign")
    return dag


def test_a_run_looks_like_airflows(runs):
    status, run = Api("Viewer").get("/dags/d/dagRuns/base_1")
    assert status == 200
    assert run == {
        "dag_run_id": "base_1",
        "dag_id": "d",
        "logical_date": "2024-01-01T12:00:00Z",
        "queued_at": None,
        "start_date": "2024-01-01T12:01:00Z",
        "end_date": "2024-01-01T12:01:30Z",
        "duration": 30.0,
        "data_interval_start": None,
        "data_interval_end": None,
        "run_after": "2024-01-01T12:00:00Z",
        "last_scheduling_decision": "2024-01-01T12:01:00Z",
        "run_type": "manual",
        "state": "success",
        "triggered_by": "timetable",
        "triggering_user_name": None,
        "conf": {"k": 1},
        "note": "n",
        "dag_versions": run["dag_versions"],
        "bundle_version": None,
        "dag_display_name": "D!",
        "partition_key": None,
        "partition_date": None,
    }
    assert [v["version_number"] for v in run["dag_versions"]] == [1]


@pytest.mark.parametrize(
    ("path", "query", "found"),
    [
        ("d", {}, ["base_1", "base_2", "other"]),
        ("~", {}, ["base_1", "base_2", "foreign", "other"]),
        ("~", {"dag_id_pattern": "E"}, ["foreign"]),
        ("d", {"state": ["success", "failed"]}, ["base_1", "base_2"]),
        ("d", {"run_type": "scheduled"}, ["other"]),
        ("d", {"logical_date_gt": "2024-01-01T12:00:00Z"}, ["base_2"]),
        ("d", {"logical_date_gte": "2024-01-01T12:00:00+00:00", "logical_date_lt": "2024-01-02T00:00:00Z"}, ["base_1"]),
        ("d", {"duration_gte": "60"}, ["base_2"]),
        ("d", {"run_id_pattern": "BASE"}, ["base_1", "base_2"]),
        ("d", {"run_id_prefix_pattern": "oth"}, ["other"]),
        ("d", {"conf_contains": '"k"'}, ["base_1"]),
        ("d", {"dag_version": 1}, ["base_1", "base_2", "other"]),
        ("d", {"dag_version": [2, 3]}, []),
        ("d", {"limit": 1, "offset": 1}, ["base_2"]),
    ],
)
def test_the_list_is_filtered(runs, path, query, found):
    assert names(Api("Viewer").get(f"/dags/{path}/dagRuns", order_by="run_id", **query)) == found


@pytest.mark.parametrize(("order", "found"), [("-logical_date", "base_2"), ("logical_date", "base_1"), ("-run_id", "other")])
def test_the_list_is_sorted(runs, order, found):
    rows = names(Api("Viewer").get("/dags/d/dagRuns", order_by=order))
    assert next(r for r in rows if order == "-run_id" or r != "other") == found


def test_cursors_walk_forwards_and_back_over_nulls_and_equal_values(runs):
    for i in range(7):
        make_run(runs, f"more_{i}", day=None, tis=False)
    api = Api("Viewer")
    for order in ("logical_date", "-logical_date", "state", "-duration"):
        whole = names(api.get("/dags/d/dagRuns", order_by=order, limit=100))
        seen, cursor, backs = [], "", []
        while cursor is not None:
            answer = api.get("/dags/d/dagRuns", order_by=order, limit=3, cursor=cursor)
            assert (answer[1]["total_entries"], answer[1]["total_entries_limit"]) == (10, 50_000)
            seen += names(answer)
            cursor = answer[1]["next_cursor"]
            backs.append(answer[1]["previous_cursor"])
        assert seen == whole
        assert backs[0] is None
        last_but_one = api.get("/dags/d/dagRuns", order_by=order, limit=3, cursor=backs[-1])
        assert names(last_but_one) == whole[-4:-1]


@pytest.mark.parametrize("cursor", ["x", "!!!", "e30", "W10", "eyJiIjpmYWxzZSwiayI6W10sInYiOltdfQ"])
def test_a_text_that_is_no_cursor_is_refused(runs, cursor):
    assert Api("Viewer").get("/dags/d/dagRuns", cursor=cursor)[0] == 400


def test_unknown_states_and_missing_things_have_their_own_shapes(runs):
    api = Api("Viewer")
    status, answer = api.get("/dags/d/dagRuns", state="nonsense")
    assert (status, type(answer["detail"])) == (422, str)
    assert api.get("/dags/nope/dagRuns")[0] == 404
    assert api.get("/dags/d/dagRuns/nope")[0] == 404
    assert api.get("/dags/e/dagRuns/base_1")[0] == 404


def test_a_batch_takes_filters_from_the_body(runs):
    api = Api("Viewer")
    body = {"dag_ids": ["d", "e"], "order_by": "run_id", "page_limit": 2, "page_offset": 1, "states": ["success", "failed"]}
    answer = api("POST", "/dags/~/dagRuns/list", body)
    assert (names(answer), answer[1]["total_entries"]) == (["base_2", "foreign"], 3)
    assert api("POST", "/dags/d/dagRuns/list", body)[0] == 422
    assert api("POST", "/dags/~/dagRuns/list", {"nonsense": 1})[1]["detail"][0]["loc"] == ["body", "nonsense"]


def test_a_page_of_runs_costs_a_constant_number_of_queries(runs):
    api = Api("Viewer")
    counts = []
    for batch in range(2):
        for i in range(2 + 10 * batch):
            make_run(runs, f"q{batch}{i}", day=None)
        with CaptureQueriesContext(connection) as queries:
            assert api.get("/dags/~/dagRuns")[0] == 200
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 5


def test_notes_are_set_kept_and_deleted(runs):
    api = Api("User")
    assert api("PATCH", "/dags/d/dagRuns/base_1", {"note": "two"})[1]["note"] == "two"
    assert api("PATCH", "/dags/d/dagRuns/base_1", {"note": "x"}, {"update_mask": "state"})[1]["note"] == "two"
    assert api("PATCH", "/dags/d/dagRuns/base_1", {})[1]["note"] == "two"
    assert api("PATCH", "/dags/d/dagRuns/base_1", {"note": ""})[1]["note"] is None
    assert api("PATCH", "/dags/d/dagRuns/base_1", {"note": "x" * 1001})[1]["detail"][0]["loc"] == ["body", "note"]
    assert api("PATCH", "/dags/d/dagRuns/base_1", {"state": "running"})[1]["detail"][0]["loc"] == ["body", "state"]
    event = AuditEvent.objects.filter(action="patch_dag_run", run_id="base_1").first()
    assert (event.actor, event.extra["request"]) == (api.user.username, {"note": "two", "method": "PATCH"})


def test_a_trigger_needs_a_logical_date_and_answers_the_queued_run(runs):
    api = Api("User")
    assert api("POST", "/dags/d/dagRuns", {})[1]["detail"][0]["loc"] == ["body", "logical_date"]
    status, run = api("POST", "/dags/d/dagRuns", {"logical_date": None, "conf": {"a": 1}, "dag_run_id": "mine"})
    assert (status, run["dag_run_id"], run["state"], run["conf"]) == (200, "mine", "queued", {"a": 1})
    assert (run["triggering_user_name"], run["triggered_by"]) == (api.user.username, "rest_api")
    status, again = api("POST", "/dags/d/dagRuns", {"logical_date": None, "dag_run_id": "mine"})
    assert (status, set(again["detail"])) == (409, {"reason", "statement", "orig_error", "message"})
    assert api("POST", "/dags/~/dagRuns", {"logical_date": None})[0] == 404
    assert Api("Viewer")("POST", "/dags/d/dagRuns", {"logical_date": None})[0] == 403
    naive = {"logical_date": "2024-01-01T00:00:00"}
    assert api("POST", "/dags/d/dagRuns", naive)[1]["detail"][0]["loc"] == ["body", "logical_date"]


def test_bulk_calls_answer_per_item(runs):
    api = Api("User")
    update = {"action": "update", "entities": [{"dag_run_id": "base_1", "note": "b"}]}
    answer = api("PATCH", "/dags/d/dagRuns", {"actions": [update]})
    assert answer == (200, {"create": None, "update": {"success": ["d.base_1"], "errors": []}, "delete": None})
    foreign = {"action": "update", "entities": [{"dag_run_id": "foreign", "dag_id": "e", "note": "b"}]}
    assert api("PATCH", "/dags/d/dagRuns", {"actions": [foreign]})[1]["update"]["success"] == ["e.foreign"]
    open_dag = {"action": "update", "entities": [{"dag_run_id": "base_1", "note": "c"}, *foreign["entities"]]}
    answer = api("PATCH", "/dags/~/dagRuns", {"actions": [open_dag]})[1]["update"]
    assert (answer["success"], answer["errors"][0]["status_code"]) == (["e.foreign"], 400)
    missing = {"action": "update", "entities": [{"dag_run_id": "nope", "note": "b"}, {"dag_run_id": "base_2", "note": "b"}]}
    _, answer = api("PATCH", "/dags/d/dagRuns", {"actions": [missing]})
    assert answer["update"]["errors"][0]["status_code"] == 404
    assert Run.objects.get(run_id="base_2").note is None


def test_a_refused_item_of_a_bulk_call_says_so_and_the_others_are_done(runs):
    make_run(runs, "busy", day=3, state="running")
    delete = {"action": "delete", "entities": ["base_1", "busy", "base_2"]}
    part = Api("User")("PATCH", "/dags/d/dagRuns", {"actions": [delete]})[1]["delete"]
    assert part["success"] == ["d.base_1", "d.base_2"]
    assert [e["status_code"] for e in part["errors"]] == [409]
    create = {"action": "create", "entities": [{"dag_run_id": "new"}]}
    assert Api("User")("PATCH", "/dags/d/dagRuns", {"actions": [create]})[1]["create"]["errors"][0]["status_code"] == 405


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"start_date_gte": "2030-01-01T00:00:00Z"}, ["waiting"]),
        ({"end_date_lte": "2025-01-01T00:00:00Z"}, ["base_1", "base_2", "foreign"]),
        ({"end_date_lte": "2999-01-01T00:00:00Z"}, ["base_1", "base_2", "foreign", "other", "waiting"]),
        ({"duration_gte": "0"}, ["base_1", "base_2", "foreign", "other", "waiting"]),
        ({"duration_gt": "1"}, ["base_1", "base_2", "foreign"]),
        ({"triggering_user_name_pattern": "~"}, ["waiting"]),
        ({"triggering_user_name_prefix_pattern": "an_"}, ["waiting"]),
        ({"partition_key_pattern": "a|b"}, ["waiting"]),
        ({"state": "none"}, []),
    ],
)
def test_filters_know_what_null_means(runs, query, found):
    Run.objects.filter(run_id="other").update(start_date="2024-01-01T00:00:00Z")
    make_run(runs, "waiting", day=2, state="queued", triggering_user_name="ann", partition_key="a|b")
    _, answer = Api("Viewer").get("/dags/~/dagRuns", order_by="run_id", **query)
    assert [r["dag_run_id"] for r in answer["dag_runs"]] == found


def test_orders_may_have_any_number_of_hyphens_and_ties_go_the_way_of_the_first(runs):
    answer = Api("Viewer").get("/dags/d/dagRuns", order_by=["--state", "run_id"])[1]["dag_runs"]
    assert [r["state"] for r in answer] == ["success", "queued", "failed"]
    tied = Api("Viewer").get("/dags/~/dagRuns", order_by=["-state", "duration"], state="success")
    assert names(tied) == ["foreign", "base_1"]


def test_partition_days_need_one_partitioned_dag(runs):
    api = Api("Viewer")
    assert api.get("/dags/~/dagRuns", partition_date_gte="2024-01-01")[0] == 400
    assert api.get("/dags/d/dagRuns", partition_date_gte="2024-01-01")[0] == 400
    assert api.get("/dags/d/dagRuns", partition_date_gte="soon")[0] == 422
    runs.timetable = {"kind": "partitioned_asset", "timezone": "Europe/Berlin"}
    runs.save()
    for hour, name in ((22, "before"), (23, "first"), (24 + 22, "last"), (24 + 23, "after")):
        day = datetime(2023, 12, 31, tzinfo=UTC) + timedelta(hours=hour)
        make_run(runs, name, day=None, partition_date=day, partition_key=name)
    _, answer = api.get("/dags/d/dagRuns", partition_date_gte="2024-01-01", partition_date_lte="2024-01-01", order_by="partition_date")
    assert [r["dag_run_id"] for r in answer["dag_runs"]] == ["first", "last"]
