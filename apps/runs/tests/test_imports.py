"""`trackside import airflow`: what another Airflow knows comes over, once, and nothing secret is said."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.core.management.base import CommandError

from apps.access.models import AuditEvent, Connection, Variable
from apps.dags.models import Dag
from apps.runs.models import Pool, Run
from apps.runs.tests import support
from apps.runs.tests.support import woken

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures(woken.__name__)]

KEY = Fernet.generate_key().decode()
SCHEMA = """
CREATE TABLE connection (id INTEGER, conn_id TEXT, conn_type TEXT, description TEXT, host TEXT, schema TEXT, login TEXT,
                         password TEXT, port INTEGER, is_encrypted BOOLEAN, is_extra_encrypted BOOLEAN, extra TEXT);
CREATE TABLE variable (id INTEGER, key TEXT, val TEXT, description TEXT, is_encrypted BOOLEAN);
CREATE TABLE slot_pool (id INTEGER, pool TEXT, slots INTEGER, description TEXT, include_deferred BOOLEAN);
CREATE TABLE dag_run (id INTEGER, dag_id TEXT, run_id TEXT, run_type TEXT, state TEXT, {date} TEXT, data_interval_start TEXT,
                      data_interval_end TEXT, queued_at TEXT, start_date TEXT, end_date TEXT, conf {conf});
CREATE TABLE task_instance (dag_id TEXT, run_id TEXT, task_id TEXT, map_index INTEGER, state TEXT, try_number INTEGER, max_tries INTEGER,
                            start_date TEXT, end_date TEXT, duration REAL, operator TEXT, pool TEXT, pool_slots INTEGER, queue TEXT,
                            priority_weight INTEGER, hostname TEXT, unixname TEXT, queued_dttm TEXT);
"""


def locked(text: str) -> str:
    return Fernet(KEY).encrypt(text.encode()).decode()


@pytest.fixture(params=["3", "2"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The database of an Airflow 3, or of an Airflow 2."""
    path = tmp_path / "airflow.db"
    db = sqlite3.connect(path)
    three = request.param == "3"
    db.executescript(SCHEMA.format(date="logical_date" if three else "execution_date", conf="TEXT" if three else "BLOB"))
    row = [1, "pg", "postgres", None, "db", "x", "me", locked("topsecret1"), 5432, 1, 0, '{"a": 1}']
    db.execute(f"INSERT INTO connection VALUES ({', '.join('?' * 12)})", row)
    db.execute("INSERT INTO variable VALUES (1, 'limit', ?, 'a limit', 1)", [locked("topsecret2")])
    db.execute("INSERT INTO slot_pool VALUES (1, 'default_pool', 64, 'Default pool', 0), (2, 'small', 2, 'few', 1)")
    for day, state in ((1, "success"), (2, "failed"), (3, "running")):
        date = f"2024-03-0{day} 00:00:00.000000"
        conf: Any = '{"n": 1}' if three else b"\x80\x04}."
        row = ["orders", f"scheduled__2024-03-0{day}T00:00:00+00:00", "scheduled", state, date, date, date, date, date, date, conf]
        db.execute(f"INSERT INTO dag_run VALUES ({day}, {', '.join('?' * 11)})", row)
        task = ["orders", row[1], "extract", -1, state, 1, 0, date, date, 1.5, "PythonOperator", "default_pool", 1, "default", 1]
        task += ["h", "u", date]
        db.execute(f"INSERT INTO task_instance VALUES ({', '.join('?' * 18)})", task)
    db.execute("INSERT INTO dag_run (id, dag_id, run_id, run_type, state) VALUES (9, 'unknown', 'r', 'manual', 'success')")
    db.commit()
    db.close()
    yield path


@pytest.fixture
def key(tmp_path: Path) -> str:
    (tmp_path / "key").write_text(KEY)
    return str(tmp_path / "key")


def bring(*words: str) -> dict[tuple[str, str, str], str]:
    """(kind, name, outcome) → why."""
    out = StringIO()
    call_command("import_airflow", *words, "-o", "json", stdout=out)
    assert "topsecret" not in out.getvalue()
    return {(line["kind"], line["name"], line["outcome"]): line["why"] for line in json.loads(out.getvalue())}


def test_connections_variables_and_pools_come_over_decrypted_and_once(old: Path, key: str) -> None:
    words = ["--database", f"sqlite:///{old}", "--fernet-key-file", key]
    first = bring(*words)
    assert {k[2] for k in first if k[1] in ("pg", "limit", "small")} == {"new"}
    pg = Connection.objects.get(conn_id="pg")
    assert (pg.password, pg.port, pg.extra, pg.login) == ("topsecret1", 5432, '{"a": 1}', "me")
    assert Variable.objects.get(key="limit").value == "topsecret2"
    assert Pool.objects.get(name="small").include_deferred is True
    assert Pool.objects.get(name="default_pool").slots == 64
    assert {outcome for _, _, outcome in bring(*words)} == {"same"}
    assert "topsecret" not in "".join(str(event.extra) for event in AuditEvent.objects.all())


def test_a_dry_run_changes_nothing(old: Path, key: str) -> None:
    support.dag(support.chain("extract"))
    bring("--database", f"sqlite:///{old}", "--fernet-key-file", key, "--history", "--dry-run")
    assert not any(model.objects.exists() for model in (Connection, Variable, Run, AuditEvent))


def test_without_the_key_encrypted_things_are_skipped_with_the_reason(old: Path) -> None:
    said = bring("--database", f"sqlite:///{old}")
    assert "--fernet-key-file" in said["connection", "pg", "skipped"]
    assert "--fernet-key-file" in said["variable", "limit", "skipped"]
    assert not Connection.objects.exists()


def test_what_is_here_with_other_values_is_changed_or_kept(old: Path, key: str) -> None:
    Variable.objects.create(key="limit", value="mine")
    words = ["--database", f"sqlite:///{old}", "--fernet-key-file", key]
    assert "--keep-existing" in bring(*words, "--keep-existing")["variable", "limit", "skipped"]
    assert Variable.objects.get(key="limit").value == "mine"
    assert bring(*words)["variable", "limit", "changed"] == "description, value"


def test_the_history_of_known_dags_comes_over_and_the_schedule_goes_on_after_it(old: Path, key: str) -> None:
    daily = {"kind": "cron_trigger", "cron": "@daily", "timezone": "UTC"}
    support.dag(support.chain("extract"), timetable=daily, catchup=True, start_date="2024-01-01T00:00:00+00:00")
    words = ["--database", f"sqlite:///{old}", "--fernet-key-file", key, "--history"]
    said = bring(*words)
    assert said["run", "orders", "new"] == "2 run(s)"
    assert "have not ended" in said["run", "orders", "skipped"]
    assert "does not know this DAG" in said["run", "unknown", "skipped"]
    runs = list(Run.objects.order_by("logical_date"))
    assert [(r.state, r.run_type) for r in runs] == [("success", "scheduled"), ("failed", "scheduled")]
    (task,) = runs[1].task_instances.all()
    assert (task.task_id, task.state, task.try_number, task.duration) == ("extract", "failed", 1, 1.5)
    assert Dag.objects.get(dag_id="orders").next_logical_date == datetime(2024, 3, 3, tzinfo=UTC)
    again = bring(*words)
    assert again["run", "orders", "same"] == "2 run(s): here already" and Run.objects.count() == 2


def test_export_files_of_both_generations_are_read(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps({"web": {"conn_type": "http", "host": "h", "extra": '{"t": 1}'}, "ftp": "ftp://u:p@h/x"}))
    (tmp_path / "v.json").write_text(json.dumps({"plain": "text", "deep": {"a": [1]}, "said": {"value": "v", "description": "d"}}))
    (tmp_path / "p.json").write_text(json.dumps({"small": {"slots": 2, "description": "", "include_deferred": False}}))
    (tmp_path / "c.env").write_text("AIRFLOW_CONN_MAIL=smtp://u:p@h:25\n")
    files = ["--connections", str(tmp_path / "c.json"), "--variables", str(tmp_path / "v.json"), "--pools", str(tmp_path / "p.json")]
    assert {outcome for _, _, outcome in bring(*files)} == {"new"}
    assert {outcome for _, _, outcome in bring(*files)} == {"same"}
    bring("--connections", str(tmp_path / "c.env"))
    assert Connection.objects.get(conn_id="mail").port == 25
    assert json.loads(Variable.objects.get(key="deep").value) == {"a": [1]}
    assert Variable.objects.get(key="said").description == "d"
    (tmp_path / "p3.json").write_text(json.dumps([{"name": "small", "slots": 3}]))
    assert bring("--pools", str(tmp_path / "p3.json"))["pool", "small", "changed"] == "slots"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], "Say what to import"),
        (["--history", "--pools", "x.json"], "--database"),
        (["--database", "oracle://x"], "no database that can be read"),
        (["--database", "sqlite:////nowhere/at/all.db"], "there is no file"),
        (["--connections", "/nowhere.json"], "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said(words: list[str], wanted: str) -> None:
    with pytest.raises(CommandError, match=wanted):
        call_command("import_airflow", *words)


def test_a_database_that_is_no_airflow_is_refused(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "x.db").execute("CREATE TABLE t (a)").connection.commit()
    with pytest.raises(CommandError, match="no database of Airflow"):
        call_command("import_airflow", "--database", f"sqlite:///{tmp_path / 'x.db'}")
