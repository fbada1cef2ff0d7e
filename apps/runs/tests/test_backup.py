"""Backup and restore on a real PostgreSQL: from one database into a new one, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from apps.access.models import User, Variable
from apps.runs import backup, sql
from apps.runs.management.commands import db_upgrade
from apps.runs.models import Run
from apps.runs.tests import support
from apps.runs.tests.support import Worker, woken  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)
COMPARED = ("access_user", "access_variable", "dags_dag", "dags_dagversion", "runs_run", "runs_taskinstance", "runs_try", "runs_xcom")


@pytest.fixture
def empty_database() -> Iterator[str]:
    """The URL of a new database on the same server, without any table."""
    parameters = connection.get_connection_params()
    name = f"{parameters['dbname']}_restored"
    wanted = {k: parameters[k] for k in ("host", "port", "user", "password") if parameters.get(k)}
    with psycopg.connect(**wanted, dbname="postgres", autocommit=True) as session:
        session.execute(f"DROP DATABASE IF EXISTS {name}")
        session.execute(f"CREATE DATABASE {name}")
    user = f"{quote(str(wanted['user']))}:{quote(str(wanted.get('password', '')))}"
    yield f"postgresql://{user}@/{name}?host={quote(str(wanted['host']), safe='')}&port={wanted.get('port', 5432)}"
    with psycopg.connect(**wanted, dbname="postgres", autocommit=True) as session:
        session.execute(f"DROP DATABASE {name} WITH (FORCE)")


def trackside(url: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The `trackside` command, for that database."""
    environment = {**os.environ, "DATABASE_URL": url, "TRACKSIDE_FERNET_KEYS": ",".join(settings.FERNET_KEYS)}
    return subprocess.run(
        [sys.executable, "-m", "trackside.cli", *words], capture_output=True, text=True, env=environment, cwd=settings.ROOT, timeout=120
    )


def contents(session: Any) -> dict[str, list[str]]:
    return {table: sorted(r[0] for r in session.execute(f"SELECT t::text FROM {table} t").fetchall()) for table in COMPARED}


def test_a_backup_comes_back_whole_in_a_new_database(empty_database: str, tmp_path: Path) -> None:
    User.objects.create_superuser("mara", password="x")
    Variable.objects.create(key="greeting", value="hello\tworld\n\\.")
    support.dag(support.chain("a", "b"), "orders")
    done, running = support.run("orders"), None
    Worker().work()
    running = support.run("orders")
    file = tmp_path / "trackside.zip"

    manifest = backup.dump(file)
    assert file.stat().st_mode & 0o777 == 0o600 and manifest["tables"]["runs_run"]["rows"] == 2 and not list(tmp_path.glob("*.part"))

    checked = trackside(empty_database, "db", "upgrade", "--check")
    assert checked.returncode == 1 and "runs.0001_initial" in checked.stdout and "Run: trackside db upgrade" in checked.stderr
    restored = trackside(empty_database, "db", "restore", str(file))
    assert restored.returncode == 0, restored.stderr
    assert "are back" in restored.stdout

    with psycopg.connect(empty_database, autocommit=True) as there, backup._session() as here:
        assert contents(there) == contents(here)
        # nothing of before can be mistaken for news, and new rows get new numbers
        assert there.execute("SELECT bool_and(xid < pg_snapshot_xmax(pg_current_snapshot())) FROM runs_event").fetchone() == (True,)
        assert there.execute("SELECT nextval(pg_get_serial_sequence('runs_run', 'id'))").fetchone() == (max(done.pk, running.pk) + 1,)
        assert there.execute("SELECT count(*) FROM runs_process WHERE ended_at IS NULL").fetchone() == (0,)
        with pytest.raises(backup.BackupProblem, match="The database is in use: access_user is not empty"):
            backup._check(there, manifest)


def test_a_backup_is_one_moment_although_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    support.dag(support.chain("a"), "orders")
    support.run("orders")
    tables = backup._tables

    def meanwhile(session: Any) -> Any:
        found = tables(session)  # the snapshot is taken
        support.run("orders")
        return found

    monkeypatch.setattr(backup, "_tables", meanwhile)
    manifest = backup.dump(tmp_path / "b.zip")
    assert manifest["tables"]["runs_run"]["rows"] == 1 and manifest["tables"]["runs_taskinstance"]["rows"] == 1 and Run.objects.count() == 2


def test_what_is_no_backup_and_what_is_of_another_version_is_refused_with_a_word(tmp_path: Path) -> None:
    text = tmp_path / "text.zip"
    text.write_text("hello")
    with pytest.raises(backup.BackupProblem, match="is no backup of Trackside"):
        backup.restore(text)
    with pytest.raises(backup.BackupProblem, match="No such file"):
        backup.restore(tmp_path / "missing.zip")
    with pytest.raises(backup.BackupProblem, match="exists already"):
        backup.dump(text)
    file = tmp_path / "b.zip"
    backup.dump(file)
    for change, said in (
        ({"migrations": ["runs.0999_more"]}, "of a newer version"),
        ({"migrations": ["runs.0001_initial"]}, "of an older version"),
        ({"format": 99}, "has format 99"),
    ):
        other = tmp_path / "other.zip"
        with zipfile.ZipFile(file) as old, zipfile.ZipFile(other, "w") as new:
            new.writestr(backup.MANIFEST, json.dumps({**json.loads(old.read(backup.MANIFEST)), **change}))
        with pytest.raises(backup.BackupProblem, match=said):
            backup.restore(other)
    sql.run("SELECT 1")  # the connection is whole


def test_the_check_tells_by_its_exit_code_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("db_upgrade", "--check")  # nothing is pending: no error

    def away() -> list[str]:
        raise OperationalError("connection refused")

    monkeypatch.setattr(db_upgrade, "pending_migrations", lambda: ["runs.0099_more"])
    with pytest.raises(CommandError, match="1 migrations are pending") as pending:
        call_command("db_upgrade", "--check")
    monkeypatch.setattr(db_upgrade, "pending_migrations", away)
    with pytest.raises(CommandError, match="does not answer: connection refused") as gone:
        call_command("db_upgrade", "--check")
    assert (pending.value.returncode, gone.value.returncode) == (1, 3)
