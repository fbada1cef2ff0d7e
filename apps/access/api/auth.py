"""REST: signing in and out. `/auth/token` gives a bearer token; `/api/v2/auth/login|logout` lead browsers to the pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, URLPattern, path
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.views.decorators.csrf import csrf_exempt
from pydantic import Field as Constraint

from apps.access import audit, lockout, tokens
from apps.access.models import User
from apps.access.rest.body import Body, check, read_body
from apps.access.rest.errors import Problem, bad_request, problem_of
from apps.access.rest.operations import PUBLIC, Call, json_answer, operation
from apps.access.rest.params import Param

CLI_LIFETIME = timedelta(hours=1)


class TemporaryRedirect(HttpResponseRedirect):
    """307: the method stays."""

    status_code = 307


class LoginBody(Body):
    """Name and password."""

    username: Annotated[str, Constraint(max_length=150)]
    password: Annotated[str, Constraint(max_length=1000)]


def _sign_in(request: HttpRequest, lifetime: timedelta | None) -> HttpResponse:
    body, wrong = check(LoginBody, read_body(request))
    if wrong:
        raise Problem(422, wrong)
    user = authenticate(request, username=body.username, password=body.password)
    if not isinstance(user, User):
        if wait := lockout.locked_seconds(request, body.username):
            raise Problem(429, lockout.sentence(wait), {"Retry-After": str(wait)})
        raise Problem(401, "Invalid credentials")
    lockout.forget(request, body.username)
    audit.record("login", audit.Actor(user.get_username(), "rest"), object_type="user", object_id=user.get_username())
    return json_answer({"access_token": tokens.issue(user, lifetime=lifetime)}, 201, {"Cache-Control": "no-store"})


@csrf_exempt
def token(request: HttpRequest, lifetime: timedelta | None = None) -> HttpResponse:
    """POST name and password as JSON → 201 with `access_token`. GET: for the person signed in to the pages, else 401."""
    try:
        if request.method == "POST":
            return _sign_in(request, lifetime)
        if request.method != "GET":
            return json_answer({"detail": "Method Not Allowed"}, 405, {"Allow": "GET, POST"})
        user: Any = getattr(request, "user", None)
        if not isinstance(user, User) or not user.is_active:
            raise Problem(401, "Not authenticated", {"WWW-Authenticate": "Bearer"})
        return json_answer({"access_token": tokens.issue(user, lifetime=lifetime)}, 201, {"Cache-Control": "no-store"})
    except Exception as e:
        problem = problem_of(e)
        return json_answer({"detail": problem.detail}, problem.status, problem.headers)


token_patterns: list[URLPattern] = [
    path("auth/token", token, name="rest-token"),
    path("auth/token/cli", token, {"lifetime": CLI_LIFETIME}),
]


def _page(name: str, fallback: str) -> str:
    try:
        return resolve_url(name)
    except NoReverseMatch:
        return fallback


@operation("GET /auth/login", may=PUBLIC, query=(Param("next", help="Where to go afterwards, on this site."),), status=307)
def login(call: Call) -> HttpResponse:
    """Leads to the sign-in page. A `next` on another site is refused."""
    target = call.query["next"]
    request = call.request._request
    if target and not url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure()):
        raise bad_request("Invalid or unsafe next URL")
    page = _page("login", "/login")
    return TemporaryRedirect(f"{page}?{urlencode({'next': target})}" if target else page)


@operation("GET /auth/logout", may=PUBLIC, status=307)
def logout(call: Call) -> HttpResponse:
    """Ends the bearer token that is sent along, and leads to the sign-in page. Sessions end there, by a form."""
    scheme, _, text = call.request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        tokens.revoke(text.strip())
    return TemporaryRedirect(_page("logout", "/logout"))
