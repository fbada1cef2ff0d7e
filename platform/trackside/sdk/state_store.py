"""Words of the state stores that DAG files and back ends name (rows 1.248, 1.250); the accessors are in `execution/state_stores.py`."""

from __future__ import annotations

import abc
import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

NEVER_EXPIRE = dt.timedelta.max
"""`task_state_store.set(…, retention=NEVER_EXPIRE)`: compared by identity."""


@dataclass(frozen=True)
class TaskScope:
    """The task instance whose store it is."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1


@dataclass(frozen=True)
class AssetScope:
    """The asset whose store it is; at least one of the three is known."""

    asset_id: int | None = None
    name: str | None = None
    uri: str | None = None

    def __post_init__(self) -> None:
        if self.asset_id is None and not self.name and not self.uri:
            raise ValueError("AssetScope requires at least one of: asset_id, name, or uri")


StoreScope = TaskScope | AssetScope


class BaseStoreBackend(abc.ABC):
    """Keeps values elsewhere (object storage, a secrets manager); the server then holds a reference only.

    Named by its class path in AIRFLOW__WORKERS__STATE_STORE_BACKEND of the worker. Of its methods Trackside calls those that
    make and follow references, `delete` and `clear`; a reference must follow from scope and key alone.
    """

    @abc.abstractmethod
    def get(self, scope: StoreScope, key: str, *, session: Any = None) -> str | None:
        """One value as JSON text."""

    @abc.abstractmethod
    def set(self, scope: StoreScope, key: str, value: str, *, expires_at: dt.datetime | None = None, session: Any = None) -> None:
        """Keep a value (JSON text)."""

    @abc.abstractmethod
    def delete(self, scope: StoreScope, key: str, *, session: Any = None) -> None:
        """Forget one value."""

    @abc.abstractmethod
    def clear(self, scope: StoreScope, *, all_map_indices: bool = False, session: Any = None) -> None:
        """Forget all values of the scope."""

    @abc.abstractmethod
    async def aget(self, scope: StoreScope, key: str, *, session: Any = None) -> str | None:
        """`get`, awaited."""

    @abc.abstractmethod
    async def aset(self, scope: StoreScope, key: str, value: str, *, expires_at: dt.datetime | None = None, session: Any = None) -> None:
        """`set`, awaited."""

    @abc.abstractmethod
    async def adelete(self, scope: StoreScope, key: str, *, session: Any = None) -> None:
        """`delete`, awaited."""

    @abc.abstractmethod
    async def aclear(self, scope: StoreScope, *, all_map_indices: bool = False, session: Any = None) -> None:
        """`clear`, awaited."""

    def cleanup(self) -> None:  # noqa: B027 — a hook that back ends may leave as it is
        """Forget what expired."""

    def serialize_task_state_store_to_ref(self, *, value: Any, key: str, scope: TaskScope) -> str:
        """Keep a task's value; the text that names it."""
        return json.dumps(value)

    def deserialize_task_state_store_from_ref(self, stored: str) -> Any:
        """The task's value of that name."""
        return json.loads(stored)

    def serialize_asset_state_store_to_ref(self, *, value: Any, key: str, scope: AssetScope) -> str:
        """Keep an asset's value; the text that names it."""
        return json.dumps(value)

    def deserialize_asset_state_store_from_ref(self, stored: str) -> Any:
        """The asset's value of that name."""
        return json.loads(stored)
