"""Prepared statements over Django's connection, for the hot paths of the ledger.

Django's cursors bind on the client and never prepare; the statements here run thousands of times a minute. They share
Django's connection and transaction, and its exceptions: whoever catches `django.db.OperationalError` to reconnect catches
ours too. JSON columns come back as text (Django's setting); decode with orjson.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver

MAX_PREPARED = 400
"""Statements a session keeps prepared; more than the ledger has."""


@receiver(connection_created)
def prepare_session(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Let `prepare=True` mean something (Django switches it off), and have each statement planned once.

    The ledger's statements take longer to plan than to run. A plan made while the tables were small must not read whole
    tables once they have grown, hence no sequential scans where an index will do.
    """
    session = connection.connection
    session.prepare_threshold, session.prepared_max = sys.maxsize, MAX_PREPARED
    session.execute("SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off")


def rows(statement: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run a statement that returns rows."""
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(statement, parameters or None, prepare=True)  # type: ignore[arg-type]
        return cursor.fetchall()


def run(statement: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> int:
    """Run a statement for its effect; the number of rows it touched."""
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(statement, parameters or None, prepare=True)  # type: ignore[arg-type]
        return cursor.rowcount


def now() -> datetime:
    """The database's clock: the one clock of every decision."""
    return rows("SELECT clock_timestamp()")[0][0]
