"""Rows of processes: a process that starts while the database goes away waits for it, as one that runs does."""

from __future__ import annotations

import psycopg
import pytest
from django.db import OperationalError, connection, transaction

from apps.runs import processes, wake
from apps.runs.models import Process


def cut() -> None:
    """End the connection from the server's side, as a database that is started again does."""
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    with psycopg.connect(**wake.connection_parameters()) as other:  # type: ignore[arg-type]
        assert other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid]).fetchone() == (True,)


@pytest.mark.django_db(transaction=True)
def test_a_process_that_starts_while_the_database_restarts_waits_for_it():
    cut()
    made = processes.register("triggerer")
    assert Process.objects.get(pk=made.pk).kind == "triggerer" and Process.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_it_gives_up_when_the_database_stays_away(monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE", -1.0)
    cut()
    with pytest.raises(OperationalError):
        processes.register("triggerer")
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_was_cut_is_not_begun_anew_behind_its_back():
    with pytest.raises(OperationalError), transaction.atomic():
        cut()
        processes.register("triggerer")
    connection.close()
    assert not Process.objects.exists()
