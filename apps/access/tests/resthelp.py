"""Calls the REST API as a person with a role: `Api("Op").get("/pools")` → (status, parsed body).

`Own` calls what Trackside adds beside Airflow's API.
"""

from __future__ import annotations

import itertools
import json
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import Group
from django.test import Client

from apps.access import tokens
from apps.access.models import User

_number = itertools.count(1)


def person(role: str | None = "superuser", **kwargs: Any) -> User:
    """A new user with a role (a group), without any (None), or a superuser."""
    name = kwargs.pop("username", f"person{next(_number)}")
    if role == "superuser":
        return User.objects.create_superuser(name, **kwargs)
    user = User.objects.create_user(name, **kwargs)
    if role is not None:
        user.groups.add(Group.objects.get_or_create(name=role)[0])
    return user


class Api:
    """A client with a bearer token."""

    base = "/api/v2"

    def __init__(self, role: str | None = "superuser", *, user: User | None = None, token: str | None = None):
        self.user = user or (person(role) if token is None else None)
        self.token = token if token is not None else tokens.issue(self.user)
        self.client = Client(raise_request_exception=True)

    def call(self, method: str, path: str, body: Any = None, query: Any = None, **kwargs: Any) -> Any:
        """The raw response; `query` may have lists."""
        if query:
            path += "?" + urlencode(query, doseq=True)
        headers = {"Authorization": f"Bearer {self.token}", **kwargs.pop("headers", {})}
        if body is not None:
            kwargs["data"] = body if isinstance(body, bytes | str) else json.dumps(body)
            kwargs.setdefault("content_type", "application/json")
        return self.client.generic(method, f"{self.base}{path}", headers=headers, **kwargs)

    def __call__(self, method: str, path: str, body: Any = None, query: Any = None, **kwargs: Any) -> tuple[int, Any]:
        """(status, parsed body)."""
        response = self.call(method, path, body, query, **kwargs)
        return response.status_code, json.loads(response.content) if response.content else None

    def get(self, path: str, **query: Any) -> tuple[int, Any]:
        """GET with a query."""
        return self("GET", path, query=query)


class Own(Api):
    """The same under `/api/trackside/v1`."""

    base = "/api/trackside/v1"
