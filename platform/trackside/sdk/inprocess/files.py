"""Connections and variables from files, in the forms Airflow's local files and exports have: .json, .yaml/.yml, .env.

For `dag.test(conn_file_path=…)` and `trackside import`. A connection is a URI or an object with its fields.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trackside.sdk.connection import Connection

_FIELDS = ("conn_type", "description", "host", "login", "password", "schema", "port", "extra")


class UnreadableFile(ValueError):
    """The file cannot be read as connections or variables; the message names the file and the place."""


def read_connections(path: str | Path) -> dict[str, dict[str, Any]]:
    """Connection id → its fields. Raises UnreadableFile."""
    return {conn_id: connection(value, f"{path}: {conn_id}") for conn_id, value in entries(Path(path)).items()}


def read_variables(path: str | Path) -> dict[str, str]:
    """Key → value as text. Values that are no text become JSON. Raises UnreadableFile."""
    return {key: variable(value) for key, value in entries(Path(path)).items()}


def read_variable_rows(path: str | Path) -> dict[str, dict[str, Any]]:
    """Key → `value` as text and, where the file has one, `description`. Raises UnreadableFile."""
    found = {}
    for key, value in entries(Path(path)).items():
        described = value.get("description") if _is_row(value) else None
        found[key] = {"value": variable(value), **({"description": described} if described else {})}
    return found


def connection(value: Any, where: str) -> dict[str, Any]:
    """The fields of one connection, written as URI, JSON text or object. Raises UnreadableFile."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    try:
        if isinstance(value, str) and not value.lstrip().startswith("{"):
            if "://" not in value:
                raise UnreadableFile(f"{where}: write it as type://login:password@host:port/schema or as JSON with conn_type")
            found = Connection.from_uri(value)
        elif isinstance(value, str | dict):
            found = Connection.from_json(value)
        else:
            raise UnreadableFile(f"{where}: a connection is a URI or an object with conn_type, host, …, not {type(value).__name__}")
    except UnreadableFile:
        raise
    except Exception as error:
        raise UnreadableFile(f"{where}: this is no connection: {error}") from error
    return {name: getattr(found, name) for name in _FIELDS}


def variable(value: Any) -> str:
    """A variable's text; Airflow's exports write {"value": …, "description": …} since 2.10, ours some columns more."""
    if _is_row(value):
        value = value["value"]
    return value if isinstance(value, str) else json.dumps(value)


def _is_row(value: Any) -> bool:
    """Whether this is a variable with what is said about it, and not an object that is the value itself."""
    return isinstance(value, dict) and "value" in value and set(value) <= {"key", "value", "description", "is_encrypted", "team_name"}


def entries(path: Path) -> dict[str, Any]:
    """Name → what the file says, whatever it is. Raises UnreadableFile."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror}") from error
    suffix = path.suffix.lower()
    if suffix == ".json":
        found = _json(path, text)
    elif suffix in (".yaml", ".yml"):
        found = read_yaml(path, text)
    elif suffix == ".env" or path.name == ".env":
        found = _env(path, text)
    else:
        raise UnreadableFile(f"{path}: the name of the file must end in .json, .yaml, .yml or .env")
    if not isinstance(found, dict):
        raise UnreadableFile(f"{path}: expected an object (name → value), not {type(found).__name__}")
    return found


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError as error:
        raise UnreadableFile(f"{path}: this is no JSON: {error}") from error


def read_yaml(path: Path, text: str) -> Any:
    """The content of a YAML file. Raises UnreadableFile, also when PyYAML is not installed."""
    try:
        import yaml
    except ImportError:
        raise UnreadableFile(f"{path}: reading YAML needs PyYAML; `pip install 'trackside[cli]'` brings it, or write JSON") from None
    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UnreadableFile(f"{path}: this is no YAML: {error}") from error


def _env(path: Path, text: str) -> dict[str, Any]:
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip().removeprefix("export ")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise UnreadableFile(f"{path}, line {number}: expected name=value")
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found[name.strip()] = value
    return found
