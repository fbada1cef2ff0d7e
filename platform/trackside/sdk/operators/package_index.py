"""PackageIndexHook: the address of a Python package index from a connection of type `package_index`."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlparse

from trackside.sdk.hooks import BaseHook
from trackside.sdk.log import mask_secret


class PackageIndexHook(BaseHook):
    """The connection's host is the index URL; login and password are put into it."""

    conn_name_attr = "pi_conn_id"
    default_conn_name = "package_index_default"
    conn_type = "package_index"
    hook_name = "Package Index (Python)"

    def __init__(self, pi_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pi_conn_id = pi_conn_id

    def get_conn(self) -> str:
        """See `get_connection_url`."""
        return self.get_connection_url()

    def get_connection_url(self) -> str:
        """The URL with the credentials in it. Raises ValueError if the connection has no host."""
        found = self.get_connection(self.pi_conn_id)
        if not found.host:
            raise ValueError(f"Please provide an index URL as host of the connection {self.pi_conn_id!r}.")
        url = urlparse(found.host)
        host = url.netloc.rpartition("@")[2]
        if found.login and found.password:
            secret = quote(found.password, safe="")
            mask_secret(secret)
            host = f"{quote(found.login, safe='')}:{secret}@{host}"
        elif found.login:
            host = f"{quote(found.login, safe='')}@{host}"
        return url._replace(netloc=host).geturl()
