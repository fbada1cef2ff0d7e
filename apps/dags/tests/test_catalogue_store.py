"""What storing a parse result does to DAGs, versions, problems and warnings."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from apps.dags import catalogue, hooks, versions
from apps.dags.models import Dag, DagFile, DagVersion, DagWarning, ImportProblem
from trackside.core.spec import DagSpec, TaskSpec
from trackside.core.timetables import DataInterval
from trackside.runner.parsing import ParseProblem, ParseResult

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAILY = {"kind": "cron_interval", "cron": "0 0 * * *", "timezone": "UTC"}


def spec(dag_id: str = "a", **fields: object) -> dict:
    tasks = [TaskSpec("t", owner="ann"), TaskSpec("u", owner="bob", max_active_tis_per_dag=1)]
    return DagSpec(dag_id, fileloc="/dags/x.py", **{"tasks": tasks, **fields}).to_dict()


@pytest.fixture
def file(tmp_path: Path) -> DagFile:
    return make_file(tmp_path, "x.py")


def make_file(folder: Path, name: str) -> DagFile:
    (folder / name).touch()
    return DagFile.objects.create(relative_path=name, path=str(folder / name))


def result(*dags: dict, errors: list[ParseProblem] | None = None, content: str = "1", **fields: object) -> ParseResult:
    return ParseResult(
        "/dags/x.py", list(dags), errors or [], content_hash=content, sources={"/dags/x.py": f"source {content}"}, **fields
    )


def store(file: DagFile, *dags: dict, now: datetime = NOW, grace=None, **fields):
    return catalogue.store_parse_result(file, result(*dags, **fields), grace=grace, now=now)


def test_every_flattened_column_comes_from_the_spec(file) -> None:
    store(
        file,
        spec(
            dag_display_name="A!", description="d", timetable=DAILY, timezone="Europe/Paris", catchup=True, tags=["x", "y"],
            start_date="2026-02-27T00:00:00+00:00", end_date="2026-12-01T00:00:00+00:00", max_active_runs=3,
            max_active_tasks=4, max_consecutive_failed_dag_runs=5, dagrun_timeout=60.0, fail_fast=True,
            relative_fileloc="x.py",
        ),
    )  # fmt: skip
    dag = Dag.objects.get()
    got = {name: getattr(dag, name) for name in (
        "dag_display_name", "description", "timetable", "timetable_summary", "timetable_type", "timezone", "catchup",
        "max_active_runs", "max_active_tasks", "max_consecutive_failed_dag_runs", "dagrun_timeout", "fail_fast", "owners",
        "has_task_concurrency_limits", "fileloc", "relative_fileloc", "is_paused", "is_stale", "has_import_errors",
        "bundle_name", "last_parsed_time",
    )}  # fmt: skip
    assert got == {
        "dag_display_name": "A!", "description": "d", "timetable": DAILY, "timetable_summary": "0 0 * * *",
        "timetable_type": "airflow.timetables.interval.CronDataIntervalTimetable", "timezone": "Europe/Paris",
        "catchup": True, "max_active_runs": 3, "max_active_tasks": 4, "max_consecutive_failed_dag_runs": 5,
        "dagrun_timeout": 60.0, "fail_fast": True, "owners": ["ann", "bob"], "has_task_concurrency_limits": True,
        "fileloc": "/dags/x.py", "relative_fileloc": "x.py", "is_paused": True, "is_stale": False,
        "has_import_errors": False, "bundle_name": "dags-folder", "last_parsed_time": NOW,
    }  # fmt: skip
    assert dag.timetable_description == "At 00:00"
    assert dag.start_date == datetime(2026, 2, 27, tzinfo=UTC)
    assert (dag.next_logical_date, dag.next_interval_end, dag.next_run_after) == (
        datetime(2026, 2, 27, tzinfo=UTC), datetime(2026, 2, 28, tzinfo=UTC), datetime(2026, 2, 28, tzinfo=UTC))  # fmt: skip
    assert sorted(t.name for t in dag.tags.all()) == ["x", "y"]
    version = dag.current_version
    assert (version.number, version.source, version.file_hash) == (1, "source 1", "1")
    assert version.spec_hash == DagSpec.from_dict(version.spec).structure_hash()
    file.refresh_from_db()
    assert (file.dag_count, file.content_hash, file.last_parsed_at) == (1, "1", NOW)


def test_continuous_dags_have_one_run_at_a_time(file) -> None:
    store(file, spec(timetable={"kind": "continuous"}, max_active_runs=16))
    assert Dag.objects.get().max_active_runs == 1


@pytest.mark.parametrize(
    ("wish", "default", "paused"),
    [(None, True, True), (None, False, False), (True, False, True), (False, True, False)],
)
def test_only_the_first_registration_decides_about_the_pause(file, settings, wish, default, paused) -> None:
    settings.DAGS_ARE_PAUSED_AT_CREATION = default
    store(file, spec(is_paused_upon_creation=wish))
    assert Dag.objects.get().is_paused is paused
    Dag.objects.update(is_paused=not paused)
    store(file, spec(is_paused_upon_creation=wish, description="new"))
    assert Dag.objects.get().is_paused is not paused


def test_a_new_structure_makes_a_version_when_runs_use_the_old_one(file) -> None:
    store(file, spec())
    first = DagVersion.objects.get()
    stored = store(file, spec(description="new"), content="2", now=NOW + timedelta(minutes=1))
    assert stored.updated == ["a"]
    assert list(DagVersion.objects.order_by("number").values_list("number", "file_hash")) == [(1, "1"), (2, "2")]
    assert Dag.objects.get().current_version.number == 2
    first.refresh_from_db()
    assert first.spec["description"] is None


def test_a_new_structure_rewrites_a_version_that_no_run_has_seen(file) -> None:
    hooks.register(versions_in_use=lambda ids: [])
    store(file, spec())
    store(file, spec(description="new"), content="2")
    version = DagVersion.objects.get()
    assert (version.number, version.spec["description"], version.source) == (1, "new", "source 2")
    assert version.spec_hash == DagSpec.from_dict(version.spec).structure_hash()


def test_a_changed_text_with_the_same_structure_only_replaces_the_source(file) -> None:
    store(file, spec())
    store(file, spec(), content="2")
    version = DagVersion.objects.get()
    assert (version.source, version.file_hash) == ("source 2", "2")


def test_a_file_that_moved_makes_no_version(file) -> None:
    store(file, spec())
    moved = {**spec(), "fileloc": "/other/x.py", "relative_fileloc": "sub/x.py"}
    store(file, moved)
    assert DagVersion.objects.count() == 1
    assert Dag.objects.get().fileloc == "/other/x.py"


def test_a_dag_that_differs_at_every_parse_does_not_fill_the_database(file) -> None:
    for n in range(versions.INFLATION_LIMIT + 5):
        store(file, spec(description=str(n)), now=NOW + timedelta(seconds=n))
    assert DagVersion.objects.count() == versions.INFLATION_LIMIT
    assert "came out differently" in DagWarning.objects.get(kind="runtime varying value").message
    store(file, spec(description="99"), now=NOW + timedelta(seconds=60), content="2")  # the file was edited: at once
    assert Dag.objects.get().current_version.spec["description"] == "99"
    assert not DagWarning.objects.exists()


def test_a_failing_parse_alters_no_dag_and_marks_it(file) -> None:
    store(file, spec())
    before = Dag.objects.values().get()
    stored = store(file, errors=[ParseProblem("SyntaxError: no", 3, "trace")], content="2")
    assert (stored.stale, stored.missing, stored.problems) == ([], [], 1)
    assert Dag.objects.values().get() == {**before, "has_import_errors": True}
    problem = ImportProblem.objects.get()
    assert (problem.message, problem.lineno, problem.stacktrace, problem.file) == ("SyntaxError: no", 3, "trace", file)
    store(file, spec())
    assert not Dag.objects.get().has_import_errors
    assert not ImportProblem.objects.exists()


def test_a_broken_dag_does_not_hold_back_its_neighbours(file) -> None:
    store(file, spec("a"), spec("b"))
    stored = store(file, spec("a", description="new"), errors=[ParseProblem("bad", dag_id="b")])
    assert stored.updated == ["a"]
    assert dict(Dag.objects.values_list("dag_id", "has_import_errors")) == {"a": False, "b": True}
    assert not Dag.objects.filter(is_stale=True).exists()


def test_a_problem_that_persists_keeps_its_row_and_time(file) -> None:
    first = [ParseProblem("bad <object at 0x7f01>", 3, "t1"), ParseProblem("gone soon")]
    store(file, errors=first)
    before = ImportProblem.objects.get(lineno=3)
    store(file, errors=[ParseProblem("bad <object at 0x7fff>", 3, "t2")], now=NOW + timedelta(hours=1))
    after = ImportProblem.objects.get()
    assert (after.pk, after.at, after.stacktrace) == (before.pk, NOW, "t2")


def test_a_dag_becomes_stale_by_a_successful_parse_that_lacks_it_and_comes_back(file) -> None:
    store(file, spec("a", timetable=DAILY), spec("b"))
    assert store(file, spec("b")).stale == ["a"]
    dag = Dag.objects.get(pk="a")
    assert dag.is_stale and dag.file == file
    store(file, spec("a", timetable=DAILY), spec("b"), now=NOW + timedelta(days=10))
    dag.refresh_from_db()
    assert not dag.is_stale
    assert dag.next_run_after == datetime(2026, 3, 11, tzinfo=UTC)  # planned anew: without catchup only the latest interval


def test_with_grace_only_a_second_parse_makes_stale(file) -> None:
    store(file, spec("a"), spec("b"))
    first = store(file, spec("b"), grace=())
    assert (first.stale, first.missing) == ([], ["a"])
    assert not Dag.objects.get(pk="a").is_stale
    assert store(file, spec("b"), grace=first.missing).stale == ["a"]


def test_the_first_file_keeps_a_dag_id_and_the_second_is_told_who_has_it(tmp_path) -> None:
    one, two = make_file(tmp_path, "one.py"), make_file(tmp_path, "two.py")
    store(one, spec(description="one"))
    for _ in range(2):
        stored = store(two, spec(description="two"), spec("b"))
        store(one, spec(description="one"))
    assert stored.delivered == ["b"]
    dag = Dag.objects.get(pk="a")
    assert (dag.file, dag.description, dag.has_import_errors) == (one, "one", False)
    problem = ImportProblem.objects.get()
    assert (problem.file, problem.dag_id) == (two, "a")
    assert "already defined in one.py" in problem.message


def test_another_file_takes_over_when_the_first_is_gone_or_gave_the_dag_up(tmp_path) -> None:
    one, two, three = (make_file(tmp_path, f"{n}.py") for n in ("one", "two", "three"))
    store(one, spec())
    Path(one.path).unlink()  # renamed: no need to wait for the scan that misses it
    store(two, spec())
    assert Dag.objects.get().file == two
    store(two)
    store(three, spec())
    dag = Dag.objects.get()
    assert (dag.file, dag.is_stale) == (three, False)


def test_files_that_are_gone_leave_stale_dags(file) -> None:
    store(file, spec(), errors=[ParseProblem("also bad", dag_id="c")])
    assert catalogue.files_gone([file.pk]) == ["a"]
    dag = Dag.objects.get()
    assert dag.is_stale and dag.file is None and dag.current_version is not None
    assert not ImportProblem.objects.exists()
    assert catalogue.store_parse_result(file, result(spec())) is None


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"timetable": {"kind": "cron_trigger", "cron": "61 * * * *"}}, "DAG a: "),
        ({"timetable": {"kind": "nope"}}, "not a known kind"),
        ({"start_date": "10000-01-01T00:00:00"}, "start_date"),
        ({"start_date": "0001-01-01T00:00:00+14:00"}, "start_date"),
    ],
)
def test_a_dag_with_an_impossible_schedule_is_a_problem_and_keeps_its_last_version(file, fields, says) -> None:
    store(file, spec("a"), spec("b"))
    stored = store(file, spec("a", **fields), spec("b"))
    assert says in ImportProblem.objects.get().message
    assert (stored.stale, stored.missing) == ([], [])
    assert dict(Dag.objects.values_list("dag_id", "has_import_errors")) == {"a": True, "b": False}


def test_warnings_follow_the_file_but_those_of_others_stay(file) -> None:
    warning = {"message": "varies", "kind": "runtime varying value", "dag_id": "a", "lineno": 4}
    store(file, spec(), warnings=[warning])
    DagWarning.objects.create(dag_id="a", kind="non-existent pool", message="no pool")
    assert DagWarning.objects.get(kind="runtime varying value").message == "varies (line 4)"
    store(file, spec())
    assert [w.kind for w in DagWarning.objects.all()] == ["non-existent pool"]


def test_listeners_hear_of_changes_and_of_nothing_else(file) -> None:
    heard: list[tuple[list[str], str]] = []
    hooks.register(dag_changed=lambda ids, verb: heard.append((list(ids), verb)))
    store(file, spec("a"), spec("b"))
    store(file, spec("a"), spec("b"))
    store(file, spec("a", description="x"), spec("b"))
    store(file, errors=[ParseProblem("bad")])
    store(file, errors=[ParseProblem("bad")])
    store(file, spec("a", description="x"))
    store(file, spec("a", description="x"), spec("b"))
    assert heard == [
        (["a", "b"], "created"), (["a"], "updated"), (["a", "b"], "broken"), (["b"], "stale"), (["a"], "updated"),
        (["b"], "back"),
    ]  # fmt: skip


def test_a_request_that_comes_while_a_file_is_parsed_survives(file) -> None:
    request_at = NOW + timedelta(seconds=1)
    DagFile.objects.update(reparse_requested_at=request_at)
    catalogue.store_parse_result(file, result(), facts=catalogue.FileFacts(NOW), now=NOW + timedelta(seconds=2))
    assert DagFile.objects.get().reparse_requested_at == request_at
    catalogue.store_parse_result(file, result(), facts=catalogue.FileFacts(NOW + timedelta(seconds=3)))
    assert DagFile.objects.get().reparse_requested_at is None


def test_custom_timetables_take_the_answer_of_the_parse(file) -> None:
    custom = {"kind": "custom", "classpath": "x.Mine", "data": None}
    planned = {"a": {"logical_date": "2026-03-05T00:00:00+00:00", "start": None, "end": None, "run_after": "2026-03-06T00:00:00+00:00"}}
    store(file, spec(timetable=custom), planned=planned)
    dag = Dag.objects.get()
    assert (dag.timetable_type, dag.next_run_after) == ("x.Mine", datetime(2026, 3, 6, tzinfo=UTC))
    catalogue.schedule_next(dag, None, NOW)  # nobody here can ask the class: the next parse does
    assert dag.next_run_after is None
    assert DagFile.objects.get().reparse_requested_at == NOW


def test_a_thousand_dags_of_one_file_cost_a_bounded_number_of_queries(file) -> None:
    dags = [spec(f"d{n:04}") for n in range(1000)]
    with CaptureQueriesContext(connection, ) as first:
        store(file, *dags)
    assert Dag.objects.filter(current_version__isnull=False).count() == 1000
    with CaptureQueriesContext(connection) as again:
        store(file, *dags)
    assert len(first) < 50
    assert len(again) <= 12


def test_the_last_interval_decides_about_the_next_run_of_a_changed_schedule(file) -> None:
    store(file, spec())
    hooks.register(last_automated_interval=lambda dag_id: DataInterval(NOW - timedelta(days=3), NOW - timedelta(days=2)))
    store(file, spec(timetable={"kind": "delta_interval", "delta_s": 86400.0}, catchup=True, start_date="2026-01-01T00:00:00+00:00"))
    assert Dag.objects.get().next_interval_start == NOW - timedelta(days=2)


@pytest.mark.django_db(transaction=True)
def test_two_processors_that_find_a_dag_id_in_two_files_at_once_agree_on_one(tmp_path) -> None:
    files = [make_file(tmp_path, f"{n}.py") for n in range(2)]
    gate = threading.Barrier(2)
    failures: list[BaseException] = []

    def work(file: DagFile) -> None:
        try:
            gate.wait(10)
            for _ in range(10):
                store(file, spec("a"), spec("b"), spec(f"own{file.pk}"))
        except BaseException as e:
            failures.append(e)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(f,)) for f in files]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert not failures
    owners = set(Dag.objects.filter(pk__in=["a", "b"]).values_list("file", flat=True))
    assert len(owners) == 1
    assert ImportProblem.objects.exclude(file__in=owners).count() == 2
