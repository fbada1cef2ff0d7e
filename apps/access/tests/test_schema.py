"""Versions of Trackside beside each other: an older one does not begin to write into a newer one's database."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from apps.access import schema
from apps.runs.metrics import health

pytestmark = pytest.mark.django_db


@pytest.fixture
def newer_database() -> None:
    MigrationRecorder(connection).record_applied("runs", "9999_of_next_year")


def test_the_tables_of_this_version_fit() -> None:
    MigrationRecorder(connection).record_applied("somebodys_own_app", "0001_initial")
    assert schema.unknown_migrations() == [] and schema.newer() == "" and health.misfit() == ""
    schema.refuse_newer()


@pytest.mark.parametrize("command", ["scheduler", "triggerer", "executor", "dag_processor", "db_upgrade"])
def test_no_process_of_an_older_version_starts_on_a_newer_database(newer_database: None, command: str) -> None:
    with pytest.raises(CommandError, match=r"newer version.*runs\.9999_of_next_year"):
        call_command(command, stdout=io.StringIO())


def test_the_probes_of_an_older_web_process_say_it(newer_database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_ready", False)
    assert "newer version" in health.readiness()
    assert health.whole()[0] is False


def test_a_database_that_is_behind_is_named_with_what_to_do() -> None:
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied("access", max(name for app, name in recorder.applied_migrations() if app == "access"))
    assert "lacks 1 migrations" in health.misfit() and "trackside db upgrade" in health.misfit()


def test_a_process_that_starts_while_the_migrations_run_waits_for_them_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    recorder = MigrationRecorder(connection)
    behind = sorted(name for app, name in recorder.applied_migrations() if app == "access")[-2:]
    for name in behind:
        recorder.record_unapplied("access", name)
    waited: list[float] = []

    def migrating(seconds: float) -> None:
        waited.append(seconds)
        recorder.record_applied("access", behind.pop(0))

    schema.begin(migrating)
    assert waited == [0.2, 0.4]
    assert ["lacks 2 migrations" in caplog.messages[0], "lacks 1 migrations" in caplog.messages[1]] == [True, True]
    assert all("trackside db upgrade" in said for said in caplog.messages)
