"""Variables: values that people set once and tasks read by key.

For DAG authors (`Variable.get`) and templates (`var.value.<key>`, `var.json.<key>`). Looked up in secrets back ends and the
environment (`AIRFLOW_VAR_<KEY>`; see `secrets`) first, then at the server. Values under sensitive names are masked in the log.
"""

from __future__ import annotations

import json
from typing import Any

from trackside.sdk import secrets
from trackside.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError
from trackside.sdk.execution import current
from trackside.sdk.execution.comms import call, quoted
from trackside.sdk.log import is_sensitive, mask_secret

_UNSET: Any = object()


class VariableNotFound(AirflowRuntimeError, KeyError):
    """Variable X does not exist: create it, or give a default."""

    def __str__(self) -> str:
        return str(self.args[0])


class Variable:
    """A variable read from a file or the server; mostly used through the static methods."""

    def __init__(self, key: str, value: Any = None, description: str | None = None) -> None:
        self.key, self.value, self.description = key, value, description

    @staticmethod
    def get(key: str, default: Any = _UNSET, deserialize_json: bool = False, **legacy: Any) -> Any:
        """The value of `key`; `default` (returned as it is) or VariableNotFound if there is none.

        `deserialize_json` reads the text as JSON. `default_var` is the old name of `default`.
        """
        default = legacy.get("default_var", default)
        text = _find(key)
        if text is None:
            if default is not _UNSET and type(default).__name__ != "ArgNotSet":
                return default
            raise VariableNotFound(f"Variable {key} does not exist")
        value = json.loads(text) if deserialize_json else text
        if is_sensitive(key):
            mask_secret(value if isinstance(value, str | dict | list) else text, key)
        return value

    @staticmethod
    async def aget(key: str, default: Any = _UNSET, deserialize_json: bool = False) -> Any:
        """`get` for code in an event loop."""
        import asyncio

        return await asyncio.to_thread(Variable.get, key, default, deserialize_json)

    @staticmethod
    def set(key: str, value: Any, description: str | None = None, serialize_json: bool = False, **_: Any) -> None:
        """Create or replace a variable at the server."""
        text = json.dumps(value, indent=2) if serialize_json else str(value)
        if is_sensitive(key):
            mask_secret(text, key)
        call(_comms("set"), "PUT", f"/variables/{quoted(key)}", body={"value": text, "description": description})

    @staticmethod
    def setdefault(key: str, default: Any, description: str | None = None, deserialize_json: bool = False) -> Any:
        """The value of `key`, which is set to `default` first if it does not exist."""
        found = Variable.get(key, default=None, deserialize_json=deserialize_json)
        if found is not None:
            return found
        if default is None:
            raise ValueError("Default value must be set to a non-None value")
        Variable.set(key, default, description, serialize_json=deserialize_json)
        return default

    @staticmethod
    def delete(key: str, **_: Any) -> None:
        """Remove a variable; nothing happens if it does not exist."""
        try:
            call(_comms("delete"), "DELETE", f"/variables/{quoted(key)}")
        except AirflowNotFoundException:
            pass

    @staticmethod
    def keys(prefix: str = "") -> list[str]:
        """Keys at the server that begin with `prefix`, sorted."""
        answer = call(_comms("keys"), "GET", "/variables", params={"prefix": prefix})
        found = answer.get("keys") if "keys" in answer else answer.get("variables") or []
        return sorted(item["key"] if isinstance(item, dict) else item for item in found)


def _find(key: str) -> str | None:
    kept_elsewhere = secrets.variable(key)
    if kept_elsewhere is not None:
        return kept_elsewhere
    active = current.comms()
    if active is None:
        return None
    try:
        answer = call(active, "GET", f"/variables/{quoted(key)}")
    except AirflowNotFoundException:
        return None
    value = answer["value"]
    if answer.get("sensitive") and isinstance(value, str):
        mask_secret(value)
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _comms(verb: str) -> Any:
    active = current.comms()
    if active is None:
        raise AirflowRuntimeError(f"Variable.{verb} works only while a task runs: nothing here can reach the server.")
    return active
