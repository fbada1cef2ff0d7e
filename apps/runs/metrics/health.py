"""Is it alive, is it ready, is the whole well? What `/health…` answers; `door` speaks HTTP.

Alive: this process answers; nothing else is asked, because a restart mends nothing else. Ready: it could serve a request now,
so the database answers and has the tables of this version. Well: every kind of process that must exist gives signs of life.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor

from apps.access import schema
from apps.runs import sql
from trackside.executors import registry

_KINDS = """
SELECT kind, count(*) FILTER (WHERE lease_until > clock_timestamp()), extract(epoch FROM clock_timestamp() - max(heartbeat_at))
FROM runs_process WHERE ended_at IS NULL OR ended_at > clock_timestamp() - interval '1 hour' GROUP BY 1
"""
_WAITED_FOR = """
SELECT EXISTS (SELECT 1 FROM runs_trigger t JOIN runs_taskinstance ti ON ti.id = t.ti_id AND ti.try_id = t.try_id
        WHERE ti.state = 'deferred')
    OR EXISTS (SELECT 1 FROM runs_watcher)
"""
_ready = False


def pending_migrations() -> list[str]:
    """Names (`app.0001_name`) of the migrations that the database lacks, in the order in which they would be applied."""
    executor = MigrationExecutor(connection)
    return [f"{m.app_label}.{m.name}" for m, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]


def misfit() -> str:
    """Empty when the tables are this version's, else the sentence that says what to do."""
    if why := schema.newer():
        return why
    if missing := pending_migrations():
        return f"The database lacks {len(missing)} migrations, the first is {missing[0]}. Run: trackside db upgrade"
    return ""


def readiness() -> str:
    """Empty when this process can serve, else the sentence that says why not."""
    global _ready
    try:
        sql.rows("SELECT 1")
        if not _ready and (why := misfit()):
            return why
    except (DatabaseError, InterfaceError) as e:
        connection.close()
        return f"The database does not answer: {(str(e).strip().splitlines() or ['no reason given'])[0]}"
    _ready = True  # tables do not go away again while this version runs
    return ""


def whole() -> tuple[bool, dict[str, Any]]:
    """(all well, the parts): `status` of each kind of process, how many answer, and since when none did."""
    if why := readiness():
        return False, {"status": "unhealthy", "database": {"status": "unhealthy", "why": why}}
    found = {kind: (alive, age) for kind, alive, age in sql.rows(_KINDS)}
    parts: dict[str, Any] = {"database": {"status": "healthy"}}
    needed = _needed()
    for kind in (*needed, *(k for k in sorted(found) if k not in needed)):
        alive, age = found.get(kind, (0, None))
        status = "healthy" if alive else "unhealthy" if kind in needed else "silent"
        parts[kind] = {"status": status, "alive": alive, "last_heartbeat_seconds": round(float(age), 1) if age is not None else None}
        if status == "unhealthy":
            parts[kind]["why"] = f"No {kind.replace('_', ' ')} answers. Start one: trackside {kind.replace('_', '-')}"
    well = all(part["status"] != "unhealthy" for part in parts.values())
    return well, {"status": "healthy" if well else "unhealthy", **parts}


def _needed() -> tuple[str, ...]:
    kinds = {e.kind for e in settings.EXECUTORS}
    more: tuple[str, ...] = ("executor",) if kinds - {registry.LOCAL} else ()
    more += ("triggerer",) if sql.rows(_WAITED_FOR)[0][0] else ()  # a site without deferrable tasks and watchers needs none
    return ("scheduler", "dag_processor", *more, *(("worker",) if kinds & {registry.LOCAL, "celery"} else ()))
