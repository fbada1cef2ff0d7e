"""Prepared statements over Django's connection, for the hot paths of the ledger.

Django's cursors bind on the client and never prepare; the statements here run thousands of times a minute. They share
Django's connection and transaction. JSON columns come back as text (Django's setting); decode with orjson.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg
from django.db import connection


def rows(statement: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run a statement that returns rows."""
    connection.ensure_connection()
    with psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(statement, parameters or None, prepare=True)  # type: ignore[arg-type]
        return cursor.fetchall()


def run(statement: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> int:
    """Run a statement for its effect; the number of rows it touched."""
    connection.ensure_connection()
    with psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(statement, parameters or None, prepare=True)  # type: ignore[arg-type]
        return cursor.rowcount


def now() -> datetime:
    """The database's clock: the one clock of every decision."""
    return rows("SELECT clock_timestamp()")[0][0]
