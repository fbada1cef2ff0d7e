"""Backup and restore of everything in the database, with nothing but Trackside: `trackside db backup`, `trackside db restore`.

A backup is a zip file: one member per table (PostgreSQL's COPY text) and `manifest.json`. It is one snapshot (REPEATABLE READ),
taken while everything goes on. It holds connections and variables as they are stored: encrypted; without the keys
(`<home>/keys`, or TRACKSIDE_FERNET_KEYS) they cannot be read. Logs of tasks are files of their own. Whoever has pg_dump may use
that as well; this one needs no program beside Python, and works across versions of PostgreSQL.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from psycopg import sql

FORMAT = 1
MANIFEST = "manifest.json"
_LEFT_OUT = {"django_migrations"}
"""Made by the migrations of the target; the manifest holds their names."""
_NEW = {"runs_event": {"xid"}}
"""Columns with meaning on their own server only: made anew."""
_TABLES = """
SELECT c.relname, array_agg(a.attname ORDER BY a.attnum) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' GROUP BY c.relname ORDER BY c.relname
"""
_USED = ("access_user", "dags_dag", "runs_run", "access_auditevent")
"""Tables that are empty in a database that nobody has used."""
_CHUNK = 1 << 20


class BackupProblem(Exception):
    """A backup could not be made or put back; the message says why and what to do. Nothing was changed."""


def dump(path: Path) -> dict[str, Any]:
    """Write a backup to `path` (0600, by a temporary file beside it, never over another file); its manifest."""
    if path.exists():
        raise BackupProblem(f"{path} exists already. Name a new file, or remove that one first.")
    part = path.with_name(path.name + ".part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as e:
        raise BackupProblem(f"{part}: {e.strerror}. Name a file in a folder that can be written.") from e
    try:
        with os.fdopen(descriptor, "wb") as file, _session() as session:
            manifest = _write(file, session)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return manifest


def _write(file: Any, session: psycopg.Connection[Any]) -> dict[str, Any]:
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    manifest: dict[str, Any] = {
        "format": FORMAT, "version": settings.VERSION, "at": str(_one(session, "SELECT clock_timestamp()")),
        "postgres": _one(session, "SHOW server_version"), "migrations": _migrations(session), "tables": {},
    }  # fmt: skip
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=5) as archive:
        for table, columns in _tables(session).items():
            kept = [c for c in columns if c not in _NEW.get(table, ())]
            with archive.open(f"tables/{table}", "w", force_zip64=True) as member, session.cursor() as cursor:
                with cursor.copy(_copy_out(table, kept)) as rows:
                    for data in rows:
                        member.write(data)
                manifest["tables"][table] = {"columns": kept, "rows": cursor.rowcount}
        archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
    session.execute("COMMIT")
    return manifest


def restore(path: Path) -> dict[str, Any]:
    """Put a backup into an empty database, whose tables are made first if need be; the manifest. All or nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read(MANIFEST))
            if manifest.get("format") != FORMAT:
                raise BackupProblem(f"{path} has format {manifest.get('format')}, this version reads {FORMAT}. Restore it with version {manifest.get('version')}.")
            if archive.testzip() is not None:
                raise BackupProblem(f"{path} is damaged. Take another backup.")
            call_command("migrate", interactive=False, verbosity=0)
            connection.close()
            with _session() as session:
                _check(session, manifest)
                _read(session, archive, manifest)
    except (zipfile.BadZipFile, KeyError, ValueError) as e:
        raise BackupProblem(f"{path} is no backup of Trackside: {e}.") from e
    except OSError as e:
        raise BackupProblem(f"{path}: {e.strerror or e}.") from e
    return manifest  # type: ignore[no-any-return]


def _check(session: psycopg.Connection[Any], manifest: dict[str, Any]) -> None:
    here, there = set(_migrations(session)), set(manifest["migrations"])
    if here != there:
        missing = sorted(there - here)
        if missing:
            raise BackupProblem(f"The backup is of a newer version ({manifest['version']}): this one does not know {missing[0]}. Install that version.")
        raise BackupProblem(
            f"The backup is of an older version ({manifest['version']}), before {sorted(here - there)[0]}. Restore it with that version "
            "into an empty database, then install this one and run: trackside db upgrade"
        )
    used = [table for table in _USED if _one(session, sql.SQL("SELECT EXISTS (SELECT 1 FROM {})").format(sql.Identifier(table)))]
    if used:
        raise BackupProblem(f"The database is in use: {used[0]} is not empty. Restore into a new one (DATABASE_URL) and point Trackside there.")


def _read(session: psycopg.Connection[Any], archive: zipfile.ZipFile, manifest: dict[str, Any]) -> None:
    have = _tables(session)
    with session.transaction():
        session.execute("SET CONSTRAINTS ALL DEFERRED")
        for table in have:
            if table not in _USED:
                session.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))  # what the migrations put there
        for table, told in manifest["tables"].items():
            if table not in have:
                raise BackupProblem(f"The backup has a table {table}, which this version does not know. Restore it with version {manifest['version']}.")
            with session.cursor() as cursor, cursor.copy(_copy_in(table, told["columns"])) as rows, archive.open(f"tables/{table}") as member:
                while data := member.read(_CHUNK):
                    rows.write(data)
        _set_sequences(session, have)
        # another server counts transactions anew: all events are of now, and all of them are in the tallies
        session.execute(
            "INSERT INTO runs_tallycursor (id, xid, event_id) VALUES (1, pg_current_xact_id()::text::bigint, (SELECT coalesce(max(id), 0) FROM runs_event)) "
            "ON CONFLICT (id) DO UPDATE SET xid = excluded.xid, event_id = excluded.event_id"
        )
        session.execute("UPDATE runs_process SET ended_at = heartbeat_at, lease_until = heartbeat_at WHERE ended_at IS NULL")


def _set_sequences(session: psycopg.Connection[Any], tables: dict[str, list[str]]) -> None:
    for table, columns in tables.items():
        if "id" in columns and (name := _one(session, "SELECT pg_get_serial_sequence(%s, 'id')", [f'"{table}"'])):
            session.execute(
                sql.SQL("SELECT setval(%s, coalesce((SELECT max(id) FROM {}), 0) + 1, false)").format(sql.Identifier(table)), [name]
            )


# --- the connection -----------------------------------------------------------------------------------------------------
@contextmanager
def _session() -> Iterator[psycopg.Connection[Any]]:
    """A connection of its own, outside of Django's transactions."""
    parameters = {k: v for k, v in connection.get_connection_params().items() if k not in ("cursor_factory", "context")}
    with psycopg.connect(**parameters, autocommit=True) as session:
        yield session


def _tables(session: psycopg.Connection[Any]) -> dict[str, list[str]]:
    return {name: columns for name, columns in session.execute(_TABLES).fetchall() if name not in _LEFT_OUT}


def _migrations(session: psycopg.Connection[Any]) -> list[str]:
    return [f"{app}.{name}" for app, name in session.execute("SELECT app, name FROM django_migrations ORDER BY app, name").fetchall()]


def _copy_out(table: str, columns: list[str]) -> sql.Composed:
    """Of a query: a partitioned table by itself has nothing to copy."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(names, sql.Identifier(table))


def _copy_in(table: str, columns: list[str]) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)


def _one(session: psycopg.Connection[Any], statement: Any, parameters: Any = None) -> Any:
    row = session.execute(statement, parameters).fetchone()
    return row[0] if row else None
