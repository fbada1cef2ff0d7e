"""Operations: functions that answer one method of one path, and what a request goes through before it reaches them.

Order of checks, as in Airflow: method (405), credentials (401, 403), right (403), parameters and body together (422), then
the operation itself. An operation without a declared right does not exist: `may` is an argument without default, and
`PUBLIC` has to be written out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from apps.access import policy
from apps.access.audit import Actor, details_of_request
from apps.access.masking import mask_request
from apps.access.models import User
from apps.access.rest import idempotency
from apps.access.rest.body import check, raw_body, read_body
from apps.access.rest.errors import Problem
from apps.access.rest.params import Param, read_path, read_query
from trackside.runner.jsonio import exact_dumps

AIRFLOW, OWN = "/api/v2", "/api/trackside/v1"
"""Where operations live: Airflow's, and what Trackside adds."""
PUBLIC = ("public", "public")
"""Right of operations that need no credentials."""
_UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}
_MASKED = "with update_mask a PATCH changes the named fields only, and takes nobody else's change back"
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS | orjson.OPT_NAIVE_UTC


@dataclass
class Call:
    """One request on its way through an operation."""

    request: Request
    user: User | None
    query: Mapping[str, Any] = field(default_factory=dict)
    """Declared query parameters by name, checked."""
    body: Any = None
    """The checked body (an instance of the operation's model)."""

    @property
    def actor(self) -> Actor:
        """Who acts, for domain calls."""
        name = self.user.get_username() if self.user else "anonymous"
        return Actor(name, getattr(self.user, "acts_by", "rest"), getattr(self.user, "token_name", None))

    @property
    def person(self) -> User:
        """The caller, for operations that are not public."""
        if self.user is None:
            raise Problem(401, "Not authenticated", {"WWW-Authenticate": "Bearer"})
        return self.user

    def allowed(self, action: str, kind: str, dag_id: str | None = None) -> bool:
        """May the caller do this?"""
        return policy.allowed(self.user, action, kind, dag_id)

    def require(self, action: str, kind: str, dag_id: str | None = None) -> None:
        """403 unless the caller may do this."""
        if not self.allowed(action, kind, dag_id):
            raise Problem(403, "Forbidden")


Function = Callable[..., Any]


@dataclass
class Operation:
    """A function and what was declared above it."""

    method: str
    path: str
    """Below `base`, parameters in braces: `/dags/{dag_id}/tasks/{task_id}`."""
    function: Function
    may: tuple[str, str]
    query: Sequence[Param]
    body: Any
    status: int
    returns: dict[str, Any] | None
    path_kinds: Mapping[str, Any]
    body_optional: bool = False
    base: str = AIRFLOW
    errors: Sequence[int] = ()
    """Statuses beside those that `openapi.statuses_of` derives."""
    media: Sequence[str] = ("application/json",)
    """What the answer may be."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Request headers it reads: name → meaning."""
    filtered: bool = False
    """Tells of the DAGs that the caller may see (`policy.visible_dags`) and no others: open to whoever may see one."""

    @property
    def id(self) -> str:
        """Airflow's operation id."""
        return self.function.__name__

    def run(self, request: Request, user: User | None, texts: Mapping[str, str]) -> HttpResponseBase:
        """Check the request, call the function, make the answer."""
        self._authorise(user, texts.get("dag_id"))
        path, wrong = read_path(self.path_kinds, texts)
        query, flaws = read_query(self.query, request._request.GET)
        wrong += flaws
        body = raw = None
        if self.body is not None:
            raw = read_body(request._request)
            if raw is not None or not self.body_optional:
                body, flaws = check(self.body, raw)
                wrong += flaws
        if wrong:
            raise Problem(422, wrong)
        call = Call(request, user, query, body)
        if self.method not in _UNSAFE:
            return self._answer(self.function(call, **path))
        details = {**mask_request(raw), "method": self.method} if isinstance(raw, dict) else {"method": self.method}

        def act() -> HttpResponseBase:
            with details_of_request(details):
                return self._answer(self.function(call, **path))

        if tags := next((name for name in ("If-Match", "If-Unmodified-Since") if request.headers.get(name, "*") != "*"), None):
            raise Problem(412, f"No answer here has an entity tag or date that {tags} could name. Leave it out; {_MASKED}.")
        key = request.headers.get(idempotency.HEADER)
        if key is None or user is None:
            return act()
        plain = request._request
        return idempotency.once(user, key, self.method, plain.get_full_path(), raw_body(plain), act)

    def _authorise(self, user: User | None, dag_id: str | None) -> None:
        if self.may == PUBLIC:
            return
        action, kind = self.may
        if not policy.allowed(user, action, kind, None if dag_id == "~" else dag_id):
            if dag_id == "~" and kind in policy.DAG_KINDS and action == policy.READ:
                return  # the rows are filtered by policy.visible_dags
            if self.filtered and policy.sees_a_dag(user):
                return
            if policy.teams_for(user, action, kind):
                return  # whose each one is, is looked at where it is known: `owned`, and the filter of the rows
            raise Problem(403, "Forbidden")

    def _answer(self, value: Any) -> HttpResponseBase:
        if isinstance(value, HttpResponseBase):
            return value
        return json_answer(value, self.status)


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """JSON of `value`; 204 has no body."""
    try:
        content = b"" if status == 204 else orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        content = exact_dumps(_without_endless_numbers(value), option=_OPTIONS)
    response = HttpResponse(content, status=status, content_type="application/json", headers=dict(headers or {}))
    if status == 204:
        del response["Content-Type"]
    return response


def _without_endless_numbers(value: Any) -> Any:
    """PostgreSQL gives 1e300 in a JSON column back as a whole number of 301 digits, more than a body may have; it was a float."""
    if isinstance(value, dict):
        return {k: _without_endless_numbers(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_endless_numbers(v) for v in value]
    if isinstance(value, int) and abs(value) >= 10**300:
        return float(value) if abs(value) < _LARGEST_FLOAT else None
    return value


_LARGEST_FLOAT = int(sys.float_info.max)

REGISTRY: list[Operation] = []


def operation(
    where: str,
    *,
    may: tuple[str, str],
    query: Sequence[Param] = (),
    body: Any = None,
    body_optional: bool = False,
    status: int = 200,
    returns: dict[str, Any] | None = None,
    path: Mapping[str, Any] | None = None,
    base: str = AIRFLOW,
    errors: Sequence[int] = (),
    media: Sequence[str] = ("application/json",),
    headers: Mapping[str, str] | None = None,
    filtered: bool = False,
) -> Callable[[Function], Function]:
    """Register a function as the answer to `where` ("GET /dags/{dag_id}").

    `may`: (action, kind) of `policy`, on the DAG in the path if there is one. `body`: a pydantic model. `returns`: JSON schema of the
    answer. `path`: kinds of path parameters that are no text. `errors`, `media`, `headers`: what only the description needs.
    `filtered`: see `Operation`. The function gets the Call and the path parameters by name.
    """
    method, _, template = where.partition(" ")

    def register(function: Function) -> Function:
        REGISTRY.append(
            Operation(
                method, template, function, may, tuple(query), body, status, returns, path or {}, body_optional, base, errors, media,
                headers or {}, filtered,
            )
        )  # fmt: skip
        return function

    return register
