"""Airflow's metadata database, read-only: PostgreSQL, SQLite, and MySQL where a driver is installed.

For `import_airflow` and `history`. Columns are looked up first, so that databases of Airflow 2 and 3 can be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import unquote, urlsplit

from apps.runs.imports.items import Found, Line, Unreadable

CHUNK = 1000


class Source:
    """An open database. Statements are this module's own; values travel as parameters."""

    def __init__(self, connection: Any, mark: str, quote: str = '"') -> None:
        self._connection, self._mark, self._quote = connection, mark, quote

    def rows(self, table: str, columns: Sequence[str], where: str = "", values: Sequence[Any] = ()) -> Iterator[dict[str, Any]]:
        """Rows of a table; columns it does not have are None. Raises Unreadable when there is no such table."""
        there = self._columns(table)
        names = [column for column in columns if column in there]
        listed = ", ".join(f"{self._quote}{name}{self._quote}" for name in names)
        statement = f"SELECT {listed} FROM {table} {where.replace('?', self._mark)}"  # noqa: S608 - names of this package only
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(statement, tuple(values))
            while batch := cursor.fetchmany(CHUNK):
                for row in batch:
                    yield dict.fromkeys(columns) | dict(zip(names, row, strict=True))

    def has(self, table: str, column: str) -> bool:
        """Whether the table has that column."""
        return column in self._columns(table)

    def _columns(self, table: str) -> set[str]:
        with closing(self._connection.cursor()) as cursor:
            try:
                cursor.execute(f"SELECT * FROM {table} WHERE 1 = 0")  # noqa: S608 - as above
            except Exception as error:
                raise Unreadable(f"this is no database of Airflow: {' '.join(str(error).split())}") from error
            return {column[0] for column in cursor.description}

    def close(self) -> None:
        """Done."""
        self._connection.close()


def connect(url: str) -> Source:
    """Open `postgresql://…`, `sqlite:///path` or `mysql://…` (SQLAlchemy's `+driver` may stay), so that nothing can be written.

    Raises Unreadable.
    """
    scheme = urlsplit(url).scheme.partition("+")[0]
    try:
        if scheme in ("postgresql", "postgres"):
            return _postgres(url)
        if scheme == "sqlite":
            return _sqlite(url)
        if scheme == "mysql":
            return _mysql(url)
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"the database cannot be opened: {' '.join(str(error).split())}") from error
    raise Unreadable(f"{scheme or url!r} is no database that can be read; write postgresql://, sqlite:/// or mysql://")


def _postgres(url: str) -> Source:
    import psycopg

    opened = psycopg.connect("postgresql://" + url.partition("://")[2], connect_timeout=10, autocommit=False)
    opened.read_only = True
    return Source(opened, "%s")


def _sqlite(url: str) -> Source:
    import sqlite3
    from pathlib import Path

    path = Path(unquote(url.partition("://")[2].removeprefix("/")) or "")
    path = path if path.exists() else Path("/") / path
    if not path.is_file():
        raise Unreadable(f"there is no file {path}")
    return Source(sqlite3.connect(f"file:{path}?mode=ro", uri=True), "?")


def _mysql(url: str) -> Source:
    try:
        import pymysql  # type: ignore[import-not-found, import-untyped, unused-ignore]  # only where it is installed
    except ImportError:
        raise Unreadable("reading MySQL needs a driver: pip install pymysql") from None
    parts = urlsplit(url)
    opened = pymysql.connect(
        host=parts.hostname or "localhost", port=parts.port or 3306, user=unquote(parts.username or ""),
        password=unquote(parts.password or ""), database=parts.path.lstrip("/"), connect_timeout=10,
    )  # fmt: skip
    with closing(opened.cursor()) as cursor:
        cursor.execute("SET SESSION TRANSACTION READ ONLY")
    return Source(opened, "%s", "`")


class Keys:
    """The Fernet keys of the old Airflow (newest first, comma separated), or none."""

    def __init__(self, text: str | None) -> None:
        from cryptography.fernet import Fernet, MultiFernet

        keys = [key.strip() for key in (text or "").split(",") if key.strip()]
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None
        except ValueError as error:
            raise Unreadable(f"this is no Fernet key: {error}; it is [core] fernet_key of the old Airflow") from None

    def open(self, stored: str | None, encrypted: Any) -> str | None:
        """The text. Raises LookupError with the reason when it cannot be read."""
        from cryptography.fernet import InvalidToken

        if not stored or not encrypted:
            return stored
        if self._fernet is None:
            raise LookupError("it is encrypted; give the old Fernet key with --fernet-key-file")
        try:
            return self._fernet.decrypt(stored.encode()).decode()
        except (InvalidToken, ValueError):
            raise LookupError("none of the Fernet keys opens it; give the one it was written with, too") from None


def read(source: Source, keys: Keys) -> Found:
    """Connections, variables and pools. What cannot be decrypted is skipped with the reason. Raises Unreadable."""
    found = Found()
    fields = ("conn_type", "description", "host", "schema", "login", "port")
    columns = (*fields, "conn_id", "password", "extra", "is_encrypted", "is_extra_encrypted")
    for row in source.rows("connection", columns):
        try:
            password = keys.open(row["password"], row["is_encrypted"])
            extra = keys.open(row["extra"], row["is_extra_encrypted"])
        except LookupError as why:
            found.skipped.append(Line("connection", row["conn_id"], "skipped", str(why)))
            continue
        found.connections[row["conn_id"]] = {**{name: row[name] for name in fields}, "password": password, "extra": extra}
    for row in source.rows("variable", ("key", "val", "description", "is_encrypted")):
        try:
            value = keys.open(row["val"], row["is_encrypted"]) or ""
        except LookupError as why:
            found.skipped.append(Line("variable", row["key"], "skipped", str(why)))
            continue
        found.variables[row["key"]] = {"value": value, "description": row["description"]}
    for row in source.rows("slot_pool", ("pool", "slots", "description", "include_deferred")):
        found.pools[row["pool"]] = {
            "slots": row["slots"], "description": row["description"] or None, "include_deferred": bool(row["include_deferred"])
        }  # fmt: skip
    return found
