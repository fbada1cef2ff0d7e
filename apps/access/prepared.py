"""Prepared statements over Django's connection, for what runs thousands of times a minute.

Django's cursors bind on the client and never prepare, and the ORM writes its SQL anew for every call, which costs more
than running it. The statements here are texts that never change. They share Django's connection and transaction, and its
exceptions: whoever catches `django.db.OperationalError` to reconnect catches ours too. The ledger calls them through
`apps.runs.sql`. JSON columns come back as text (Django's setting); decode with orjson.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import psycopg
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models import Model
from django.dispatch import receiver

M = TypeVar("M", bound=Model)

MAX_PREPARED = 400
"""Statements a session keeps prepared; more than there are."""


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


def insert(row: Model, *, unless_taken: bool = False) -> bool:
    """INSERT a new model object as `save()` does, for a fifth of its cost; its key is set. No signals, no db_default columns.

    `unless_taken`: a row that a unique constraint refuses is left out (False) and the transaction goes on without a savepoint.
    """
    key = row._meta.pk
    makes_key = row.pk is None
    statement, fields = _insert_of(type(row), makes_key, unless_taken)
    found = rows(statement, [f.get_db_prep_save(getattr(row, f.attname), connection) for f in fields])
    if not found:
        return False
    if makes_key:
        setattr(row, key.attname, found[0][0])
    row._state.adding, row._state.db = False, connection.alias
    return True


def by_key(model: type[M], key: Any, without: tuple[str, ...] = ()) -> M | None:
    """One object by its primary key, as `defer(*without).get()` gives it; None if there is none."""
    statement, names, readers = _select_of(model, without)
    found = rows(statement, [key])
    if not found:
        return None
    return model.from_db(connection.alias, names, [read(v, None, connection) for read, v in zip(readers, found[0], strict=True)])


@cache
def _select_of(model: type[Model], without: tuple[str, ...]) -> tuple[str, list[str], list[Callable[..., Any]]]:
    """The statement, the names of the columns it gives, and what reads each of them."""
    meta, quoted = model._meta, connection.ops.quote_name
    fields = [f for f in meta.concrete_fields if f.name not in without]
    names = ", ".join(quoted(str(f.column)) for f in fields)
    statement = f"SELECT {names} FROM {quoted(meta.db_table)} WHERE {quoted(str(meta.pk.column))} = %s"  # noqa: S608
    return statement, [f.attname for f in fields], [getattr(f, "from_db_value", _as_is) for f in fields]


def _as_is(value: Any, *_: Any) -> Any:
    return value


@cache
def _insert_of(model: type[Model], makes_key: bool, unless_taken: bool) -> tuple[str, list[Any]]:
    """The statement for a model, and the fields whose values it wants."""
    meta, quoted = model._meta, connection.ops.quote_name
    fields = [f for f in meta.concrete_fields if not (makes_key and f.primary_key)]
    names, places = ", ".join(quoted(str(f.column)) for f in fields), ", ".join("%s" for _ in fields)
    conflict = " ON CONFLICT DO NOTHING" if unless_taken else ""
    statement = f"INSERT INTO {quoted(meta.db_table)} ({names}) VALUES ({places}){conflict} RETURNING {quoted(str(meta.pk.column))}"  # noqa: S608
    return statement, fields
