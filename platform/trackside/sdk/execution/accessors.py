"""`var` and `conn` of templates: attributes that are looked up when they are named.

For `context.py`. Missing names raise what `Variable.get` and `Connection.get` raise: the try fails with that sentence.
"""

from __future__ import annotations

from typing import Any

from trackside.sdk.connection import Connection
from trackside.sdk.exceptions import AirflowNotFoundException
from trackside.sdk.types import NOTSET
from trackside.sdk.variable import Variable


class VariableAccessor:
    """`var.value` (text) or `var.json` (read as JSON)."""

    def __init__(self, deserialize_json: bool) -> None:
        self._deserialize_json = deserialize_json

    def __repr__(self) -> str:
        return f"<VariableAccessor {'json' if self._deserialize_json else 'value'}>"

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):
            raise AttributeError(key)
        return Variable.get(key, deserialize_json=self._deserialize_json)

    def get(self, key: str, default: Any = NOTSET) -> Any:
        """The variable, or `default` if it does not exist."""
        return Variable.get(key, default, deserialize_json=self._deserialize_json)


class ConnectionAccessor:
    """`conn.<id>`."""

    def __repr__(self) -> str:
        return "<ConnectionAccessor>"

    def __getattr__(self, conn_id: str) -> Connection:
        if conn_id.startswith("__"):
            raise AttributeError(conn_id)
        return Connection.get(conn_id)

    def get(self, conn_id: str, default_conn: Any = None) -> Any:
        """The connection, or `default_conn` if it does not exist."""
        try:
            return Connection.get(conn_id)
        except AirflowNotFoundException:
            return default_conn
