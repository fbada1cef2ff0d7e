"""Airflow's own example files, taken from its published packages when the test runs, unmodified, end as Airflow ended them.

`airflow_examples.txt` is the table: one line per DAG. All files are put into one server's DAG folder; every DAG gets a run,
all at once; each test then waits for its own. The files that cannot end as they do in Airflow are in
`docs/airflow-examples.md`, which is checked here. `TRACKSIDE_SLOW_EXAMPLES=1` adds those that wait for minutes by themselves.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import subprocess
import sys
import venv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import server

PACKAGES = ("apache-airflow-core==3.3.2", "apache-airflow-providers-standard==1.21.0")
FOLDERS = {"core": "airflow/example_dags", "standard": "airflow/providers/standard/example_dags"}
DOCS = server.ROOT / "docs" / "airflow-examples.md"
SLOW = bool(os.environ.get("TRACKSIDE_SLOW_EXAMPLES"))
FIRST = "example_outlet_event_extra.py"
"""Names the asset s3://output/1.txt otherwise than example_inlet_event_extra.py does: whoever is read first keeps it."""
CONF = {"example_params_ui_tutorial": {"required_field": "ten letters and more"}}
PLUGINS = "".join(f"from airflow.example_dags.plugins.{name} import *\n" for name in ("workday", "decreasing_priority_weight_strategy"))
pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("conformance"), pytest.mark.timeout(420)]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    package: str
    file: str
    dag_id: str
    run: str
    count: int
    others: dict[str, str] = field(hash=False)
    checked_by_itself: bool = False


def _row(line: str) -> Row:
    package, file, dag_id, run, count, *rest = line.split()
    others = dict(item.split("=") for item in rest if item != "?")
    return Row(package, file, dag_id, run, int(count), others, rest == ["?"])


def _documented() -> dict[str, str]:
    """file → reason, from the docs page's table."""
    return dict(re.findall(r"^\| `(\w+\.py)` \| (.+?) \|$", DOCS.read_text(), re.MULTILINE))


TABLE = Path(__file__).with_name("airflow_examples.txt")
ROWS = [_row(line) for line in TABLE.read_text().splitlines() if not line.startswith("#")]
DIFFERENT = _documented()
GOING = [row for row in ROWS if row.file not in DIFFERENT]


def fetch(folder: Path) -> None:
    """The packages, unpacked, without what they depend on: by uv if there is one, else by pip."""
    uv = shutil.which("uv")
    if uv is not None:
        command = [uv, "pip", "install", "--python", sys.executable]
    elif subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
        command = [sys.executable, "-m", "pip", "install"]
    else:
        venv.create(folder / "pip", with_pip=True)
        command = [str(folder / "pip" / "bin" / "python"), "-m", "pip", "install"]
    subprocess.run([*command, "-q", "--no-deps", "--target", str(folder), *PACKAGES], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """A server with all example files."""
    packages = tmp_path_factory.mktemp("airflow")
    fetch(packages)
    home = server.temporary_home("ts-examples-")
    dags, aside = home / "dags", home / "aside.py"
    for folder in FOLDERS.values():
        shutil.copytree(packages / folder, dags / folder)
    late = dags / FOLDERS["core"] / "example_inlet_event_extra.py"
    late.rename(aside)
    for name in ("tmp", "airflow/dags", "plugins"):
        (home / name).mkdir(parents=True)
    (home / "plugins" / "examples.py").write_text(PLUGINS)
    environment = {
        "TMPDIR": str(home / "tmp"), "AIRFLOW_HOME": str(home / "airflow"), "TRACKSIDE_PLUGINS_FOLDER": str(home / "plugins"),
    }  # fmt: skip
    running = server.start(home, dags, environment=environment)
    try:
        running.wait_dag("asset_with_extra_by_yield")
        aside.rename(late)
        yield running
    finally:
        running.stop()
        server.remove(home)


class Started(dict[str, str]):
    """DAG id → run id; asking for a DAG without a run fails with the reason."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: dict[str, str] = {}

    def __missing__(self, dag_id: str) -> str:
        raise AssertionError(self.refused.get(dag_id, f"the file of {dag_id} has an import error"))


@pytest.fixture(scope="module")
def runs(stack: server.Server) -> dict[str, str]:
    """DAG id → run id of the one run that was started for each DAG of the table."""
    there = _parsed(stack)
    rows = [row for row in GOING if row.dag_id in there]
    now = dt.datetime.now(dt.UTC)
    for row in rows:  # consumers of assets have to be on before the producers run
        stack.call("PATCH", f"/dags/{row.dag_id}", json={"is_paused": False})
    started = Started()
    for number, row in enumerate(rows):
        moment = now if "marker" in row.dag_id else now + dt.timedelta(milliseconds=number)
        body = {"logical_date": moment.isoformat(), "dag_run_id": "by_hand", "conf": CONF.get(row.dag_id, {})}
        try:
            started[row.dag_id] = str(stack.call("POST", f"/dags/{row.dag_id}/dagRuns", json=body)["dag_run_id"])
        except server.Refused as error:  # its own test says so
            started.refused[row.dag_id] = str(error)
    return started


def _parsed(stack: server.Server) -> set[str]:
    """DAG ids of the table, once each is there or its file has an import error."""

    def settled() -> set[str]:
        found = {dag["dag_id"] for offset in (0, 100) for dag in stack.get("/dags", limit=100, offset=offset)["dags"]}
        broken = {Path(error["filename"]).name for error in stack.get("/importErrors", limit=100)["import_errors"]}
        return found if all(row.dag_id in found or row.file in broken for row in GOING) else set()

    return server.until(settled, "all example files were parsed", 120, pause=0.5)


def _ended(
    stack: server.Server, runs: dict[str, str], dag_id: str, seconds: float = 180
) -> tuple[str, Counter[str], list[tuple[str, str]]]:
    """State of the DAG's run, how many task instances, and those that did not succeed."""
    state = stack.wait_run(dag_id, runs[dag_id], seconds)["state"]
    tasks = [(task["task_id"], str(task["state"])) for task in stack.tasks(dag_id, runs[dag_id])]
    return state, Counter(s for _, s in tasks), sorted((t, s) for t, s in tasks if s != "success")


def test_every_file_loads(stack: server.Server, runs: dict[str, str]):
    errors = {Path(e["filename"]).name: e["stack_trace"] for e in stack.get("/importErrors", limit=100)["import_errors"]}
    outside = {"tutorial_objectstorage.py"}  # not in the table: needs the internet
    wanted = {row.file for row in ROWS}
    assert {name: text for name, text in errors.items() if name in wanted - set(DIFFERENT) - outside} == {}


@pytest.mark.parametrize("row", [row for row in GOING if not row.checked_by_itself], ids=lambda row: row.dag_id)
def test_an_example_ends_as_in_airflow(stack: server.Server, runs: dict[str, str], row: Row):
    state, counts, others = _ended(stack, runs, row.dag_id)
    seen = (state, counts.total(), others)
    assert seen == (row.run, row.count, sorted(row.others.items())), stack.describe(row.dag_id, runs[row.dag_id])


# Those whose end depends on the clock, on chance or on people ---------------------------------------------------------


@pytest.mark.parametrize("dag_id", ["example_branch_operator", "example_branch_python_operator_decorator"])
def test_one_random_branch_of_each_kind_is_followed(stack: server.Server, runs: dict[str, str], dag_id: str):
    state, counts, others = _ended(stack, runs, dag_id)
    assert (state, counts) == ("success", Counter(success=11, skipped=12))
    assert Counter(task.rpartition("_")[0] for task, _ in others) == {"branch": 3, "follow": 3, "ext_py": 3, "venv": 3}
    letters = {kind: {task[-1] for task, _ in others if task.startswith(kind)} for kind in ("branch", "follow")}
    assert letters["branch"] == letters["follow"]


def test_branches_by_the_clock(stack: server.Server, runs: dict[str, str]):
    _, _, others = _ended(stack, runs, "example_branch_datetime_operator_2")
    assert others in ([("date_in_range", "skipped")], [("date_outside_range", "skipped")])
    asked = stack.run("example_branch_datetime_operator_2", runs["example_branch_datetime_operator_2"])
    hours = {dt.datetime.fromisoformat(asked[name]).hour for name in ("start_date", "end_date")}
    if not hours & {14, 15, 23, 0}:  # not around the bounds of its window
        assert others == [("date_outside_range" if min(hours) >= 15 else "date_in_range", "skipped")]


def test_branches_by_the_day_of_the_week(stack: server.Server, runs: dict[str, str]):
    state, _, others = _ended(stack, runs, "example_weekday_branch_operator")
    run = stack.run("example_weekday_branch_operator", runs["example_weekday_branch_operator"])
    skipped = []
    for moment in (run["start_date"], run["end_date"]):  # midnight may be between
        day = dt.datetime.fromisoformat(moment).isoweekday()
        monday = ["branch_false", "branch_mid_week", "branch_weekend", "make_weekend_choice"]
        skipped.append(monday if day == 1 else sorted(["branch_mid_week" if day > 5 else "branch_weekend", "branch_true"]))
    assert state == "success" and [task for task, _ in others] in skipped


def test_runs_that_depend_on_the_past_take_a_branch_by_the_minute(stack: server.Server, runs: dict[str, str]):
    dag_id = "example_branch_dop_operator_v3"
    state, counts, others = _ended(stack, runs, dag_id)
    even = dt.datetime.fromisoformat(stack.run(dag_id, runs[dag_id])["logical_date"]).minute % 2 == 0
    assert (state, counts.total(), others) == ("success", 3, [("empty_task_2" if even else "empty_task_1", "skipped")])


def test_a_form_is_checked_before_the_run_is_made(stack: server.Server, runs: dict[str, str]):
    with pytest.raises(server.Refused) as refused:
        stack.trigger("example_params_ui_tutorial")
    assert refused.value.status == 400 and "required_field" in refused.value.body
    assert _ended(stack, runs, "example_params_ui_tutorial")[0] == "success"


def test_people_answer_the_questions(stack: server.Server, runs: dict[str, str]):
    dag_id = "example_hitl_operator"
    run_id = runs[dag_id]

    def answer(task_id: str, options: list[str], params: dict[str, Any] | None = None) -> None:
        server.until(lambda: stack.states(dag_id, run_id)[task_id] == "awaiting_input", f"{task_id} asks", 120)
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        stack.call("PATCH", path, json={"chosen_options": options, "params_input": params or {}})

    answer("wait_for_input", ["OK"], {"information": "tea"})
    answer("wait_for_option", ["option 2"])
    answer("wait_for_multiple_options", ["option 4", "option 6"])
    answer("valid_input_and_options", ["Approve"])
    answer("choose_a_branch_to_run", ["task_2"])
    state, _, others = _ended(stack, runs, dag_id)
    assert (state, others) == ("success", [("task_1", "skipped"), ("task_3", "skipped")])
    assert stack.value(dag_id, run_id, "wait_for_default_option")["chosen_options"] == ["option 7"]


def test_a_sensor_of_another_dag_sees_the_same_logical_date(stack: server.Server, runs: dict[str, str]):
    """Its second sensor waits ten minutes for a group that is not there, in Airflow as well."""
    dag_id = "example_external_task_marker_child"
    wanted = {"child_task1": "success", "child_task2": "up_for_reschedule", "child_task3": None}
    server.until(lambda: stack.states(dag_id, runs[dag_id]) == wanted, f"{dag_id} came to its second sensor", 120)


def test_sensors_end_by_their_own_rules(stack: server.Server, runs: dict[str, str]):
    dag_id = "example_sensors"
    wanted = {
        "Sensor_fails_after_3_seconds": "skipped", "failure_timeout_sensor_python": "skipped",
        "timeout_after_second_date_in_the_future": "skipped", "wait_some_seconds_async": "success", "fire_immediately_async": "success",
        "success_sensor_python": "success",
        "timeout_after_second_date_in_the_future_async": "deferred",  # for an hour: this kind of wait has no timeout in Airflow
    }  # fmt: skip

    # two of them wait for the time of day that was an hour ahead when the file was read: around midnight that is past already
    at_night = {"timeout_after_second_date_in_the_future", "timeout_after_second_date_in_the_future_async"}
    midnight = dt.datetime.now(dt.UTC).hour in (23, 0)

    def there() -> bool:
        states = stack.states(dag_id, runs[dag_id])
        other = {task_id for task_id, state in wanted.items() if states[task_id] != state}
        return not other or (midnight and other <= at_night and all(states[task_id] == "success" for task_id in other))

    server.until(there, "the sensors ended", 240)
    if SLOW:
        slow = ("wait_some_seconds", "fire_immediately", "Sensor_succeeds", "wait_for_file", "wait_for_file_async")
        server.until(lambda: {stack.states(dag_id, runs[dag_id])[t] for t in slow} == {"success"}, "the slow ones ended", 240)


@pytest.mark.skipif(not SLOW, reason="looks once a minute; TRACKSIDE_SLOW_EXAMPLES=1 runs it")
def test_a_parent_waits_for_its_child(stack: server.Server, runs: dict[str, str]):
    assert _ended(stack, runs, "example_external_task", 300) == ("success", Counter(success=4), [])


# What the table says beyond states --------------------------------------------------------------------------------------


def test_values_of_mapped_tasks(stack: server.Server, runs: dict[str, str]):
    def values(dag_id: str, task_id: str, count: int) -> list[Any]:
        path = f"/dags/{dag_id}/dagRuns/{runs[dag_id]}/taskInstances/{task_id}/xcomEntries/return_value"
        return [stack.get(path, map_index=index)["value"] for index in range(count)]

    for dag_id in ("example_dynamic_task_mapping", "example_task_mapping_second_order", "example_task_group_mapping"):
        stack.wait_run(dag_id, runs[dag_id], 120)
    assert values("example_dynamic_task_mapping", "add_one", 3) == [2, 3, 4]
    assert values("example_task_mapping_second_order", "times_2", 3) == [2, 4, 6]
    assert values("example_task_mapping_second_order", "add_10", 3) == [12, 14, 16]
    assert "Total was 9" in stack.wait_log("Total was", "example_dynamic_task_mapping", runs["example_dynamic_task_mapping"], "sum_it")


def test_assets_start_their_consumers(stack: server.Server, runs: dict[str, str]):
    def by_assets(dag_id: str) -> list[str]:
        return [run["state"] for run in stack.get(f"/dags/{dag_id}/dagRuns", run_type="asset_triggered")["dag_runs"]]

    def ran(dag_id: str) -> bool:
        return "success" in by_assets(dag_id)

    for dag_id in (
        *("asset_consumes_1", "asset_consumes_1_and_2", "consume_1_and_2_with_asset_expressions"),
        *("consume_1_or_2_with_asset_expressions", "consume_1_or_both_2_and_3_with_asset_expressions"),
        *("conditional_asset_and_time_based_timetable", "asset_s3_bucket_consumer", "asset_alias_example_alias_consumer"),
    ):
        server.until(partial(ran, dag_id), f"{dag_id} ran for its assets", 120)
    assert by_assets("asset_consumes_1_never_scheduled") == by_assets("asset_consumes_unknown_never_scheduled") == []


def test_events_carry_what_the_tasks_said(stack: server.Server, runs: dict[str, str]):
    for dag_id in ("asset_with_extra_by_yield", "asset_with_extra_by_context", "asset_with_extra_from_classic_operator"):
        stack.wait_run(dag_id, runs[dag_id], 120)
        events = stack.get("/assets/events", source_dag_id=dag_id)["asset_events"]
        assert events and all(event["extra"] == {"hi": "bye"} for event in events)


def test_a_controller_hands_its_conf_to_the_target(stack: server.Server, runs: dict[str, str]):
    stack.wait_run("example_trigger_controller_dag", runs["example_trigger_controller_dag"], 120)
    found = stack.get("/dags/example_trigger_target_dag/dagRuns")["dag_runs"]
    started = [run["conf"] for run in found if run["run_type"] == "operator_triggered"]
    assert started and all(conf == {"message": "Hello World"} for conf in started)  # its schedule, @once, makes a second one


def test_an_old_slot_is_not_the_latest(stack: server.Server, runs: dict[str, str]):
    dag_id = "latest_only_with_trigger"
    stack.wait_run(dag_id, runs[dag_id], 120)
    body = {"dag_id": dag_id, "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-01T00:00:00Z", "max_active_runs": 1}
    stack.call("POST", "/backfills", json=body)

    def old() -> list[dict[str, Any]]:
        found = stack.get(f"/dags/{dag_id}/dagRuns")["dag_runs"]
        return [run for run in found if run["run_type"] == "backfill" and run["state"] in server.FINISHED]

    (run,) = server.until(old, "the run of the old slot ended", 120)
    wanted = {"latest_only": "success", "task1": "skipped", "task2": "success", "task3": "skipped", "task4": "success"}
    assert stack.states(dag_id, run["dag_run_id"]) == wanted


# The docs page ------------------------------------------------------------------------------------------------------------


def test_the_docs_name_the_files_that_end_otherwise():
    assert len(DIFFERENT) <= 5
    assert set(DIFFERENT) <= {row.file for row in ROWS}
    assert len({row.file for row in ROWS}) == 62  # 57 that need nothing, 5 that need a package index
