"""File systems of object stores by protocol and connection: `attach` and what it gives.

For `storage.py`, and for providers that ask `airflow.sdk.io`. A provider package's own file system (`filesystems` of what it
announces) comes first; without one, s3 is reached by s3fs with the fields of the connection, and everything else by what
fsspec has for the protocol.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import cache
from typing import Any

from trackside.sdk import installed

_stores: dict[tuple[int, str], ObjectStore] = {}
"""Per process: file systems do not survive a fork."""


class StoreMissing(ImportError):
    """A package for object stores is not installed; the message names it."""


class ObjectStore:
    """A store: protocol, connection and, made when first asked for, its file system."""

    def __init__(self, protocol: str, conn_id: str | None, fs: Any = None, storage_options: dict[str, Any] | None = None) -> None:
        self.protocol, self.conn_id, self.storage_options = protocol, conn_id, storage_options or {}
        self._fs = fs

    @property
    def fs(self) -> Any:
        """The fsspec file system."""
        if self._fs is None:
            self._fs = filesystem_for(self.protocol, self.conn_id, self.storage_options)
        return self._fs

    def __str__(self) -> str:
        return f"{self.protocol}-{self.conn_id}" if self.conn_id else self.protocol


def attach(
    protocol: str | None = None, conn_id: str | None = None, alias: str | None = None, encryption_type: str | None = "",
    fs: Any = None, **kwargs: Any,
) -> ObjectStore:  # fmt: skip
    """The store of that alias; without one, that of the protocol and connection. Made once per process."""
    if not protocol and not alias:
        raise ValueError("No protocol specified and no alias provided")
    key = os.getpid(), alias or (f"{protocol}-{conn_id}" if conn_id else str(protocol))
    if key not in _stores:
        if not protocol:
            raise ValueError(f"No registered store with alias: {alias}")
        _stores[key] = ObjectStore(protocol, conn_id, fs, kwargs.get("storage_options"))
    return _stores[key]


def filesystem_for(protocol: str, conn_id: str | None = None, storage_options: dict[str, Any] | None = None) -> Any:
    """An fsspec file system. Raises StoreMissing if the package for the protocol is not installed."""
    options = storage_options or {}
    if (make := _from_providers().get(protocol)) is not None:
        takes = inspect.signature(make).parameters
        return make(conn_id, options) if len(takes) > 1 else make(conn_id)
    if protocol in ("s3", "s3a") and conn_id:
        options = {**_s3_options(conn_id), **options}
    try:
        import fsspec

        return fsspec.filesystem(protocol, **options)
    except ImportError as error:
        raise StoreMissing(f"{protocol}:// needs a package that is not installed: {error}") from error


def has_fs(scheme: str) -> bool:
    """Whether there is a file system for the scheme."""
    try:
        import fsspec

        fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError):
        return scheme in _from_providers()
    return True


@cache
def _from_providers() -> dict[str, Callable[..., Any]]:
    """Protocol → `get_fs(conn_id, storage_options)` of an installed provider package."""
    found: dict[str, Callable[..., Any]] = {}
    for provider in installed.providers().values():
        for name in provider.info.get("filesystems") or ():
            try:
                module = __import__(name, fromlist=["get_fs"])
            except ImportError:
                continue  # what it needs is not installed: fsspec may have something
            for scheme in getattr(module, "schemes", ()):
                found.setdefault(scheme, module.get_fs)
    return found


def _s3_options(conn_id: str) -> dict[str, Any]:
    from trackside.sdk.connection import Connection

    connection = Connection.get(conn_id)
    extra = connection.extra_dejson
    found: dict[str, Any] = {
        "key": connection.login or extra.get("aws_access_key_id"),
        "secret": connection.password or extra.get("aws_secret_access_key"),
        "token": extra.get("aws_session_token"),
    }
    if endpoint := extra.get("endpoint_url") or extra.get("host"):
        found["endpoint_url"] = endpoint
    if region := extra.get("region_name"):
        found["client_kwargs"] = {"region_name": region}
    return {name: value for name, value in found.items() if value}
