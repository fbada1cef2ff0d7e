"""BaseHook: the parent of every provider's hook, which finds its connection by id.

For provider packages and DAG authors. Next door: `connection` holds what a hook finds.
"""

from __future__ import annotations

from typing import Any

from trackside.sdk import installed
from trackside.sdk.connection import Connection
from trackside.sdk.exceptions import AirflowException
from trackside.sdk.log import LoggingMixin


class BaseHook(LoggingMixin):
    """Interface to an outside system. Subclasses implement `get_conn`."""

    conn_name_attr: str
    default_conn_name: str
    conn_type: str
    hook_name: str

    def __init__(self, logger_name: str | None = None) -> None:
        super().__init__()
        self._log_config_logger_name = "airflow.task.hooks"
        self._logger_name = logger_name

    @classmethod
    def get_connections(cls, conn_id: str) -> list[Connection]:
        """The connection of that id, as a list of one."""
        return [cls.get_connection(conn_id)]

    @classmethod
    def get_connection(cls, conn_id: str) -> Connection:
        """The connection of that id; AirflowNotFoundException if there is none."""
        return Connection.get(conn_id)

    @classmethod
    async def aget_connection(cls, conn_id: str) -> Connection:
        """`get_connection` for code in an event loop."""
        return await Connection.async_get(conn_id)

    @classmethod
    def get_hook(cls, conn_id: str, hook_params: dict[str, Any] | None = None) -> Any:
        """The hook that a provider registered for the type of this connection."""
        return cls.get_connection(conn_id).get_hook(hook_params=hook_params)

    def get_conn(self) -> Any:
        """A live connection to the system."""
        raise NotImplementedError()

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Form fields of this connection type (not used by Trackside's forms)."""
        return {}

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """How the form of this connection type looks (not used by Trackside's forms)."""
        return {}


def _hook_classes() -> dict[str, str]:
    """Connection type → dotted name of the hook class, from the provider packages installed here."""
    found: dict[str, str] = {}
    for _, item in installed.announced("connection-types"):
        found.setdefault(item["connection-type"], item["hook-class-name"])
    return found


def hook_for(connection: Connection, **params: Any) -> Any:
    """The provider's hook for a connection. AirflowException if no installed provider knows its type."""
    dotted = _hook_classes().get(connection.conn_type)
    if dotted is None:
        raise AirflowException(
            f'Unknown hook type "{connection.conn_type}" of connection {connection.conn_id}: '
            "install the provider package that brings it."
        )
    cls = installed.load(dotted)
    return cls(**{cls.conn_name_attr: connection.conn_id}, **params)
