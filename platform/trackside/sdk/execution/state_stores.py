"""`task_state_store` and `asset_state_store` of the context (rows 1.248-1.250). For tasks; watchers have the asset's, too.

Values are JSON and belong to the server, or to the back end named in AIRFLOW__WORKERS__STATE_STORE_BACKEND: then the
server holds {"__airflow_state_ref__": reference}.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import logging
import os
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from trackside.sdk.exceptions import AirflowNotFoundException
from trackside.sdk.execution.comms import Comms, call
from trackside.sdk.state_store import NEVER_EXPIRE, AssetScope, BaseStoreBackend, TaskScope

logger = logging.getLogger("task")

REFERENCE = "__airflow_state_ref__"


@cache
def _backend_of(classpath: str) -> BaseStoreBackend:
    module, _, name = classpath.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)()  # type: ignore[no-any-return]  # what the setting names
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"[workers] state_store_backend names {classpath!r}, which cannot be loaded: {error}") from error


def backend() -> BaseStoreBackend | None:
    """The worker's back end, if one is named."""
    classpath = os.environ.get("AIRFLOW__WORKERS__STATE_STORE_BACKEND", "")
    return _backend_of(classpath) if classpath else None


def _checked(key: str, value: Any) -> None:
    if value is None:
        raise ValueError("Cannot set value as None")
    try:
        size = len(json.dumps(value))
    except TypeError as error:
        raise TypeError(f"The value of {key!r} must be JSON (text, number, bool, list, dict): {error}") from error
    limit = int(os.environ.get("AIRFLOW__STATE_STORE__MAX_VALUE_STORAGE_BYTES") or 65535)
    if 0 < limit < size:
        logger.warning(
            "The value of %r has %d bytes, more than max_value_storage_bytes=%d. "
            "Keep large values elsewhere: configure [workers] state_store_backend.",
            key, size, limit,
        )  # fmt: skip


def _reference(stored: Any) -> str | None:
    found = stored.get(REFERENCE) if isinstance(stored, dict) else None
    return found if isinstance(found, str) else None


class TaskStateStoreAccessor:
    """Values that this task instance keeps over its tries."""

    def __init__(self, comms: Comms, scope: TaskScope) -> None:
        self._comms, self._scope = comms, scope

    def __repr__(self) -> str:
        return f"<TaskStateStoreAccessor {self._scope}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskStateStoreAccessor) and self._scope == other._scope

    def __hash__(self) -> int:
        return hash(self._scope)

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or `default` if there is none."""
        try:
            stored = call(self._comms, "GET", "/state/task", params={"key": key})["value"]
        except AirflowNotFoundException:
            return default
        if (keeper := backend()) is not None and (reference := _reference(stored)) is not None:
            return keeper.deserialize_task_state_store_from_ref(reference)
        return stored

    def set(self, key: str, value: Any, *, retention: dt.timedelta | None = None) -> None:
        """Keep a value (JSON, not None) for `retention` from now; NEVER_EXPIRE for ever, None as long as the server is set to."""
        expires_at: str | None = "default"
        if retention is NEVER_EXPIRE:
            expires_at = None
        elif retention is not None:
            expires_at = (dt.datetime.now(dt.UTC) + retention).isoformat()
        if value is not None and (keeper := backend()) is not None:
            value = {REFERENCE: keeper.serialize_task_state_store_to_ref(value=value, key=key, scope=self._scope)}
        _checked(key, value)
        call(self._comms, "PUT", "/state/task", params={"key": key}, body={"value": value, "expires_at": expires_at})

    def delete(self, key: str) -> None:
        """Forget a value, if it is there."""
        call(self._comms, "DELETE", "/state/task", params={"key": key})
        if (keeper := backend()) is not None:
            keeper.delete(self._scope, key)

    def clear(self) -> None:
        """Forget all values of this task instance."""
        call(self._comms, "DELETE", "/state/task")
        if (keeper := backend()) is not None:
            keeper.clear(self._scope)


class AssetStateStoreAccessor:
    """Values of one asset, shared by all tasks and watchers that declare it."""

    def __init__(self, comms: Comms, *, name: str | None = None, uri: str | None = None) -> None:
        if not name and not uri:
            raise ValueError("Either `name` or `uri` must be provided")
        self._comms, self._scope = comms, AssetScope(name=name or None, uri=uri or None)
        self._named = {"name": name} if name else {"uri": uri}

    def __repr__(self) -> str:
        return f"<AssetStateStoreAccessor {self._named}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AssetStateStoreAccessor) and self._scope == other._scope

    def __hash__(self) -> int:
        return hash(self._scope)

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or `default` if there is none."""
        try:
            stored = call(self._comms, "GET", "/state/asset", params={**self._named, "key": key})["value"]
        except AirflowNotFoundException as error:
            if "key" not in str(error):  # the asset itself is not there
                raise
            return default
        if (keeper := backend()) is not None and (reference := _reference(stored)) is not None:
            return keeper.deserialize_asset_state_store_from_ref(reference)
        return stored

    def set(self, key: str, value: Any) -> None:
        """Keep a value (JSON, not None)."""
        if value is not None and (keeper := backend()) is not None:
            value = {REFERENCE: keeper.serialize_asset_state_store_to_ref(value=value, key=key, scope=self._scope)}
        _checked(key, value)
        call(self._comms, "PUT", "/state/asset", params={**self._named, "key": key}, body={"value": value})

    def delete(self, key: str) -> None:
        """Forget a value, if it is there."""
        call(self._comms, "DELETE", "/state/asset", params={**self._named, "key": key})
        if (keeper := backend()) is not None:
            keeper.delete(self._scope, key)

    def clear(self) -> None:
        """Forget all values of the asset."""
        call(self._comms, "DELETE", "/state/asset", params=self._named)
        if (keeper := backend()) is not None:
            keeper.clear(self._scope)

    async def aget(self, key: str, default: Any = None) -> Any:
        """`get`, awaited."""
        return await _aside(self.get, key, default)

    async def aset(self, key: str, value: Any) -> None:
        """`set`, awaited."""
        await _aside(self.set, key, value)

    async def adelete(self, key: str) -> None:
        """`delete`, awaited."""
        await _aside(self.delete, key)

    async def aclear(self) -> None:
        """`clear`, awaited."""
        await _aside(self.clear)


class AssetStateStoreAccessors:
    """`asset_state_store[asset]` for the inlets and outlets of a task; with only one of them its methods are here, too."""

    def __init__(self, comms: Comms, inlets: Iterable[Any], outlets: Iterable[Any] = ()) -> None:
        self._by_name: dict[str, AssetStateStoreAccessor] = {}
        self._by_uri: dict[str, AssetStateStoreAccessor] = {}
        for thing in inlets:
            self._add(comms, thing)
            if type(thing).__name__ == "AssetAlias":
                answer = call(comms, "GET", "/assets", params={"alias": thing.name})
                for asset in answer["assets"]:
                    self._by_name.setdefault(asset["name"], AssetStateStoreAccessor(comms, name=asset["name"]))
        for thing in outlets:  # an alias among them stands for no asset yet
            self._add(comms, thing)

    def _add(self, comms: Comms, thing: Any) -> None:
        from trackside.sdk.assets import Asset, AssetNameRef, AssetUriRef

        if isinstance(thing, Asset | AssetNameRef):
            self._by_name.setdefault(thing.name, AssetStateStoreAccessor(comms, name=thing.name))
        elif isinstance(thing, AssetUriRef):
            self._by_uri.setdefault(thing.uri, AssetStateStoreAccessor(comms, uri=thing.uri))

    def __len__(self) -> int:
        return len(self._by_name) + len(self._by_uri)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: Any) -> AssetStateStoreAccessor:
        from trackside.sdk.assets import Asset, AssetNameRef, AssetUriRef

        if not isinstance(key, Asset | AssetNameRef | AssetUriRef):
            raise TypeError(f"Expected Asset, AssetNameRef, or AssetUriRef; got {type(key).__name__}")
        found = self._by_uri.get(key.uri) if isinstance(key, AssetUriRef) else self._by_name.get(key.name)
        if found is None:
            raise KeyError(f"{key!r} is not in this task's inlets or outlets: add it there")
        return found

    def __getattr__(self, name: str) -> Any:
        if name not in ("get", "set", "delete", "clear", "aget", "aset", "adelete", "aclear"):
            raise AttributeError(name)
        if len(self) != 1:
            raise ValueError(
                f"Task has {len(self)} concrete inlets and outlets — use context['asset_state_store'][MY_ASSET] to specify which"
            )
        return getattr(next(iter((*self._by_name.values(), *self._by_uri.values()))), name)


async def _aside(function: Callable[..., Any], *arguments: Any) -> Any:
    import asyncio

    return await asyncio.to_thread(function, *arguments)
