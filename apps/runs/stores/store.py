"""Reading and writing the state stores: for tasks and watchers (`execution.stores`, the triggerer) and people (REST).

A call is one statement. What may be kept: any JSON but null, in TRACKSIDE_MAX_STATE_BYTES when it comes by REST (a task is
only warned, as in Airflow).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from apps.runs import sql
from apps.runs.errors import Invalid
from apps.runs.stores.models import LONGEST_KEY, AssetStateEntry, TaskStateEntry
from trackside.runner.jsonio import exact_dumps

DEFAULT = "default"
"""As an expiry: after TRACKSIDE_STATE_RETENTION_DAYS."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The task instance that a value belongs to."""

    run_pk: int
    task_id: str
    map_index: int = -1


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes an asset's value: a task (all fields), `api` or `watcher`."""

    kind: str
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None


def dumped(key: str, value: Any) -> str:
    """The stored form of a value; raises Invalid for a key or value that cannot be kept."""
    if not 0 < len(key) <= LONGEST_KEY or "\x00" in key:
        raise Invalid(f"A key of a state store must have 1 to {LONGEST_KEY} characters, without U+0000.", field="key")
    if value is None:
        raise Invalid("value cannot be null: delete the key instead.", field="value")
    try:
        return exact_dumps(value).decode()
    except TypeError as e:
        raise Invalid(f"value is not JSON: {e}", field="value") from e


def expiry(wish: datetime | str | None, now: datetime) -> datetime | None:
    """When a value expires: "default" asks the setting, None is never."""
    if wish == DEFAULT:
        days = settings.STATE_RETENTION_DAYS
        return now + timedelta(days=days) if days else None
    assert not isinstance(wish, str)  # checked where it came in
    return wish


# --- tasks ------------------------------------------------------------------------------------------------------------
def get_task(scope: Scope, key: str) -> TaskStateEntry | None:
    """One entry."""
    return _of(scope).filter(key=key).first()


def list_task(scope: Scope) -> Any:
    """All entries of a task instance, by key (a query set)."""
    return _of(scope).order_by("key")


def _of(scope: Scope) -> Any:
    return TaskStateEntry.objects.filter(run=scope.run_pk, task_id=scope.task_id, map_index=scope.map_index)


_SET_TASK = """
INSERT INTO runs_taskstateentry (run_id, task_id, map_index, key, value, updated_at, expires_at) VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (run_id, task_id, map_index, key)
DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at, expires_at = excluded.expires_at
"""


def set_task(scope: Scope, key: str, value: Any, expires_at: datetime | str | None, now: datetime) -> None:
    """Create or overwrite an entry."""
    sql.run(_SET_TASK, [scope.run_pk, scope.task_id, scope.map_index, key, dumped(key, value), now, expiry(expires_at, now)])


def patch_task(scope: Scope, key: str, value: Any, now: datetime) -> bool:
    """Give an existing entry another value, its expiry stays; whether there is one."""
    return bool(_of(scope).filter(key=key).update(value=dumped(key, value), updated_at=now))


def delete_task(scope: Scope, key: str) -> None:
    """Delete an entry, if it is there."""
    _of(scope).filter(key=key).delete()


def clear_task(scope: Scope, *, all_indices: bool = False) -> None:
    """Delete all entries of a task instance, or of all instances of the task."""
    (TaskStateEntry.objects.filter(run=scope.run_pk, task_id=scope.task_id) if all_indices else _of(scope)).delete()


def succeeded(instances: list[tuple[int, str, int]]) -> None:
    """Task instances succeeded, in the caller's transaction: (run pk, task id, map index). Their entries go if so set."""
    if settings.STATE_CLEAR_ON_SUCCESS and instances:
        runs, tasks, indexes = zip(*instances, strict=True)
        sql.run(
            "DELETE FROM runs_taskstateentry s USING unnest(%s::bigint[], %s::text[], %s::int[]) AS e(run_id, task_id, map_index) "
            "WHERE s.run_id = e.run_id AND s.task_id = e.task_id AND s.map_index = e.map_index",
            [list(runs), list(tasks), list(indexes)],
        )


# --- assets -----------------------------------------------------------------------------------------------------------
def get_asset(asset_pk: int, key: str) -> AssetStateEntry | None:
    """One entry."""
    return AssetStateEntry.objects.filter(asset=asset_pk, key=key).first()


def list_asset(asset_pk: int) -> Any:
    """All entries of an asset, by key (a query set)."""
    return AssetStateEntry.objects.filter(asset=asset_pk).order_by("key")


_SET_ASSET = """
INSERT INTO runs_assetstateentry (asset_id, key, value, updated_at, kind, dag_id, run_id, task_id, map_index)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (asset_id, key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at, kind = excluded.kind,
    dag_id = excluded.dag_id, run_id = excluded.run_id, task_id = excluded.task_id, map_index = excluded.map_index
"""


def set_asset(asset_pk: int, key: str, value: Any, by: Writer, now: datetime) -> None:
    """Create or overwrite an entry."""
    sql.run(_SET_ASSET, [asset_pk, key, dumped(key, value), now, by.kind, by.dag_id, by.run_id, by.task_id, by.map_index])


def delete_asset(asset_pk: int, key: str) -> None:
    """Delete an entry, if it is there."""
    AssetStateEntry.objects.filter(asset=asset_pk, key=key).delete()


def clear_asset(asset_pk: int) -> None:
    """Delete all entries of an asset."""
    AssetStateEntry.objects.filter(asset=asset_pk).delete()


# --- retention --------------------------------------------------------------------------------------------------------
_CLEAN = """
DELETE FROM runs_taskstateentry
WHERE id IN (SELECT id FROM runs_taskstateentry WHERE expires_at < clock_timestamp() ORDER BY expires_at LIMIT %s)
"""


def expired() -> int:
    """How many entries `clean` would delete because they expired."""
    return int(sql.rows("SELECT count(*) FROM runs_taskstateentry WHERE expires_at < clock_timestamp()")[0][0])


def clean(bite: int = 20_000) -> int:
    """Delete expired entries, and those of assets that nothing refers to; how many. In small bites."""
    total = 0
    while True:
        gone = sql.run(_CLEAN, [bite])
        total += gone
        if gone < bite:
            break
    return total + sql.run("DELETE FROM runs_assetstateentry s USING dags_asset a WHERE a.id = s.asset_id AND NOT a.is_active")
