"""DAGs by REST: what a DAG looks like, how lists are filtered, pausing, favourites, tasks, sources, import errors."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.access.tests.resthelp import Api
from apps.dags.models import DagFile, DagVersion, DagWarning, ImportProblem
from apps.runs.tests.restworld import make_dag, make_run, task

pytestmark = pytest.mark.django_db
DAG_FIELDS = (
    "dag_id dag_display_name is_paused is_stale last_parsed_time last_parse_duration last_expired bundle_name bundle_version "
    "relative_fileloc fileloc description timetable_summary timetable_description timetable_partitioned timetable_periodic tags "
    "max_active_tasks max_active_runs max_consecutive_failed_dag_runs has_task_concurrency_limits has_import_errors "
    "next_dagrun_logical_date next_dagrun_data_interval_start next_dagrun_data_interval_end next_dagrun_run_after "
    "allowed_run_types owners is_backfillable file_token"
)


def ids(answer):
    return [d["dag_id"] for d in answer[1]["dags"]]


def test_a_dag_has_exactly_the_fields_of_airflow():
    make_dag("d", tags=("x",), dag_display_name="D!")
    status, dag = Api("Viewer").get("/dags/d")
    assert status == 200
    assert set(dag) == set(DAG_FIELDS.split())
    assert dag["tags"] == [{"name": "x", "dag_id": "d", "dag_display_name": "D!"}]
    assert (dag["timetable_periodic"], dag["is_backfillable"], dag["owners"]) == (False, False, ["ann", "bob"])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["a_one", "a_two", "b_one"]),
        ({"tags": ["t1", "t2"]}, ["a_one", "a_two"]),
        ({"tags": ["t1", "t2"], "tags_match_mode": "all"}, ["a_one"]),
        ({"owners": "carol"}, ["b_one"]),
        ({"dag_id_pattern": "ONE"}, ["a_one", "b_one"]),
        ({"dag_id_pattern": "a%two"}, ["a_two"]),
        ({"dag_id_pattern": "a_one|b_one"}, ["a_one", "b_one"]),
        ({"dag_id_pattern": "~"}, ["a_one", "a_two", "b_one"]),
        ({"dag_id_prefix_pattern": "a_"}, ["a_one", "a_two"]),
        ({"dag_id_prefix_pattern": "A_"}, []),
        ({"dag_id_prefix_pattern": "a%"}, ["a_one", "a_two"]),  # what follows the last letter or digit does not count
        ({"paused": "true"}, ["b_one"]),
        ({"exclude_stale": "false", "dag_id_pattern": "gone"}, ["gone"]),
        ({"last_dag_run_state": "failed"}, ["a_two"]),
        ({"has_asset_schedule": "true"}, ["a_two"]),
        ({"timetable_type": "NullTimetable", "tags": "t2"}, ["a_one"]),
        ({"timetable_type": "airflow.timetables.simple.NullTimetable"}, []),
        ({"dag_run_start_date_gte": "2024-01-02T00:00:00Z"}, ["a_two"]),
    ],
)
def test_the_list_is_filtered(query, found):
    make_run(make_dag("a_one", tags=("t1", "t2")), "r")
    two = make_dag("a_two", tags=("t1",), timetable={"kind": "asset"})
    make_run(two, "ok")
    make_run(two, "bad", day=1, state="failed")
    make_dag("b_one", is_paused=True, tasks=(task("x", owner="carol"),))
    make_dag("gone", is_stale=True)
    assert ids(Api("Viewer").get("/dags", order_by="dag_id", **query)) == found


def test_pages_count_everything_and_limits_are_cut():
    for i in range(5):
        make_dag(f"d{i}")
    api = Api("Viewer")
    assert ids(api.get("/dags", limit=2, offset=3)) == ["d3", "d4"]
    assert api.get("/dags", limit=0) == (200, {"dags": [], "total_entries": 5})
    assert api.get("/dags", limit=99999999999999999999, offset=0)[1]["total_entries"] == 5
    assert ids(api.get("/dags", order_by=["-dag_display_name"], limit=1)) == ["d4"]


def test_a_page_costs_the_same_number_of_queries_however_many_dags_it_shows():
    api = Api("Viewer")
    counts = []
    for batch in range(2):
        for i in range(3 + 9 * batch):
            make_dag(f"d{batch}{i}", tags=("x", "y"))
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert api.get("/dags")[0] == 200
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 7


@pytest.mark.parametrize(
    ("query", "status", "loc"),
    [
        ({"limit": "x"}, 422, ["query", "limit"]),
        ({"limit": "-1"}, 422, ["query", "limit"]),
        ({"offset": "1.5"}, 422, ["query", "offset"]),
        ({"last_dag_run_state": "nonsense"}, 422, ["query", "last_dag_run_state"]),
        ({"dag_run_start_date_gte": "2024-01-01"}, 422, ["query", "dag_run_start_date_gte"]),
        ({"dag_id_pattern": "a\x00b"}, 422, ["query", "dag_id_pattern"]),
        ({"order_by": "-nope"}, 400, None),
        ({"order_by": ""}, 400, None),
    ],
)
def test_wrong_parameters_are_named(query, status, loc):
    got, answer = Api("Viewer").get("/dags", **query)
    assert got == status
    assert (answer["detail"][0]["loc"] == loc) if loc else isinstance(answer["detail"], str)


def test_pausing_one_and_many():
    for name in ("p1", "p2", "q"):
        make_dag(name)
    api = Api("User")
    assert api("PATCH", "/dags/p1", {"is_paused": True})[1]["is_paused"] is True
    assert api("PATCH", "/dags/p1", {"is_paused": True}, {"update_mask": "nope"})[0] == 400
    assert api("PATCH", "/dags", {"is_paused": True}, {"tags": "none"})[1] == {"dags": [], "total_entries": 0}
    _, answer = api("PATCH", "/dags", {"is_paused": True}, {"dag_id_prefix_pattern": "p"})
    assert [(d["dag_id"], d["is_paused"]) for d in answer["dags"]] == [("p1", True), ("p2", True)]
    assert Api("Viewer")("PATCH", "/dags/p1", {"is_paused": False})[0] == 403


def test_a_favourite_belongs_to_one_person():
    make_dag("f")
    api = Api("Viewer")
    assert api("POST", "/dags/f/favorite") == (204, None)
    status, answer = api("POST", "/dags/f/favorite")
    assert (status, set(answer["detail"])) == (409, {"reason", "statement", "orig_error", "message"})
    assert ids(api.get("/dags", is_favorite="true")) == ["f"]
    assert api.get("/dags/f/details")[1]["is_favorite"] is True
    assert ids(Api("Viewer").get("/dags", is_favorite="true")) == []
    assert api("POST", "/dags/f/unfavorite") == (204, None)
    assert api("POST", "/dags/f/unfavorite")[0] == 409
    assert api("POST", "/dags/nope/favorite")[0] == 404


def test_details_carry_what_the_file_said():
    make_dag(
        "d",
        dagrun_timeout=7200.0,
        spec={"doc_md": "# doc", "params": {"p": {"schema": {"type": "string"}, "description": None, "source": "dag"}}},
    )
    _, dag = Api("Viewer").get("/dags/d/details")
    assert (dag["dag_run_timeout"], dag["doc_md"], dag["concurrency"], dag["active_runs_count"]) == ("PT2H", "# doc", 16, 0)
    assert dag["params"] == {"p": {"value": None, "schema": {"type": "string"}, "description": None, "source": "dag"}}
    assert dag["latest_dag_version"]["version_number"] == 1


def test_tasks_have_floats_and_time_spans_as_objects():
    make_dag("d", tasks=(task("b", retries=2, execution_timeout=90.5), task("a", owner="z")))
    _, answer = Api("Viewer").get("/dags/d/tasks")
    assert [t["task_id"] for t in answer["tasks"]] == ["a", "b"]
    one = answer["tasks"][1]
    assert (one["retries"], type(one["retries"])) == (2.0, float)
    assert one["execution_timeout"] == {"__type": "TimeDelta", "days": 0, "seconds": 90, "microseconds": 500000}
    assert one["class_ref"] == {"module_path": "airflow.providers.x", "class_name": "_PythonDecoratedOperator"}
    assert one["start_date"] == "2024-01-01T00:00:00Z"
    assert [t["task_id"] for t in Api("Viewer").get("/dags/d/tasks", order_by="-owner")[1]["tasks"]] == ["a", "b"]
    assert Api("Viewer").get("/dags/d/tasks", order_by="__class__")[0] == 400
    assert Api("Viewer").get("/dags/d/tasks/nope")[0] == 404


def test_the_source_comes_as_json_or_text():
    dag = make_dag("d")
    DagVersion.objects.create(dag=dag, number=2, spec=dag.current_version.spec, spec_hash="x", source="two")
    api = Api("Viewer")
    assert api.get("/dagSources/d")[1] == {"content": "two", "dag_id": "d", "version_number": 2, "dag_display_name": "d"}
    text = api.call("GET", "/dagSources/d", query={"version_number": 1}, headers={"Accept": "text/plain"})
    assert (text.content, text.headers["Content-Type"]) == (b"# d\n", "text/plain; charset=utf-8")
    assert api.call("GET", "/dagSources/d", headers={"Accept": "text/html"}).status_code == 406
    assert api.get("/dagSources/d", version_number=9)[0] == 404


def test_import_errors_warnings_and_tags_are_listed():
    file = DagFile.objects.create(relative_path="sub/bad.py")
    problem = ImportProblem.objects.create(file=file, message="short", stacktrace="long")
    warned = make_dag("w", tags=("t2", "t1"))
    make_dag("v", tags=("t1",))
    DagWarning.objects.create(dag=warned, kind="runtime varying value", message="m")
    api = Api("Viewer")
    _, errors = api.get("/importErrors", filename_pattern="BAD")
    assert [(e["import_error_id"], e["filename"], e["stack_trace"]) for e in errors["import_errors"]] == [
        (problem.pk, "sub/bad.py", "long")
    ]
    assert api.get("/importErrors/x")[0] == 422
    assert api.get("/importErrors/999999")[0] == 404
    assert api.get("/dagWarnings", dag_id="w")[1]["total_entries"] == 1
    assert api.get("/dagWarnings", warning_type="nope")[0] == 422
    assert api.get("/dagTags", order_by="-name")[1] == {"tags": ["t2", "t1"], "total_entries": 2}


def test_a_file_is_asked_for_by_its_signed_token_only():
    make_dag("d")
    api = Api("User")
    token = api.get("/dags/d")[1]["file_token"]
    assert api("PUT", f"/parseDagFile/{token}") == (201, None)
    assert api("PUT", f"/parseDagFile/{token}")[0] == 409
    assert api("PUT", "/parseDagFile/forged")[0] == 404
