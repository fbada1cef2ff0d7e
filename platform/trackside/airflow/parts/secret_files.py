"""`airflow.secrets.local_filesystem`: connections, variables and options from .json, .yaml and .env files (row 1.257).

A mistake in a file names file and line. The files are read once per process that asks.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import yaml

from trackside.airflow.parts.secrets import BaseSecretsBackend
from trackside.sdk.connection import Connection
from trackside.sdk.exceptions import AirflowException

_FIELDS = frozenset({"conn_id", "conn_type", "description", "host", "login", "password", "schema", "port", "extra", "uri"})


class AirflowFileParseException(AirflowException):
    """A file of secrets cannot be read: the message names file and line."""


def _read_env(path: str, text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not (equals and key.strip() and value):
            raise AirflowFileParseException(f"{path}, line {number}: write KEY=VALUE, with a key and a value.")
        found.setdefault(key.strip(), []).append(value)
    return found


def _read(path: str) -> dict[str, Any]:
    """What a file holds, by its suffix."""
    suffix, text = Path(path).suffix.lower(), Path(path).read_text()
    if suffix == ".env":
        return _read_env(path, text)
    if suffix not in (".json", ".yaml", ".yml"):
        raise AirflowException(f"{path}: a file of secrets must end in .env, .json, .yaml or .yml.")
    try:
        found = json.loads(text) if suffix == ".json" else yaml.safe_load(text)
    except ValueError as error:
        raise AirflowFileParseException(f"{path}, line {getattr(error, 'lineno', 1)}: {getattr(error, 'msg', error)}.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise AirflowFileParseException(f"{path}, line {mark.line + 1 if mark else 1}: {getattr(error, 'problem', 'not YAML')}.") from None
    if not isinstance(found, dict):
        raise AirflowFileParseException(f"{path}, line 1: write an object of names and values.")
    return found


def _single(path: str, key: str, value: Any) -> Any:
    if isinstance(value, list):
        if len(value) != 1:
            raise AirflowException(f"{path}: {key} has {len(value)} values; leave one.")
        return value[0]
    return value


def _connection(path: str, conn_id: str, value: Any) -> Connection:
    if isinstance(value, str):
        return Connection.from_json(value, conn_id) if value.lstrip().startswith("{") else Connection(conn_id=conn_id, uri=value)
    if not isinstance(value, dict):
        raise AirflowException(f"{path}: connection {conn_id} must be a URI or an object, not {type(value).__name__}.")
    fields = dict(value)
    if "extra_dejson" in fields:
        if "extra" in fields:
            raise AirflowException(f"{path}: connection {conn_id} has extra and extra_dejson; leave one of them.")
        fields["extra"] = fields.pop("extra_dejson")
    if unknown := sorted(set(fields) - _FIELDS):
        known = ", ".join(sorted(_FIELDS))
        raise AirflowException(f"{path}: connection {conn_id} has the unknown field {unknown[0]!r}; it may have {known}.")
    if fields.pop("conn_id", conn_id) != conn_id:
        raise AirflowException(f"{path}: connection {conn_id} has another conn_id inside; leave it out.")
    return Connection(conn_id=conn_id, **fields)


def load_variables(file_path: str) -> dict[str, Any]:
    """Variables of a file."""
    return {key: _single(file_path, key, value) if file_path.lower().endswith(".env") else value for key, value in _read(file_path).items()}


def load_connections_dict(file_path: str) -> dict[str, Connection]:
    """Connections of a file by id."""
    return {key: _connection(file_path, key, _single(file_path, key, value)) for key, value in _read(file_path).items()}


def load_configs_dict(file_path: str) -> dict[str, str]:
    """Options of a file."""
    return {key: _single(file_path, key, value) for key, value in _read(file_path).items()}


class LocalFilesystemBackend(BaseSecretsBackend):
    """Connections, variables and options from local files; each path may be left out."""

    def __init__(
        self, variables_file_path: str | None = None, connections_file_path: str | None = None, configs_file_path: str | None = None
    ) -> None:
        super().__init__()
        self.variables_file, self.connections_file, self.configs_file = variables_file_path, connections_file_path, configs_file_path

    @functools.cached_property
    def _local_variables(self) -> dict[str, Any]:
        return load_variables(self.variables_file) if self.variables_file else {}

    @functools.cached_property
    def _local_connections(self) -> dict[str, Connection]:
        return load_connections_dict(self.connections_file) if self.connections_file else {}

    @functools.cached_property
    def _local_configs(self) -> dict[str, str]:
        return load_configs_dict(self.configs_file) if self.configs_file else {}

    def get_connection(self, conn_id: str, team_name: str | None = None) -> Connection | None:
        """See the parent."""
        return self._local_connections.get(conn_id)

    def get_variable(self, key: str, team_name: str | None = None) -> Any:
        """See the parent."""
        return self._local_variables.get(key)

    def get_config(self, key: str) -> str | None:
        """See the parent."""
        return self._local_configs.get(key)
