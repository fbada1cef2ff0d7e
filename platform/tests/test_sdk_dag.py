"""Every argument of DAG: what it keeps, what it refuses, and the words it refuses with."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from zoneinfo import ZoneInfo

import pytest
from dateutil.relativedelta import relativedelta

from trackside.core.timetables import Restriction, from_dict
from trackside.sdk import DAG, Asset, AssetAlias, BaseOperator, CronDataIntervalTimetable, CronTriggerTimetable, Param, dag, result, task
from trackside.sdk.deadline import AsyncCallback, DeadlineAlert, DeadlineReference
from trackside.sdk.exceptions import DuplicateTaskIdFound, FailFastDagInvalidTriggerRule, TaskNotFound
from trackside.sdk.operators.empty import EmptyOperator
from trackside.sdk.serialization import to_spec

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
NOW = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)


def spec(**kwargs):
    return to_spec(DAG("d", **kwargs))


def test_a_bare_dag_has_the_documented_defaults():
    s = spec()
    assert (s.catchup, s.max_active_runs, s.max_active_tasks, s.max_consecutive_failed_dag_runs) == (False, 16, 16, 0)
    assert s.timetable == {"kind": "null"}
    assert (s.timezone, s.start_date, s.end_date, s.dagrun_timeout) == ("UTC", None, None, None)
    assert (s.is_paused_upon_creation, s.fail_fast, s.tags, s.callbacks, s.params) == (None, False, [], [], {})


@pytest.mark.parametrize("bad", ["a b", "", "a/b", "ä b", "a..b", "x" * 251])
def test_an_id_that_cannot_be_linked_to_is_refused(bad):
    with pytest.raises(ValueError, match="dag_id"):
        DAG(bad)


def test_an_id_of_another_type_is_refused():
    with pytest.raises(TypeError, match="dag_id"):
        DAG(3)


@pytest.mark.parametrize(
    ("schedule", "stored"),
    [
        (None, {"kind": "null"}),
        ("@once", {"kind": "once"}),
        ("@continuous", {"kind": "continuous"}),
        (dt.timedelta(hours=8), {"kind": "delta_trigger", "delta_s": 28800}),
        (relativedelta(months=1), {"kind": "delta_trigger", "delta_rel": {"months": 1}}),
        ("30 2 * * *", {"kind": "cron_trigger", "cron": "30 2 * * *", "timezone": "UTC"}),
        (
            CronTriggerTimetable("0 6 * * *", timezone="Europe/Paris"),
            {"kind": "cron_trigger", "cron": "0 6 * * *", "timezone": "Europe/Paris"},
        ),
    ],
)
def test_every_form_of_schedule_is_stored(schedule, stored):
    assert spec(schedule=schedule).timetable == stored


def test_assets_as_schedule_mean_all_of_them_unless_an_expression_says_otherwise():
    a, b, alias = Asset("a"), Asset("b", uri="s3://x/b"), AssetAlias("al")
    one = {"asset": {"uri": "a", "name": "a", "group": "asset"}}
    two = {"asset": {"uri": "s3://x/b", "name": "b", "group": "asset"}}
    assert spec(schedule=[a, b]).timetable == {"kind": "asset", "condition": {"all": [one, two]}}
    assert spec(schedule=a | (b & alias)).timetable["condition"] == {
        "any": [one, {"all": [two, {"alias": {"name": "al", "group": "asset"}}]}]
    }


@pytest.mark.parametrize("bad", ["every day", "61 * * * *", 5, ["x"], [], object()])
def test_a_schedule_that_is_none_is_refused(bad):
    with pytest.raises((ValueError, TypeError)):
        DAG("d", schedule=bad)


def test_the_time_zone_comes_from_the_start_date_and_the_moment_is_stored_in_utc():
    s = spec(schedule="@daily", start_date=dt.datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")))
    assert (s.timezone, s.start_date) == ("Europe/Berlin", "2023-12-31T23:00:00.000000Z")
    assert s.timetable["timezone"] == "Europe/Berlin"


@pytest.mark.parametrize(("year", "schedule", "error"), [
    (1, "@daily", None), (1, dt.timedelta(days=1), None), (1, None, None), (1, "@once", None), (9999, "@daily", None), (9999, None, None),
    (1, CronTriggerTimetable("@daily", timezone="UTC", interval=dt.timedelta(days=1)), "start_date 0001-01-01T00:00:00"),
    (1, CronDataIntervalTimetable("@daily", timezone="Asia/Tokyo"), "start_date 0001-01-01T00:00:00"),
    (9999, CronTriggerTimetable("@daily", timezone="Asia/Tokyo"), "start_date 9999-12-31T23:00:00"),
])  # fmt: skip
def test_a_start_date_at_the_ends_of_time_works_or_is_refused_by_name(year, schedule, error):
    start = dt.datetime(1, 1, 1) if year == 1 else dt.datetime(9999, 12, 31, 23)
    with pytest.raises(ValueError, match=error) if error else contextlib.nullcontext():
        found = DAG("d", schedule=schedule, start_date=start, catchup=True)
    if not error:
        planned = from_dict(found.timetable.to_spec()).next_run(last=None, restriction=Restriction(found.start_date, None, True), now=NOW)
        assert (planned and planned.run_after) == (found.start_date if schedule and year == 1 else None)


@pytest.mark.parametrize(("name", "moment"), [
    ("start_date", dt.datetime(1, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo"))),
    ("end_date", dt.datetime(9999, 12, 31, 23, tzinfo=ZoneInfo("America/Lima"))),
])  # fmt: skip
def test_a_moment_that_utc_has_no_date_for_is_refused_by_name(name, moment):
    with pytest.raises(ValueError, match=f"{name} {re.escape(moment.isoformat())} lies outside the years 1 to 9999"):
        DAG("d", **{name: moment})
    with DAG("e"), pytest.raises(ValueError, match=name):
        BaseOperator(task_id="t", **{name: moment})


def test_tasks_may_be_made_and_joined_through_their_dag():
    flow = DAG("d")

    @flow.task
    def first(): ...

    @flow.task(task_id="second", trigger_rule="all_done")
    def other(): ...

    first()
    other()
    flow.set_dependency("first", "second")
    assert flow.get_task("second").upstream_task_ids == {"first"}
    flow.validate_setup_teardown()
    flow.get_task("first").as_setup()
    with pytest.raises(ValueError, match="trigger rule ALL_SUCCESS: task 'second'"):
        flow.validate_setup_teardown()
    flow.get_task("second").as_teardown()
    assert [task.task_id for task in flow.tasks_upstream_of_teardowns] == ["first"]
    with pytest.raises(TaskNotFound):
        flow.set_dependency("first", "third")


def test_a_naive_start_date_is_utc():
    assert spec(start_date=dt.datetime(2024, 1, 1)).start_date == "2024-01-01T00:00:00.000000Z"


def test_dates_may_come_from_default_args():
    with DAG("d", default_args={"start_date": dt.datetime(2024, 1, 1), "end_date": "2024-02-01"}) as d:
        EmptyOperator(task_id="t")
    s = to_spec(d)
    assert (s.start_date, s.end_date) == ("2024-01-01T00:00:00.000000Z", "2024-02-01T00:00:00.000000Z")
    assert s.tasks[0].start_date == s.start_date


def test_a_task_starts_no_earlier_and_ends_no_later_than_its_dag():
    with DAG("d", start_date=START, end_date=START + dt.timedelta(days=9)) as d:
        EmptyOperator(task_id="in", start_date=START + dt.timedelta(days=1), end_date=START + dt.timedelta(days=2))
        EmptyOperator(task_id="out", start_date=START - dt.timedelta(days=1), end_date=START + dt.timedelta(days=20))
    tasks = {t.task_id: t for t in to_spec(d).tasks}
    assert (tasks["in"].start_date, tasks["in"].end_date) == ("2024-01-02T00:00:00.000000Z", "2024-01-03T00:00:00.000000Z")
    assert (tasks["out"].start_date, tasks["out"].end_date) == ("2024-01-01T00:00:00.000000Z", "2024-01-10T00:00:00.000000Z")


def test_catching_up_needs_a_start():
    with pytest.raises(ValueError, match="start_date"):
        DAG("d", schedule="@daily", catchup=True)
    assert spec(schedule="@daily", catchup=True, start_date=START).catchup


def test_a_continuous_dag_allows_one_active_run_only():
    assert spec(schedule="@continuous", start_date=START).max_active_runs == 1
    with pytest.raises(ValueError, match="max_active_runs"):
        DAG("d", schedule="@continuous", start_date=START, max_active_runs=2)


@pytest.mark.parametrize("name", ["max_active_runs", "max_active_tasks", "max_consecutive_failed_dag_runs"])
def test_limits_are_whole_numbers(name):
    assert getattr(spec(**{name: 3}), name) == 3
    for bad in (-1, "3", 1.5, True):
        with pytest.raises(ValueError, match=name):
            DAG("d", **{name: bad})


def test_a_run_timeout_is_stored_in_seconds():
    assert spec(dagrun_timeout=dt.timedelta(minutes=2)).dagrun_timeout == 120.0


def test_unknown_arguments_are_refused_with_the_name_of_today():
    with pytest.raises(TypeError, match=r"schedule_interval.*write schedule="):
        DAG("d", schedule_interval="@daily")
    with pytest.raises(TypeError, match="nonsense"):
        DAG("d", nonsense=1)


def test_an_sla_callback_is_taken_with_a_warning():
    with pytest.warns(UserWarning, match="no effect"):
        DAG("d", sla_miss_callback=print)


def test_tags_are_a_set_of_short_texts():
    assert spec(tags=["b", "a", "b"]).tags == ["a", "b"]
    with pytest.raises(ValueError, match="100"):
        DAG("d", tags=["x" * 101])
    with pytest.raises(TypeError, match=r"write tags=\['one'\]"):
        DAG("d", tags="one")


def test_owner_links_are_web_or_mail_addresses():
    links = {"ann": "https://example.com/ann", "bob": "mailto:bob@example.com"}
    assert spec(owner_links=links).owner_links == links
    with pytest.raises(ValueError, match="Bad formatted link"):
        DAG("d", owner_links={"ann": "ann"})


def test_access_control_without_a_resource_is_about_dags():
    assert spec(access_control={"r": {"can_read"}, "s": {"DAG Runs": ["can_create"]}}).access_control == {
        "r": {"DAGs": ["can_read"]},
        "s": {"DAG Runs": ["can_create"]},
    }


def test_allowed_run_types_must_contain_the_type_the_schedule_makes():
    assert spec(schedule="@daily", allowed_run_types=["scheduled", "manual"]).allowed_run_types == ["manual", "scheduled"]
    with pytest.raises(ValueError, match="scheduled"):
        DAG("d", schedule="@daily", allowed_run_types="manual")
    with pytest.raises(ValueError, match="asset_triggered"):
        DAG("d", schedule=Asset("a"), allowed_run_types=["scheduled"])
    with pytest.raises(ValueError, match="does not exist"):
        DAG("d", allowed_run_types=["sometimes"])


def test_texts_flags_and_callbacks_reach_the_stored_form():
    s = spec(
        description="words",
        dag_display_name="Shown",
        doc_md="# Title\nbody",
        is_paused_upon_creation=False,
        rerun_with_latest_version=True,
        disable_bundle_versioning=True,
        render_template_as_native_obj=True,
        template_searchpath="/templates",
        on_failure_callback=print,
        on_success_callback=[print],
    )
    assert (s.description, s.dag_display_name, s.doc_md) == ("words", "Shown", "# Title\nbody")
    assert (s.is_paused_upon_creation, s.rerun_with_latest_version, s.disable_bundle_versioning) == (False, True, True)
    assert (s.render_template_as_native_obj, s.template_searchpath) == (True, ["/templates"])
    assert s.callbacks == ["on_success_callback", "on_failure_callback"]


def test_doc_md_naming_a_file_is_its_content(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "about.md").write_text("from the file")
    assert spec(doc_md="about.md").doc_md == "from the file"
    assert spec(doc_md="missing.md").doc_md == "missing.md"


def test_a_deadline_is_stored():
    alert = DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, dt.timedelta(minutes=5), AsyncCallback("mod.func", {"a": 1}), name="late")
    assert spec(deadline=alert).deadlines == [
        {
            "name": "late",
            "reference": {"reference_type": "DagRunQueuedAtDeadline"},
            "interval": 300.0,
            "callback": {"kind": "async", "path": "mod.func", "kwargs": {"a": 1}},
        }
    ]


def test_params_know_that_the_dag_wrote_them_and_default_args_may_bring_more():
    s = spec(params={"n": Param(5, type="integer"), "plain": "x", "must": Param(type="string")}, default_args={"params": {"more": 1}})
    assert s.params == {
        "n": {"value": 5, "schema": {"type": "integer"}, "description": None, "source": "dag"},
        "plain": {"value": "x", "schema": {}, "description": None, "source": "dag"},
        "must": {"schema": {"type": "string"}, "description": None, "source": "dag"},
        "more": {"value": 1, "schema": {}, "description": None, "source": "dag"},
    }
    assert "params" not in s.default_args


def test_default_args_are_copied_and_stored_as_json():
    args = {"owner": "ann", "retry_delay": dt.timedelta(seconds=9)}
    d = DAG("d", default_args=args)
    args["owner"] = "bob"
    assert to_spec(d).default_args == {"owner": "ann", "retry_delay": 9.0}
    with pytest.raises(TypeError, match="default_args"):
        DAG("d", default_args=[("owner", "ann")])


def test_fail_fast_refuses_other_trigger_rules():
    with DAG("d", fail_fast=True), pytest.raises(FailFastDagInvalidTriggerRule):
        EmptyOperator(task_id="t", trigger_rule="all_done")


def test_tasks_and_groups_are_found_by_their_full_id():
    with DAG("d") as d:
        t = EmptyOperator(task_id="t")
    assert d["t"] is t
    assert "t" in d
    with pytest.raises(TaskNotFound):
        d["nothing"]


def test_the_same_task_id_twice_is_refused_naming_the_first_line():
    with DAG("d"):
        EmptyOperator(task_id="t")
        with pytest.raises(DuplicateTaskIdFound, match=r"Task id 't' has already been added.* \(line \d+ of test_sdk_dag.py\)"):
            EmptyOperator(task_id="t")


def test_the_decorator_makes_params_of_arguments_docs_of_the_docstring_and_a_result_of_the_return_value():
    @dag(schedule=None, tags=["x"])
    def made(n: int = 3):
        """What it is for."""

        @task
        def one(k):
            return k

        return one(n)

    s = to_spec(made())
    assert (s.dag_id, s.doc_md, s.result_task_id, s.tags) == ("made", "What it is for.", "one", ["x"])
    assert s.params["n"]["value"] == 3
    assert to_spec(made(n=7)).params["n"]["value"] == 7


def test_the_decorator_without_parentheses_works_too():
    @dag
    def plain():
        EmptyOperator(task_id="t")

    assert plain().task_ids == ["t"]


def test_a_dag_has_one_result():
    with DAG("d") as d:

        @task
        def one():
            return 1

        @task
        def two():
            return 2

        result(one())
        with pytest.raises(ValueError, match="has a result already"):
            result(two())
    assert to_spec(d).result_task_id == "one"


def test_a_subset_keeps_upstream_and_leaves_the_dag_alone():
    with DAG("d") as d:
        a, b, c, e = (EmptyOperator(task_id=i) for i in "abce")
        a >> b >> c
        a >> e
    part = d.partial_subset(["b"])
    assert sorted(part.task_ids) == ["a", "b"]
    assert part.get_task("a").downstream_task_ids == {"b"}
    assert d.get_task("a").downstream_task_ids == {"b", "e"}
    assert sorted(d.partial_subset(["b"], include_upstream=False, include_downstream=True).task_ids) == ["b", "c"]


def test_a_usual_length_needs_at_least_one_run():
    from trackside.sdk.deadline import DeadlineReference

    spec = DeadlineReference.AVERAGE_RUNTIME(max_runs=5).to_spec()
    assert (spec["max_runs"], spec["min_runs"]) == (5, 5)
    assert DeadlineReference.AVERAGE_RUNTIME(max_runs=5, min_runs=9).to_spec()["min_runs"] == 9  # never, as on Airflow, but it loads
    with pytest.raises(ValueError, match="min_runs must be at least 1"):
        DeadlineReference.AVERAGE_RUNTIME(min_runs=0)
