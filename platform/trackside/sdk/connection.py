"""Connections: where a system is and how to log in, as task code sees them.

For DAG authors (`Connection.get`), hooks (`BaseHook.get_connection`) and templates (`conn.<id>`). Looked up in secrets
back ends and the environment (`AIRFLOW_CONN_<ID>` as URI or JSON; see `secrets`) first, then at the server. Secrets are
masked before they leave here.
"""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from trackside.sdk import secrets
from trackside.sdk.exceptions import AirflowException, AirflowNotFoundException
from trackside.sdk.execution import current
from trackside.sdk.execution.comms import call, quoted
from trackside.sdk.log import is_sensitive, mask_secret

log = logging.getLogger("airflow.sdk.definitions.connection")


class Connection:
    """One connection. `extra` is a JSON object as text; `extra_dejson` is it as a dict."""

    EXTRA_KEY = "__extra__"

    def __init__(
        self,
        conn_id: str | None = None,
        conn_type: str | None = None,
        description: str | None = None,
        host: str | None = None,
        login: str | None = None,
        password: str | None = None,
        schema: str | None = None,
        port: int | None = None,
        extra: str | dict[str, Any] | None = None,
        uri: str | None = None,
    ) -> None:
        self.conn_id = conn_id or ""
        self.description = description
        self.team_name: str | None = None
        if uri is not None:
            if any(part is not None for part in (conn_type, host, login, password, schema, port, extra)):
                raise AirflowException(
                    "You must create an object using the URI or individual values (conn_type, host, login, password, "
                    "schema, port or extra). You can't mix these two ways to create this object."
                )
            parsed = _parse_uri(uri)
            conn_type, host, login = parsed["conn_type"], parsed["host"], parsed["login"]
            password, schema, port, extra = parsed["password"], parsed["schema"], parsed["port"], parsed["extra"]
        self.conn_type = conn_type or ""
        self.host, self.login, self.password, self.schema = host, login, password, schema
        self.port = int(port) if port not in (None, "") else None
        self.extra = json.dumps(extra) if isinstance(extra, dict) else extra

    def __repr__(self) -> str:
        return f"Connection(conn_id={self.conn_id!r}, conn_type={self.conn_type!r}, host={self.host!r})"

    def __str__(self) -> str:
        return self.conn_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Connection) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.conn_id, self.conn_type, self.host, self.login, self.schema, self.port))

    # Looking up

    @classmethod
    def get(cls, conn_id: str) -> Connection:
        """The connection of that id; AirflowNotFoundException if there is none."""
        found: Connection | None = secrets.connection(conn_id)
        if found is None:
            active = current.comms()
            try:
                answer = call(active, "GET", f"/connections/{quoted(conn_id)}") if active else None
            except AirflowNotFoundException:
                answer = None
            if answer is None:
                raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")
            found = cls(**{key: answer.get(key) for key in _FIELDS if key != "conn_id"}, conn_id=conn_id)
        found.mask()
        return found

    @classmethod
    async def async_get(cls, conn_id: str) -> Connection:
        """`get` for code in an event loop."""
        import asyncio

        return await asyncio.to_thread(cls.get, conn_id)

    aget = async_get
    get_connection_from_secrets = get

    def mask(self) -> None:
        """Hide the password and the secret extras in the log from now on."""
        if self.password:
            mask_secret(self.password)
            mask_secret(quote(self.password, safe=""))
        for key, value in self._extra_or_empty().items():
            if is_sensitive(key) or isinstance(value, dict | list):
                mask_secret({key: value})

    # Forms

    @property
    def extra_dejson(self) -> dict[str, Any]:
        """`extra` as a dict; empty if there is none or it is no JSON object (which is logged)."""
        return self.get_extra_dejson()

    def get_extra_dejson(self, nested: bool = False) -> dict[str, Any]:
        """`extra` as a dict; with `nested`, values that are JSON themselves are read too."""
        if not self.extra:
            return {}
        extra = self._extra_or_empty()
        if not extra and self.extra.strip() not in ("{}", "null"):
            log.error("Failed to deserialize `extra` of connection %s: it is not a JSON object", self.conn_id)
        if nested:
            extra = {key: _maybe_json(value) for key, value in extra.items()}
        return extra

    def _extra_or_empty(self) -> dict[str, Any]:
        try:
            extra = json.loads(self.extra) if self.extra else {}
        except ValueError:
            return {}
        return extra if isinstance(extra, dict) else {}

    def get_password(self) -> str | None:
        """The password."""
        return self.password

    def get_extra(self) -> str | None:
        """`extra` as text."""
        return self.extra

    def get_uri(self) -> str:
        """Everything as one URI, the inverse of `from_uri`."""
        uri = f"{self.conn_type.lower().replace('_', '-')}://" if self.conn_type else "//"
        protocol, _, host = self.host.rpartition("://") if self.host else ("", "", "")
        if protocol:
            uri += f"{protocol}://"
        login = quote(self.login, safe="") if self.login is not None else ""
        if self.password is not None:
            login += ":" + quote(self.password, safe="")
        block = (login + "@" if login else "") + (quote(host, safe="") if host else "")
        if self.port:
            block += f":{self.port}" if block else f"@:{self.port}"
        if self.schema:
            block += f"/{quote(self.schema, safe='')}"
        return uri + block + self._query()

    def _query(self) -> str:
        if not self.extra:
            return ""
        extra = self._extra_or_empty()
        query = urlencode(extra)
        if not query or extra != dict(parse_qsl(query, keep_blank_values=True)):
            query = urlencode({self.EXTRA_KEY: self.extra})
        return ("?" if self.schema else "/?") + query

    @classmethod
    def from_uri(cls, uri: str, conn_id: str | None = None) -> Connection:
        """From `type://login:password@host:port/schema?extra=…`."""
        return cls(conn_id=conn_id, uri=uri)

    @classmethod
    def from_json(cls, value: str | dict[str, Any], conn_id: str | None = None) -> Connection:
        """From a JSON object with the fields of a connection."""
        fields = dict(value) if isinstance(value, dict) else json.loads(value)
        if uri := fields.pop("uri", None):
            return cls.from_uri(uri, conn_id)
        kind = fields.pop("conn_type", None) or fields.pop("type", None)
        known = {key: fields[key] for key in _FIELDS if key in fields and key not in ("conn_id", "conn_type")}
        return cls(conn_id=conn_id, conn_type=_normalised(kind) if kind else None, **known)

    def to_dict(self, *, prune_empty: bool = False, validate: bool = True) -> dict[str, Any]:
        """The fields as a dict (`extra` as a dict too)."""
        data = {key: getattr(self, key) for key in _FIELDS}
        data["extra"] = self.extra_dejson if self.extra else None
        return {k: v for k, v in data.items() if v not in (None, "", {})} if prune_empty else data

    def as_json(self) -> str:
        """The fields but the id as JSON text."""
        data = self.to_dict(prune_empty=True)
        data.pop("conn_id", None)
        return json.dumps(data)

    def get_hook(self, *, hook_params: dict[str, Any] | None = None) -> Any:
        """The hook that a provider registered for this type of connection, made with this connection's id."""
        from trackside.sdk.hooks import hook_for

        return hook_for(self, **(hook_params or {}))


_FIELDS = ("conn_id", "conn_type", "description", "host", "login", "password", "schema", "port", "extra")


def _normalised(scheme: str) -> str:
    return {"postgresql": "postgres"}.get(scheme, scheme.replace("-", "_"))


def _maybe_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _parse_uri(uri: str) -> dict[str, Any]:
    schemes = uri.count("://")
    if schemes > 2:
        raise AirflowException(f"Invalid connection string: {uri.partition('://')[0]}://… has more than two schemes.")
    inner = ""
    if schemes == 2:  # http://https://host: the second is part of the host
        outer, _, rest = uri.partition("://")
        inner, _, rest = rest.partition("://")
        if "@" in inner or ":" in inner:
            raise AirflowException("Invalid connection string: a login comes after the second scheme.")
        uri = f"{outer}://{rest}"
    parts = urlsplit(uri)
    host = _host(parts.netloc)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    extra = query.get(Connection.EXTRA_KEY) or (json.dumps(query) if query else None)
    path = parts.path.removeprefix("/")
    return {
        "conn_type": _normalised(parts.scheme or uri.partition(":")[0]),
        "host": f"{inner}://{host}" if inner and host else host,
        "login": unquote(parts.username) if parts.username is not None else None,
        "password": unquote(parts.password) if parts.password is not None else None,
        "schema": unquote(path) if path else ("" if parts.path else None),
        "port": parts.port,
        "extra": extra,
    }


def _host(netloc: str) -> str | None:
    """The host as written (urlsplit would lower it); brackets of IPv6 addresses stay off."""
    rest = netloc.rpartition("@")[2]
    if rest.startswith("["):
        return rest[1 : rest.index("]")]
    return unquote(rest.partition(":")[0]) or None
