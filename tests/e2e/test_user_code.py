"""User code around the runs, on a whole product: callbacks, deadlines, plugins, listeners, policies, own timetables.

One server with a plugins folder; Airflow's own example plugins come from its package, downloaded for the test.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import server
from tests.support.server import until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("user code")]

PLUGIN = """
import pathlib
from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink

OUT = pathlib.Path("@OUT@")

def say(name, text):
    with (OUT / name).open("a") as file:
        file.write(text + "\\n")

class Ear:
    @hookimpl
    def on_task_instance_success(self, previous_state, task_instance):
        say("heard", f"success {task_instance.task_id}")
    @hookimpl
    def on_task_instance_failed(self, previous_state, task_instance, error):
        say("heard", f"failed {task_instance.task_id}")
    @hookimpl
    def on_dag_run_success(self, dag_run, msg):
        say("heard", f"run {dag_run.dag_id} {msg} {[t.task_id for t in dag_run.get_task_instances()]}")
    @hookimpl
    def on_asset_changed(self, asset):
        say("heard", f"asset {asset.uri}")

class Link(BaseOperatorLink):
    name = "Elsewhere"
    def get_link(self, operator, *, ti_key):
        return f"https://example.org/{ti_key.task_id}"

def twice(number):
    return number * 2

class Mine(AirflowPlugin):
    name = "mine"
    listeners = [Ear()]
    macros = [twice]
    global_operator_extra_links = [Link()]
    flask_blueprints = [object()]
"""

POLICIES = """
from airflow.exceptions import AirflowClusterPolicySkipDag, AirflowClusterPolicyViolation

def task_policy(task):
    if task.owner == "nobody":
        raise AirflowClusterPolicyViolation(f"task {task.task_id} has no owner")

def dag_policy(dag):
    dag.tags.add("by policy")
    if dag.dag_id == "left_out":
        raise AirflowClusterPolicySkipDag()

def task_instance_mutation_hook(task_instance, dag_run=None):
    if task_instance.task_id == "again" and task_instance.try_number >= 1:
        task_instance.pool_slots = 2

def get_airflow_context_vars(context):
    return {"OUR_TASK": context["ti"].task_id}
"""

CALLBACKS = """
import os, pathlib, time
from datetime import timedelta
from airflow.sdk import AsyncCallback, BaseNotifier, DAG, DeadlineAlert, DeadlineReference, SyncCallback, Variable, task

OUT = pathlib.Path("@OUT@")

def say(name):
    def callback(context):
        ti = context["ti"]
        exception = type(context["exception"]).__name__ if context.get("exception") else None
        pulled = ti.xcom_pull(task_ids="good")
        with (OUT / name).open("a") as file:
            file.write(f"{context.get('reason')} {ti.task_id} {ti.try_number} {exception} {pulled} {Variable.get('mood', 'none')}\\n")
        print("said", name)
    return callback

class Notifier(BaseNotifier):
    template_fields = ("text",)
    def __init__(self, text):
        super().__init__()
        self.text = text
    def notify(self, context):
        with (OUT / "notified").open("a") as file:
            file.write(self.text + "\\n")

def late(who, context):
    (OUT / "late").write_text(f"{who} {context['dag_run']['dag_id']} {context['deadline']['alert_name']}")

async def late_too(who, context):
    (OUT / "late_too").write_text(f"{who} {context['dag_run']['dag_id']}")

with DAG("dies", on_failure_callback=[say("dag_failed"), Notifier("{{ dag.dag_id }} of {{ run_id[:6] }}")]):
    @task
    def good():
        return 42

    told = {"on_retry_callback": say("retry"), "on_failure_callback": [say("failure"), Notifier("{{ ti.task_id }}")]}

    @task(retries=1, retry_delay=timedelta(0), **told)
    def dies():
        os._exit(3)

    good() >> dies()

with DAG(
    "late", dagrun_timeout=timedelta(seconds=2), on_failure_callback=say("timed_out"),
    deadline=[
        DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(seconds=0.5), SyncCallback(late, {"who": "sync"}), name="soon"),
        DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(seconds=0.5), AsyncCallback(late_too, {"who": "async"})),
        DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=1), SyncCallback(late, {"who": "never"}), name="far"),
    ],
):
    @task
    def sleeps():
        time.sleep(60)

    sleeps()

with DAG("in_time", deadline=DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=1), SyncCallback(late))):
    @task
    def quick():
        pass

    quick()
"""

PLUGGED = """
import datetime, pendulum
from airflow.sdk import Asset, DAG
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator

with DAG("plugged"):
    BashOperator(
        task_id="again", retries=1, retry_delay=datetime.timedelta(0),
        bash_command="echo macro={{ macros.mine.twice(21) }} ours=$AIRFLOW_CTX_OUR_TASK; test {{ ti.try_number }} = 2",
        outlets=[Asset("s3://bucket/plugged")],
        weight_rule="decreasing_priority_weight_strategy.DecreasingPriorityStrategy",
    )
with DAG("left_out"):
    EmptyOperator(task_id="e")
"""

VIOLATES = """
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

with DAG("violates"):
    EmptyOperator(task_id="ownerless", owner="nobody")
"""

BROKEN = """
import datetime
from airflow.sdk import DAG
from airflow.timetables.base import Timetable
from airflow.providers.standard.operators.empty import EmptyOperator

class Broken(Timetable):
    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        raise RuntimeError("no clock here")

with DAG("broken_clock", schedule=Broken(), start_date=datetime.datetime(2024, 1, 1)):
    EmptyOperator(task_id="e")
"""

NAMED = """
import datetime
from airflow.sdk import DAG
from airflow.timetables.trigger import CronTriggerTimetable
from airflow.providers.standard.operators.empty import EmptyOperator

class Named(CronTriggerTimetable):
    def generate_run_id(self, *, run_type, run_after, data_interval, **extra):
        return f"{run_type.value}__of_{run_after:%Y_%m_%d}"

day = datetime.datetime(2024, 1, 1)
with DAG("named_runs", schedule=Named("@daily", timezone="UTC"), start_date=day, end_date=day + datetime.timedelta(days=1), catchup=True):
    EmptyOperator(task_id="e")
"""


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Airflow's own example DAGs and plugins; skips the module's tests of them without a package index."""
    folder = tmp_path_factory.mktemp("airflow")
    package, uv = "apache-airflow-core==3.3.2", shutil.which("uv")
    installer = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    if subprocess.run([*installer, "-q", "--no-deps", "--target", str(folder), package], capture_output=True, check=False).returncode:
        pytest.skip("apache-airflow-core cannot be downloaded")
    return folder / "airflow" / "example_dags"


@pytest.fixture(scope="module")
def trackside(examples: Path) -> Iterator[server.Server]:
    home = server.temporary_home("trackside-user-code-")
    dags, plugins, out = home / "dags", home / "data" / "plugins", home / "out"
    for folder in (dags, plugins, home / "data" / "config", out):
        folder.mkdir(parents=True)
    for name in ("workday", "decreasing_priority_weight_strategy"):
        (plugins / f"{name}.py").write_text((examples / "plugins" / f"{name}.py").read_text())
    workday = (examples / "example_workday_timetable.py").read_text().replace("airflow.example_dags.plugins.workday", "workday")
    (dags / "example_workday_timetable.py").write_text(workday)
    (plugins / "mine.py").write_text(PLUGIN.replace("@OUT@", str(out)))
    (plugins / "broken.py").write_text("raise ImportError('no such thing')")
    (home / "data" / "config" / "airflow_local_settings.py").write_text(POLICIES)
    (dags / "callbacks.py").write_text(CALLBACKS.replace("@OUT@", str(out)))
    for name, text in (("plugged", PLUGGED), ("violates", VIOLATES), ("broken", BROKEN), ("named_runs", NAMED)):
        (dags / f"{name}.py").write_text(text)
    running = None
    try:
        running = server.start(home, dags)
        yield running
    finally:
        if running is not None:
            running.stop()
        server.remove(home)


def said(trackside: server.Server, name: str, lines: int = 1) -> list[str]:
    """What user code wrote under this name, once there is enough."""
    path = trackside.home / "out" / name

    def enough() -> list[str] | None:
        found = path.read_text().splitlines() if path.exists() else []
        return found if len(found) >= lines else None

    return until(enough, f"{name} is said")


def test_tries_that_die_and_their_run_have_their_callbacks_run(trackside: server.Server) -> None:
    trackside.call("POST", "/variables", json={"key": "mood", "value": "calm"})
    run_id = trackside.run_dag("dies")["dag_run_id"]
    assert trackside.run("dies", run_id)["state"] == "failed"
    assert said(trackside, "retry") == ["None dies 1 AirflowException 42 calm"]
    assert said(trackside, "failure") == ["None dies 2 AirflowException 42 calm"]
    assert said(trackside, "dag_failed") == ["task_failure dies 2 None 42 calm"]
    assert sorted(said(trackside, "notified", 2)) == ["dies", "dies of manual"]
    assert "said failure" in trackside.wait_log("said failure", "dies", run_id, "dies", try_number=2)


def test_missed_deadlines_and_the_timeout_of_a_run_are_told(trackside: server.Server) -> None:
    run_id = trackside.run_dag("late")["dag_run_id"]
    assert said(trackside, "late") == ["sync late soon"]
    assert said(trackside, "late_too") == ["async late"]
    assert said(trackside, "timed_out")[0].startswith("timed_out sleeps 1")
    found = trackside.get(f"/dags/late/dagRuns/{run_id}/deadlines")
    assert [(d["alert_name"], d["missed"]) for d in found["deadlines"]][-1] == ("far", False)
    assert sorted(d["missed"] for d in found["deadlines"]) == [False, True, True]
    assert [a["interval"] for a in trackside.get("/dags/late/deadlineAlerts")["deadline_alerts"]] == [0.5, 0.5, 3600.0]


def test_a_deadline_that_is_met_is_gone(trackside: server.Server) -> None:
    run_id = trackside.run_dag("in_time")["dag_run_id"]
    assert trackside.get(f"/dags/in_time/dagRuns/{run_id}/deadlines")["total_entries"] == 0


def test_plugins_bring_macros_links_listeners_and_weights_and_policies_hold(trackside: server.Server) -> None:
    dag = trackside.wait_dag("plugged")
    assert [t["name"] for t in dag["tags"]] == ["by policy"]
    run_id = trackside.run_dag("plugged")["dag_run_id"]
    (ti,) = trackside.tasks("plugged", run_id)
    assert (ti["state"], ti["try_number"], ti["priority_weight"], ti["pool_slots"]) == ("success", 2, 3, 2)
    assert "macro=42 ours=again" in trackside.log_of("plugged", run_id, "again", 2)
    links = trackside.get(f"/dags/plugged/dagRuns/{run_id}/taskInstances/again/links")
    assert links["extra_links"] == {"Elsewhere": "https://example.org/again"}
    wanted = {"failed again", "success again", "asset s3://bucket/plugged", "run plugged success ['again']"}
    until(lambda: wanted <= set(said(trackside, "heard")), "listeners heard of everything")


def test_plugins_and_what_is_wrong_with_them_are_listed(trackside: server.Server) -> None:
    plugins = until(lambda: trackside.get("/plugins")["plugins"], "plugins are known")
    mine = next(p for p in plugins if p["name"] == "mine")
    assert (mine["macros"], mine["not_supported"], mine["source"]) == (["twice"], ["flask_blueprints"], "$PLUGINS_FOLDER/mine.py")
    assert next(p["timetables"] for p in plugins if p["name"] == "workday_timetable_plugin") == ["workday.AfterWorkdayTimetable"]
    (error,) = trackside.get("/plugins/importErrors")["import_errors"]
    assert error["source"].endswith("broken.py") and "no such thing" in error["error"]


def test_a_violation_is_a_problem_of_its_file_and_a_dag_left_out_is_not_there(trackside: server.Server) -> None:
    errors = until(lambda: {e["filename"]: e["stack_trace"] for e in trackside.get("/importErrors")["import_errors"]}, "problems are known")
    assert "ownerless has no owner" in errors["violates.py"]
    assert "no clock here" in errors["broken.py"]
    known = {d["dag_id"]: d for d in trackside.get("/dags", limit=100)["dags"]}
    assert "left_out" not in known and "violates" not in known
    assert known["broken_clock"]["has_import_errors"] is True


def test_airflows_workday_timetable_plans_runs_and_says_what_a_run_by_hand_is_about(trackside: server.Server) -> None:
    dag = trackside.wait_dag("example_workday_timetable")
    assert dag["next_dagrun_data_interval_start"] is not None
    body = {"logical_date": "2026-01-05T12:00:00Z", "run_after": "2026-01-05T12:00:00Z"}  # a Monday: about the Friday before
    trackside.unpause("example_workday_timetable")
    run = trackside.call("POST", "/dags/example_workday_timetable/dagRuns", json=body)
    assert (run["data_interval_start"], run["data_interval_end"]) == ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z")
    assert trackside.wait_run("example_workday_timetable", run["dag_run_id"])["state"] == "success"
    window = {"from_date": "2026-02-06T00:00:00Z", "to_date": "2026-02-10T00:00:00Z", "dag_id": "example_workday_timetable"}
    slots = trackside.call("POST", "/backfills/dry_run", json=window)["backfills"]
    assert [s["logical_date"][:10] for s in slots] == ["2026-02-06", "2026-02-09", "2026-02-10"]


def test_an_own_timetable_names_the_runs_it_plans_and_those_triggered_by_hand(trackside: server.Server) -> None:
    trackside.wait_dag("named_runs")
    trackside.unpause("named_runs")
    wanted = {"scheduled__of_2024_01_01", "scheduled__of_2024_01_02"}
    until(lambda: _ended(trackside, "named_runs") == wanted or None, "the planned runs")
    run = trackside.call("POST", "/dags/named_runs/dagRuns", json={"logical_date": None, "run_after": "2026-03-04T00:00:00Z"})
    assert run["dag_run_id"] == "manual__of_2026_03_04"
    until(lambda: _ended(trackside, "named_runs") == {*wanted, run["dag_run_id"]} or None, "the run by hand")


def _ended(trackside: server.Server, dag_id: str) -> set[str]:
    return {run["dag_run_id"] for run in trackside.get(f"/dags/{dag_id}/dagRuns", state="success")["dag_runs"]}
