"""`airflow.secrets`: the parent of secrets back ends, which keep connections and variables outside, and the one of the environment.

Who asks them, and in which order: `trackside.sdk.secrets`. Next door: `secret_files` is the back end that reads local files.
"""

from __future__ import annotations

from typing import Any

from trackside.sdk import secrets
from trackside.sdk.connection import Connection

DEFAULT_SECRETS_SEARCH_PATH = ["airflow.secrets.environment_variables.EnvironmentVariablesBackend"]
CONN_ENV_PREFIX, VAR_ENV_PREFIX = secrets.CONNECTION_PREFIXES[0], secrets.VARIABLE_PREFIXES[0]


class BaseSecretsBackend:
    """Finds connections, variables and options by name; subclasses say where. None: it is not there."""

    _connection_class: type = Connection

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()

    @staticmethod
    def build_path(path_prefix: str, secret_id: str, sep: str = "/") -> str:
        """Name of a secret below a prefix."""
        return f"{path_prefix}{sep}{secret_id}"

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        """A connection as URI or JSON text."""
        raise NotImplementedError

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        """Text of a variable."""
        raise NotImplementedError

    def get_config(self, key: str) -> str | None:
        """Value of an option."""
        return None

    def _set_connection_class(self, conn_class: type) -> None:
        self._connection_class = conn_class

    def _get_connection_class(self) -> type:
        return self._connection_class

    def deserialize_connection(self, conn_id: str, value: str) -> Connection:
        """A connection from its text."""
        value = value.strip()
        return Connection.from_json(value, conn_id) if value.startswith("{") else Connection.from_uri(value, conn_id)

    def get_connection(self, conn_id: str, team_name: str | None = None) -> Connection | None:
        """The connection of that id."""
        value = self.get_conn_value(conn_id=conn_id)
        return self.deserialize_connection(conn_id=conn_id, value=value) if value else None


class EnvironmentVariablesBackend(BaseSecretsBackend):
    """`AIRFLOW_CONN_<ID>` and `AIRFLOW_VAR_<KEY>` (also with TRACKSIDE_)."""

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        """See the parent."""
        return secrets.from_environment(secrets.CONNECTION_PREFIXES, conn_id)

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        """See the parent."""
        return secrets.from_environment(secrets.VARIABLE_PREFIXES, key)
