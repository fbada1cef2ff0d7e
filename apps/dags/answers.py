"""Variables and connections for files that read them at their top level, answered in the processor.

For `processor`, which hands it to the parse server. The process of the file has no way to the database of its own.
Paths and bodies are those that tasks use (`/execution`).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from apps.access import surroundings, teams
from apps.access.models import Connection, Variable


def answer(method: str, path: str, params: dict[str, Any], *, code: teams.Code | None = None) -> tuple[int, Any]:
    """Status and JSON for GET /variables, /variables/{key} and /connections/{id}.

    `code`: whose code asks (see `teams`). What is another team's is not found, and the trail knows.
    """
    head, _, name = path.lstrip("/").partition("/")
    name = unquote(name)
    if method == "GET" and head == "variables" and not name:
        keys = Variable.objects.filter(teams.readable(code), key__startswith=params.get("prefix") or "").order_by("key")
        return 200, {"keys": list(keys.values_list("key", flat=True))}
    if method == "GET" and head == "variables":
        if (text := surroundings.variable(name, lambda: code)) is not None:
            return 200, {"key": name, "value": text}
        variable = Variable.objects.filter(key=name).first()
        if variable is None or not _may_have(variable, code, "variable", name):
            return 404, {"detail": f"Variable {name} does not exist"}
        return 200, {"key": name, "value": variable.value}
    if method == "GET" and head == "connections":
        if (fields := surroundings.connection(name, lambda: code)) is not None:
            return 200, fields
        connection = Connection.objects.filter(conn_id=name).first()
        if connection is None or not _may_have(connection, code, "connection", name):
            return 404, {"detail": f"The conn_id `{name}` isn't defined"}
        return 200, fields_of(connection)
    return 403, {"detail": f"{method} {path} is not possible while a DAG file is parsed: do it in a task."}


def _may_have(secret: Connection | Variable, code: teams.Code | None, kind: str, name: str) -> bool:
    if teams.may_have(secret, code):
        return True
    teams.refused(kind, name, place=("bundle", code.bundle if code else "none"))
    return False


def fields_of(connection: Connection) -> dict[str, Any]:
    """A connection with its secrets, for code that may have it."""
    fields = ("conn_id", "conn_type", "description", "host", "schema", "login", "password", "port", "extra")
    return {field: getattr(connection, field) for field in fields}
