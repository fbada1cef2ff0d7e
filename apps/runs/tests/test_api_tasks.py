"""Task instances, tries, dependencies, XComs, pools and event logs by REST."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from apps.access.tests.resthelp import Api
from apps.runs.models import Pool, Process, TaskInstance, Try, XCom
from apps.runs.tests.restworld import group, make_dag, make_run, make_ti, task

pytestmark = pytest.mark.django_db
TI_FIELDS = (
    "id task_id dag_id dag_run_id map_index logical_date run_after start_date end_date duration state try_number max_tries "
    "task_display_name dag_display_name hostname unixname pool pool_slots queue priority_weight operator operator_name queued_when "
    "scheduled_when pid executor executor_config note rendered_map_index rendered_fields trigger triggerer_job dag_version"
)
TIS = "/dags/d/dagRuns/r/taskInstances"


@pytest.fixture
def run():
    return make_run(make_dag("d"), "r")


def found(answer):
    return sorted((t["task_id"], t["map_index"]) for t in answer[1]["task_instances"])


def test_an_instance_has_exactly_the_fields_of_airflow(run):
    TaskInstance.objects.filter(task_id="second").update(state="none", try_number=0)
    status, ti = Api("Viewer").get(f"{TIS}/second")
    assert status == 200
    assert set(ti) == set(TI_FIELDS.split())
    assert (ti["state"], ti["operator"], ti["operator_name"], ti["executor_config"]) == (
        None,
        "_PythonDecoratedOperator",
        "@task",
        "{}",
    )
    assert (ti["rendered_fields"], ti["hostname"]) == ({}, "")
    assert ti["id"] == str(TaskInstance.objects.get(task_id="second").try_id)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [("first", -1), ("m", 0), ("m", 1), ("second", -1)]),
        ({"task_id": "m"}, [("m", 0), ("m", 1)]),
        ({"state": ["failed", "none"]}, [("m", 0), ("m", 1)]),
        ({"pool": "p"}, [("m", 1)]),
        ({"pool_name_prefix_pattern": "default"}, [("first", -1), ("m", 0), ("second", -1)]),
        ({"operator": "Bash"}, [("m", 0)]),
        ({"rendered_map_index_prefix_pattern": "item 1"}, [("m", 1)]),
        ({"map_index": [0, 1]}, [("m", 0), ("m", 1)]),
        ({"version_number": 2}, []),
        ({"run_after_lt": "2020-01-01T00:00:00Z"}, []),
    ],
)
def test_the_list_is_filtered(run, query, expected):
    make_ti(run, "m", map_index=0, state="failed", operator="Bash")
    make_ti(run, "m", map_index=1, state="none", pool="p", rendered_map_index="item 1")
    assert found(Api("Viewer").get(TIS, **query)) == expected


def test_wildcards_and_their_limits(run):
    make_run(make_dag("e"), "s")
    api = Api("Viewer")
    assert len(found(api.get("/dags/~/dagRuns/~/taskInstances"))) == 4
    assert len(found(api.get("/dags/d/dagRuns/~/taskInstances"))) == 2
    assert api.get("/dags/~/dagRuns/r/taskInstances")[0] == 400
    assert api.get("/dags/d/dagRuns/nope/taskInstances")[0] == 404
    assert api.get(TIS, order_by="task_id")[0] == 400
    body = {"dag_ids": ["d"], "task_ids": ["first"], "state": ["success"]}
    assert found(api("POST", "/dags/~/dagRuns/~/taskInstances/list", body)) == [("first", -1)]
    assert api("POST", "/dags/d/dagRuns/r/taskInstances/list", body)[0] == 422


def test_the_instances_of_a_group_are_found_with_those_of_inner_groups():
    tasks = (task("g.a", group_id="g"), task("g.h.b", group_id="g.h"), task("c"))
    dag = make_dag("d", tasks=tasks, spec={"groups": [group("g", "g.a", "g.h"), group("g.h", "g.h.b", parent="g")]})
    make_run(dag, "r")
    api = Api("Viewer")
    assert found(api.get(TIS, task_group_id="g")) == [("g.a", -1), ("g.h.b", -1)]
    assert api.get(TIS, task_group_id="nope")[0] == 404


def test_mapped_instances_have_paths_of_their_own(run):
    make_ti(run, "first", map_index=3, state="success")
    api = Api("Viewer")
    assert api.get(f"{TIS}/first/3")[1]["map_index"] == 3
    assert found(api.get(f"{TIS}/first/listMapped")) == [("first", 3)]
    assert api.get(f"{TIS}/second/listMapped")[0] == 404
    assert api.get(f"{TIS}/first/9")[0] == 404
    assert api.get(f"{TIS}/first/x")[1]["detail"][0]["loc"] == ["path", "map_index"]


def test_a_page_of_instances_costs_a_constant_number_of_queries(run):
    api = Api("Viewer")
    counts = []
    for batch in range(2):
        for i in range(2 + 20 * batch):
            make_ti(run, "first", map_index=100 * batch + i)
        with CaptureQueriesContext(connection) as queries:
            assert api.get(TIS)[0] == 200
        counts.append(len(queries))
    assert counts[0] <= 6
    assert counts[1] <= counts[0]


def test_tries_are_those_that_ended_and_the_current_one(run):
    ti = TaskInstance.objects.get(task_id="first")
    old = "11111111-1111-4111-8111-111111111111"
    Try.objects.create(id=old, ti=ti, number=1, state="failed", final_state="failed", end_date=now(), snapshot={"pool": "was"}, pid=7)
    Try.objects.create(id=ti.try_id, ti=ti, number=2, state="success", final_state="success", end_date=now())
    TaskInstance.objects.filter(pk=ti.pk).update(try_number=2)
    api = Api("Viewer")
    _, answer = api.get(f"{TIS}/first/tries")
    assert [(t["try_number"], t["state"], t["pool"]) for t in answer["task_instances"]] == [
        (1, "failed", "was"),
        (2, "success", "default_pool"),
    ]
    assert "id" not in answer["task_instances"][0]
    assert api.get(f"{TIS}/first/tries/1")[1]["pid"] == 7
    assert api.get(f"{TIS}/first/tries/9")[0] == 404


def test_unmet_dependencies_are_named():
    make_run(make_dag("d", is_paused=True), "r", state="queued")
    api = Api("Viewer")
    _, answer = api.get(f"{TIS}/second/dependencies")
    assert [d["name"] for d in answer["dependencies"]] == ["Dag Not Paused", "Dagrun Running", "Task Instance State", "Trigger Rule"]
    _, answer = api.get(f"{TIS}/first/-1/dependencies")
    assert "Trigger Rule" not in [d["name"] for d in answer["dependencies"]]
    status, answer = api.get(f"{TIS}/nope/dependencies")
    assert (status, type(answer["detail"])) == (404, list)


def test_marking_refuses_states_a_person_cannot_give(run):
    api = Api("User")
    for body, loc in (
        ({"new_state": "running"}, ["body", "new_state"]),
        ({"new_state": None}, ["body", "new_state"]),
        ({"state": "failed"}, ["body", "state"]),
    ):
        status, answer = api("PATCH", f"{TIS}/first", body)
        assert (status, answer["detail"][0]["loc"]) == (422, loc)
    assert api("PATCH", f"{TIS}/first", {"new_state": "success"})[0] == 409
    assert api("PATCH", f"{TIS}/first", {"note": "hello"})[1]["task_instances"][0]["note"] == "hello"
    assert type(api("PATCH", f"{TIS}/first/9", {"note": "x"})[1]["detail"]) is list


def test_whole_numbers_of_any_size_pass_through_xcoms_exactly(run):
    api = Api("User")
    value = {"n": 2**64 + 1, "m": [-(10**40) - 7], "f": 1e300, "text": "9" * 30}
    assert api("POST", f"{TIS}/first/xcomEntries", {"key": "k", "value": value})[0] == 201
    found = api.get(f"{TIS}/first/xcomEntries/k")[1]["value"]
    assert found == value and isinstance(found["f"], float) and isinstance(found["n"], int)


def test_xcoms_are_created_read_changed_and_deleted_as_they_are(run):
    api = Api("User")
    value = {"a": [1, None], "é": 1.5}
    assert api("POST", f"{TIS}/first/xcomEntries", {"key": "k", "value": value})[0] == 201
    assert api("POST", f"{TIS}/first/xcomEntries", {"key": "k", "value": 1})[0] == 409
    assert api.get(f"{TIS}/first/xcomEntries/k")[1]["value"] == value
    assert api.get(f"{TIS}/first/xcomEntries/k", stringify="true")[1]["value"] == str(value)
    assert api.get(f"{TIS}/first/xcomEntries/k", deserialize="true")[1]["value"] == value
    assert api("PATCH", f"{TIS}/first/xcomEntries/k", {"value": None})[1]["value"] is None
    assert api.get("/dags/~/dagRuns/~/taskInstances/~/xcomEntries", xcom_key="k")[1]["total_entries"] == 1
    assert api.get(f"{TIS}/nope/xcomEntries") == (200, {"xcom_entries": [], "total_entries": 0})
    assert api("DELETE", f"{TIS}/first/xcomEntries/k") == (204, None)
    assert api("DELETE", f"{TIS}/first/xcomEntries/k")[0] == 404
    assert api("POST", f"{TIS}/nope/xcomEntries", {"key": "k", "value": 1})[0] == 404


def test_people_see_xcoms_without_secrets_by_value_and_by_name(run):
    api = Api("Admin")
    value = {"a": "Bearer s3cret", "password": {"x": [1]}, "tokens": ["t"], "n": 1}
    texts = {"value": json.dumps(value), "shown": json.dumps({**value, "a": "Bearer ***"})}
    XCom.objects.create(run=run, dag_id="d", task_id="first", key="k", **texts)
    XCom.objects.create(run=run, dag_id="d", task_id="first", key="api_token", value='"t0ken"')
    assert api.get(f"{TIS}/first/xcomEntries/k")[1]["value"] == {"a": "Bearer ***", "password": {"x": ["***"]}, "tokens": ["***"], "n": 1}
    assert api.get(f"{TIS}/first/xcomEntries/api_token")[1]["value"] == "***"
    assert api("PATCH", f"{TIS}/first/xcomEntries/k", {"value": "a new one"})[1]["value"] == "a new one"  # the old one's form does not stay


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ([1, "a", None], [1, "a", None]),
        ({"__classname__": "builtins.tuple", "__version__": 1, "__data__": [1, "b"]}, "(1,b)"),
        ({"x": {"__classname__": "p.Name", "__version__": 2, "__data__": {"a": "t", "n": 3}}}, {"x": "p.Name@version=2(a='t', n=3)"}),
    ],
)
def test_objects_in_an_xcom_are_described_in_words_when_asked(run, stored, words):
    XCom.objects.create(run=run, dag_id="d", task_id="first", key="k", value=json.dumps(stored))
    assert Api("Viewer").get(f"{TIS}/first/xcomEntries/k", deserialize="true")[1]["value"] == words


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_envelopes_of_objects_are_refused_on_every_way_in(run, method):
    XCom.objects.create(run=run, dag_id="d", task_id="first", key="k", value="1")
    evil = {"deep": [{"__classname__": "os.system", "__version__": 1, "__data__": "x"}]}
    path = f"{TIS}/first/xcomEntries" + ("/k" if method == "PATCH" else "")
    body = {"value": evil} if method == "PATCH" else {"key": "new", "value": evil}
    status, answer = Api("User")(method, path, body)
    assert (status, answer["detail"][0]["loc"]) == (422, ["body", "value"])


def test_pools_count_their_slots_from_live_rows(run):
    api = Api("Op")
    assert api("POST", "/pools", {"name": "p", "slots": 5})[0] == 201
    taken = (("running", 2), ("queued", 1), ("scheduled", 4), ("deferred", 1), ("awaiting_input", 3), ("success", 9))
    for i, (state, slots) in enumerate(taken):
        make_ti(run, "x", map_index=i, state=state, pool="p", pool_slots=slots)
    _, pool = api.get("/pools/p")
    counted = {k.removesuffix("_slots"): v for k, v in pool.items() if k.endswith("_slots")}
    assert counted == {"occupied": 3, "running": 2, "queued": 1, "scheduled": 4, "open": 2, "deferred": 1}
    full = {"pool": "p2", "slots": -1, "include_deferred": True}
    _, pool = api("PATCH", "/pools/p", full)
    assert (pool["name"], pool["open_slots"]) == ("p2", -1)
    status, answer = api("PATCH", "/pools/p2", {"slots": 9})
    assert (status, sorted(e["loc"] for e in answer["detail"])) == (422, [["include_deferred"], ["pool"]])
    assert api("DELETE", "/pools/default_pool")[0] == 400
    assert api("DELETE", "/pools/p2") == (204, None)
    assert not Pool.objects.filter(name="p2").exists()


def test_health_tells_living_parts_from_dead_ones():
    for kind, seconds in (("scheduler", 30), ("dag_processor", -30)):
        Process.objects.create(kind=kind, lease_until=now() + timedelta(seconds=seconds))
    _, health = Api("Viewer").get("/monitor/health")
    assert {k: v["status"] for k, v in health.items()} == {
        "metadatabase": "healthy",
        "scheduler": "healthy",
        "dag_processor": "unhealthy",
        "triggerer": None,
    }
    _, jobs = Api("Viewer").get("/jobs", is_alive="true")
    assert [(j["job_type"], j["state"]) for j in jobs["jobs"]] == [("SchedulerJob", "running")]


def test_the_event_log_shows_the_request_that_made_the_change(run):
    api = Api("Op")
    api("POST", "/variables", {"key": "my_secret", "value": "hush"})
    _, answer = api.get("/eventLogs", event="post_variable", order_by="-when", limit=1)
    event = answer["event_logs"][0]
    assert event["owner"] == api.user.username
    assert event["extra"] == '{"key": "my_secret", "value": "***", "method": "POST"}'
    assert api.get(f"/eventLogs/{event['event_log_id']}")[1] == event
    assert api.get("/eventLogs/x")[0] == 400
    assert api.get("/eventLogs", before="2020-01-01T00:00:00Z")[1]["total_entries"] == 0
