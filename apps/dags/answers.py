"""Variables and connections for files that read them at their top level, answered in the processor.

For `processor`, which hands it to the parse server. The process of the file has no way to the database of its own.
Paths and bodies are those that tasks use (`/execution`).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from apps.access import teams
from apps.access.models import Connection, Variable


def answer(method: str, path: str, params: dict[str, Any], *, bundle: str | None = None) -> tuple[int, Any]:
    """Status and JSON for GET /variables, /variables/{key} and /connections/{id}.

    `bundle`: whose code asks (see `teams`); a refusal because of that has a `reason`.
    """
    head, _, name = path.lstrip("/").partition("/")
    name = unquote(name)
    if method == "GET" and head == "variables" and not name:
        keys = Variable.objects.filter(teams.readable(bundle), key__startswith=params.get("prefix") or "").order_by("key")
        return 200, {"keys": list(keys.values_list("key", flat=True))}
    if method == "GET" and head == "variables":
        variable = Variable.objects.filter(key=name).first()
        if variable is None:
            return 404, {"detail": f"Variable {name} does not exist"}
        if not teams.may_have(variable, bundle):
            return 403, {"detail": teams.refusal("variable", name, place=("bundle", bundle or "none")), "reason": "team"}
        return 200, {"key": name, "value": variable.value}
    if method == "GET" and head == "connections":
        connection = Connection.objects.filter(conn_id=name).first()
        if connection is None:
            return 404, {"detail": f"The conn_id `{name}` isn't defined"}
        if not teams.may_have(connection, bundle):
            return 403, {"detail": teams.refusal("connection", name, place=("bundle", bundle or "none")), "reason": "team"}
        return 200, fields_of(connection)
    return 403, {"detail": f"{method} {path} is not possible while a DAG file is parsed: do it in a task."}


def fields_of(connection: Connection) -> dict[str, Any]:
    """A connection with its secrets, for code that may have it."""
    fields = ("conn_id", "conn_type", "description", "host", "schema", "login", "password", "port", "extra")
    return {field: getattr(connection, field) for field in fields}
