"""New, changed, the same: what an import does to connections, variables and pools, and doing it.

For `import_airflow`. Changes go through the domain calls, so each is in the audit trail, without values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from apps.access import actions
from apps.access.audit import Actor
from apps.access.models import Connection, Variable
from apps.runs.actions import pools
from apps.runs.errors import ActionRefused
from apps.runs.imports.items import Found, Line
from apps.runs.models import Pool
from trackside.core import idtext

CONNECTION = ("conn_type", "description", "host", "schema", "login", "password", "port", "extra")
LONG = 250
Write = Callable[[], Any]


def plan(found: Found, actor: Actor, *, keep_existing: bool = False) -> Iterator[tuple[Line, Write | None]]:
    """What would happen to each thing, and the call that does it (None: nothing to do)."""
    yield from ((line, None) for line in found.skipped)
    yield from _connections(found, actor, keep_existing)
    yield from _variables(found, actor, keep_existing)
    yield from _pools(found, actor, keep_existing)


def _connections(found: Found, actor: Actor, keep: bool) -> Iterator[tuple[Line, Write | None]]:
    here = {c.conn_id: c for c in Connection.objects.filter(conn_id__in=list(found.connections))}
    for name, given in found.connections.items():
        values = {field: given.get(field) for field in CONNECTION}
        if not values["conn_type"]:
            yield Line("connection", name, "skipped", "it has no type; set conn_type in the source"), None
            continue
        values["port"] = int(values["port"]) if values["port"] not in (None, "") else None
        yield _one(
            "connection", name, here.get(name), values, keep,
            partial(actions.create_connection, name, values, actor=actor),
            partial(actions.update_connection, name, values, actor=actor, no_password_keeps=False),
        )  # fmt: skip


def _variables(found: Found, actor: Actor, keep: bool) -> Iterator[tuple[Line, Write | None]]:
    here = {v.key: v for v in Variable.objects.filter(key__in=list(found.variables))}
    for name, values in found.variables.items():
        yield _one(
            "variable", name, here.get(name), values, keep,
            partial(actions.create_variable, name, values, actor=actor),
            partial(actions.update_variable, name, values, actor=actor),
        )  # fmt: skip


def _pools(found: Found, actor: Actor, keep: bool) -> Iterator[tuple[Line, Write | None]]:
    here = {p.name: p for p in Pool.objects.filter(name__in=list(found.pools))}
    for name, given in found.pools.items():
        values = given if name != pools.DEFAULT_POOL else {k: given[k] for k in ("slots", "include_deferred")}
        yield _one(
            "pool", name, here.get(name), values, keep,
            partial(pools.create, name, values, actor=actor),
            partial(pools.update, name, values, actor=actor),
        )  # fmt: skip


def _one(kind: str, name: str, now: Any, values: dict[str, Any], keep: bool, create: Write, update: Write) -> tuple[Line, Write | None]:
    if not name or len(name) > LONG:
        return Line(kind, name[:60], "skipped", f"names have 1 to {LONG} characters"), None
    if now is None and (why := idtext.flaw(name, "name")):
        return Line(kind, name, "skipped", why), None
    if now is None:
        return Line(kind, name, "new"), create
    changed = sorted(field for field, value in values.items() if (getattr(now, field) or None) != (value or None))
    if not changed:
        return Line(kind, name, "same"), None
    if keep:
        return Line(kind, name, "skipped", f"it is here already with another {', '.join(changed)}, and --keep-existing was said"), None
    return Line(kind, name, "changed", ", ".join(changed)), update


def carry_out(line: Line, write: Write) -> Line:
    """Do it; what is refused becomes a skipped line with the reason."""
    try:
        write()
    except (ActionRefused, ValueError) as error:
        return Line(line.kind, line.name, "skipped", str(getattr(error, "detail", None) or error))
    return line
