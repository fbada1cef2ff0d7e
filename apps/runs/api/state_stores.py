"""REST: state stores of task instances and of assets (rows 5.108-5.118)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.conf import settings
from pydantic import AfterValidator
from pydantic import Field as Constraint

from apps.access import audit
from apps.access.rest.body import Body, Moment, SmallInt
from apps.access.rest.errors import not_found
from apps.access.rest.fields import anything, moment, nested, text, whole
from apps.access.rest.operations import Call, operation
from apps.access.rest.paging import PAGE
from apps.access.rest.params import Param
from apps.access.rest.resources import Resource
from apps.dags.models import Asset
from apps.runs import sql
from apps.runs.api.assets import the_asset
from apps.runs.api.lookups import run_rows
from apps.runs.models import TaskInstance
from apps.runs.stores import store
from trackside.runner.jsonio import exact_dumps, exact_loads

_FIELDS = (text("key"), anything("value", lambda row: exact_loads(row.value)), moment("updated_at", null=False))
_WRITER = (
    text("kind"),
    text("dag_id", null=True),
    text("run_id", null=True),
    text("task_id", null=True),
    whole("map_index", null=True),
)
TASK_STATES = Resource(
    "task_state_store",
    fields=(*_FIELDS, moment("expires_at")),
    orders={"key": "key"},
    default_order=("key",),
    tie="key",
)
ASSET_STATES = Resource(
    "asset_state_store",
    fields=(*_FIELDS, nested("last_updated_by", _WRITER, lambda row: row)),
    orders={"key": "key"},
    default_order=("key",),
    tie="key",
)


def _storable(value: Any) -> Any:
    if value is None:
        raise ValueError("value cannot be null")
    limit, size = settings.MAX_STATE_BYTES, len(exact_dumps(value))
    if limit and size > limit:
        raise ValueError(f"value has {size:,} bytes, the limit is {limit:,}: raise TRACKSIDE_MAX_STATE_BYTES, or 0 for no limit")
    return value


_Value = Annotated[Any, AfterValidator(_storable)]


class TaskStateBody(Body):
    """A value and when it expires: a moment, null for never, "default" for the setting."""

    value: _Value
    expires_at: Moment | Literal["default"] | None = "default"


class ValueBody(Body):
    """A value."""

    value: _Value


_ALL = "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store"
_ONE = f"{_ALL}/{{key:path}}"
_INDEX = Param("map_index", Annotated[SmallInt, Constraint(ge=-1)], -1)
_ALL_INDICES = Param("all_map_indices", bool, False)


def _scope(call: Call, dag_id: str, run_id: str, task_id: str) -> store.Scope:
    """What a path names, whether or not there is such a task instance."""
    run_pk = run_rows(call).filter(dag_id=dag_id, run_id=run_id).values_list("pk", flat=True).first()
    return store.Scope(run_pk or 0, task_id, call.query["map_index"])


def _existing(call: Call, dag_id: str, run_id: str, task_id: str, *, all_indices: bool = False) -> store.Scope:
    scope = _scope(call, dag_id, run_id, task_id)
    tis = TaskInstance.objects.filter(run=scope.run_pk, task_id=task_id)
    if not (tis if all_indices else tis.filter(map_index=scope.map_index)).exists():
        which = "all_map_indices=True" if all_indices else f"map_index={scope.map_index}"
        raise not_found(f"Task instance not found for dag_id={dag_id!r}, run_id={run_id!r}, task_id={task_id!r}, {which}")
    return scope


@operation(f"GET {_ALL}", may=("read", "task"), query=(*PAGE, _INDEX), returns=TASK_STATES.list_schema)
def list_task_state_store(call: Call, dag_id: str, dag_run_id: str, task_id: str) -> dict[str, Any]:
    """List what a task instance keeps."""
    return TASK_STATES.page(call, store.list_task(_scope(call, dag_id, dag_run_id, task_id)))


@operation(f"GET {_ONE}", may=("read", "task"), query=(_INDEX,), returns=TASK_STATES.schema)
def get_task_state_store(call: Call, dag_id: str, dag_run_id: str, task_id: str, key: str) -> dict[str, Any]:
    """One value that a task instance keeps."""
    found = store.get_task(_scope(call, dag_id, dag_run_id, task_id), key)
    if found is None:
        raise not_found(f"Task state store key {key!r} not found")
    return TASK_STATES.one(found, call)


@operation(f"PUT {_ONE}", may=("edit", "task"), query=(_INDEX,), body=TaskStateBody, status=204)
def set_task_state_store(call: Call, dag_id: str, dag_run_id: str, task_id: str, key: str) -> None:
    """Create or overwrite a value."""
    body: TaskStateBody = call.body
    scope = _existing(call, dag_id, dag_run_id, task_id)
    before = _kept(store.get_task(scope, key))
    store.set_task(scope, key, body.value, body.expires_at, sql.now())
    _note(call, "set_task_state", dag_id, dag_run_id, task_id, key, before=before, after=_kept(store.get_task(scope, key)))


@operation(f"PATCH {_ONE}", may=("edit", "task"), query=(_INDEX,), body=ValueBody)
def patch_task_state_store(call: Call, dag_id: str, dag_run_id: str, task_id: str, key: str) -> None:
    """Give an existing value another content; its expiry stays."""
    body: ValueBody = call.body
    scope = _existing(call, dag_id, dag_run_id, task_id)
    before = _kept(store.get_task(scope, key))
    if not store.patch_task(scope, key, body.value, sql.now()):
        raise not_found(f"Task state store key {key!r} not found")
    _note(call, "set_task_state", dag_id, dag_run_id, task_id, key, before=before, after=_kept(store.get_task(scope, key)))


@operation(f"DELETE {_ONE}", may=("delete", "task"), query=(_INDEX,), status=204)
def delete_task_state_store(call: Call, dag_id: str, dag_run_id: str, task_id: str, key: str) -> None:
    """Delete a value, if it is there."""
    scope = _existing(call, dag_id, dag_run_id, task_id)
    before = _kept(store.get_task(scope, key))
    store.delete_task(scope, key)
    _note(call, "delete_task_state", dag_id, dag_run_id, task_id, key, before=before)


@operation(f"DELETE {_ALL}", may=("delete", "task"), query=(_INDEX, _ALL_INDICES), status=204)
def clear_task_state_store(call: Call, dag_id: str, dag_run_id: str, task_id: str) -> None:
    """Delete all values of a task instance, or with all_map_indices those of all instances of the task."""
    everywhere = call.query["all_map_indices"]
    store.clear_task(_existing(call, dag_id, dag_run_id, task_id, all_indices=everywhere), all_indices=everywhere)
    _note(call, "clear_task_state", dag_id, dag_run_id, task_id)


def _kept(entry: Any) -> dict[str, int] | None:
    """What the trail says of a value: how long it is. The value is user code's, and may hold anything."""
    return None if entry is None else {"length": len(entry.value)}


def _note(call: Call, what: str, dag_id: str, run_id: str, task_id: str, key: str = "", **change: Any) -> None:
    name = f"{dag_id}/{run_id}/{task_id}" + (f"/{key}" if key else "")
    told = {side: of for side, of in change.items() if of is not None}
    audit.record(what, call.actor, object_type="task_state", object_id=name[:250], extra=told)


_OF_ASSET = "/assets/{asset_id}/state-store"
_ONE_OF_ASSET = f"{_OF_ASSET}/{{key:path}}"
_BY_API = store.Writer("api")


def _asset(asset_id: int) -> int:
    return the_asset(Asset.objects.all(), asset_id).pk


@operation(f"GET {_OF_ASSET}", may=("read", "asset"), path={"asset_id": int}, query=PAGE, returns=ASSET_STATES.list_schema)
def list_asset_state_store(call: Call, asset_id: int) -> dict[str, Any]:
    """List the values of an asset."""
    return ASSET_STATES.page(call, store.list_asset(_asset(asset_id)))


@operation(f"GET {_ONE_OF_ASSET}", may=("read", "asset"), path={"asset_id": int}, returns=ASSET_STATES.schema)
def get_asset_state_store(call: Call, asset_id: int, key: str) -> dict[str, Any]:
    """One value of an asset."""
    found = store.get_asset(_asset(asset_id), key)
    if found is None:
        raise not_found(f"Asset state store key {key!r} not found")
    return ASSET_STATES.one(found, call)


@operation(f"PUT {_ONE_OF_ASSET}", may=("edit", "asset"), path={"asset_id": int}, body=ValueBody, status=204)
def set_asset_state_store(call: Call, asset_id: int, key: str) -> None:
    """Create or overwrite a value of an asset."""
    body: ValueBody = call.body
    before = _kept(store.get_asset(_asset(asset_id), key))
    store.set_asset(_asset(asset_id), key, body.value, _BY_API, sql.now())
    told = {"key": key, **({"before": before} if before else {}), "after": _kept(store.get_asset(_asset(asset_id), key))}
    audit.record("set_asset_state", call.actor, object_type="asset", object_id=str(asset_id), extra=told)


@operation(f"DELETE {_ONE_OF_ASSET}", may=("delete", "asset"), path={"asset_id": int}, status=204)
def delete_asset_state_store(call: Call, asset_id: int, key: str) -> None:
    """Delete a value of an asset, if it is there."""
    before = _kept(store.get_asset(_asset(asset_id), key))
    store.delete_asset(_asset(asset_id), key)
    told = {"key": key, **({"before": before} if before else {})}
    audit.record("delete_asset_state", call.actor, object_type="asset", object_id=str(asset_id), extra=told)


@operation(f"DELETE {_OF_ASSET}", may=("delete", "asset"), path={"asset_id": int}, status=204)
def clear_asset_state_store(call: Call, asset_id: int) -> None:
    """Delete all values of an asset."""
    before = {"values": store.list_asset(_asset(asset_id)).count()}
    store.clear_asset(_asset(asset_id))
    audit.record("clear_asset_state", call.actor, object_type="asset", object_id=str(asset_id), extra={"before": before})
