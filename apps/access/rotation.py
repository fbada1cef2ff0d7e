"""Brings every stored secret under the newest of TRACKSIDE_FERNET_KEYS. For `manage.py rotate_secrets` (`trackside secrets rotate`).

Works on the ciphertext in bites, each a short transaction that locks its rows, so that people may go on editing. It may be
killed and started again at any point: both keys read everything until the last row is done, then the old key can go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db import connection, models, transaction

from apps.access import audit, crypto
from apps.access.fields import EncryptedTextField


@dataclass
class Result:
    """What was found and done. `unreadable`: "model primary-key column" of secrets that no key opens."""

    rotated: int = 0
    current: int = 0
    unreadable: list[str] = field(default_factory=list)


def columns() -> Iterator[tuple[type[models.Model], str]]:
    """Every encrypted column of every model: a new one is found by itself."""
    for model in apps.get_models():
        for f in model._meta.concrete_fields:
            if isinstance(f, EncryptedTextField) and f.column is not None:
                yield model, f.column


def run(*, actor: audit.Actor, dry_run: bool = False, bite: int = 200) -> Result:
    """Re-encrypt what an older key wrote. A dry run only counts."""
    done = Result()
    for model, column in columns():
        after: Any = 0
        while (after := _bite(model, column, after, bite, dry_run, done)) is not None:
            pass
    if not dry_run:
        audit.record("rotate_secrets", actor, extra={"rotated": done.rotated, "unreadable": done.unreadable[:100]})
    return done


def _bite(model: type[models.Model], column: str, after: Any, size: int, dry_run: bool, done: Result) -> Any:
    quote, table = connection.ops.quote_name, model._meta.db_table
    pk = model._meta.pk
    assert pk is not None and pk.column is not None
    key, name, table = quote(pk.column), quote(column), quote(table)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {key}, {name} FROM {table} WHERE {key} > %s AND {name} <> '' ORDER BY {key} LIMIT %s FOR UPDATE",  # noqa: S608
            [after, size],
        )
        rows = cursor.fetchall()
        for pk_value, stored in rows:
            try:
                if crypto.is_current(stored):
                    done.current += 1
                    continue
                fresh = crypto.rotate(stored)
            except crypto.WrongKey:
                done.unreadable.append(f"{model._meta.model_name} {pk_value} {column}")
                continue
            done.rotated += 1
            if not dry_run:
                cursor.execute(f"UPDATE {table} SET {name} = %s WHERE {key} = %s", [fresh, pk_value])  # noqa: S608
    return rows[-1][0] if rows else None
