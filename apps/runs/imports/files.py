"""Airflow's export files: connections (json, yaml, env), variables (json, yaml, env), pools (json, yaml).

For `import_airflow`. The forms of connections and variables are those that `dag.test()` reads, so the reader is the SDK's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from apps.runs.imports.items import Found, Unreadable
from trackside.sdk.inprocess.files import UnreadableFile, connection, entries, variable


def read(*, connections: str | None = None, variables: str | None = None, pools: str | None = None) -> Found:
    """What the files hold. Raises Unreadable."""
    found = Found()
    try:
        if connections:
            for name, value in entries(Path(connections)).items():
                name = name.removeprefix("AIRFLOW_CONN_").lower() if name.startswith("AIRFLOW_CONN_") else name
                found.connections[name] = connection(value, f"{connections}: {name}")
        if variables:
            for name, value in entries(Path(variables)).items():
                name = name.removeprefix("AIRFLOW_VAR_").lower() if name.startswith("AIRFLOW_VAR_") else name
                found.variables[name] = {"value": variable(value), "description": _description(value)}
        if pools:
            for name, value in _pools(Path(pools)).items():
                found.pools[name] = pool(value, f"{pools}: {name}")
    except UnreadableFile as error:
        raise Unreadable(str(error)) from error
    return found


def pool(value: Any, where: str) -> dict[str, Any]:
    """The fields of a pool. Raises Unreadable."""
    if not isinstance(value, dict) or "slots" not in value:
        raise Unreadable(f"{where}: a pool is an object with slots and description")
    try:
        slots = int(value["slots"])
    except (TypeError, ValueError):
        raise Unreadable(f"{where}: slots must be a number, not {value['slots']!r}") from None
    return {
        "slots": slots,
        "description": value.get("description") or None,
        "include_deferred": bool(value.get("include_deferred", False)),
    }


def _pools(path: Path) -> dict[str, Any]:
    """Airflow 2 exports an object by name, Airflow 3's airflowctl a list with names."""
    if path.suffix.lower() == ".json":
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Unreadable(f"{path} cannot be read: {error}") from error
        if isinstance(data, list):
            return {str(item.get("pool") or item.get("name")): item for item in data if isinstance(item, dict)}
    return entries(path)


def _description(value: Any) -> str | None:
    return value.get("description") if isinstance(value, dict) and set(value) == {"value", "description"} else None
