"""Who is calling: a bearer token, or the session cookie of the web pages. Used by every REST view.

Wire rules are Airflow's: no credentials or other schemes than Bearer are 401, a token that cannot be decoded is 403. A request
with an Authorization header is judged by that header alone: a cookie never overrides it.
"""

from __future__ import annotations

from typing import Any, NoReturn

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, PermissionDenied
from rest_framework.request import Request

from apps.access import tokens
from apps.access.models import User


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <JWT or trk_ token>`."""

    def authenticate(self, request: Request) -> tuple[User, str] | None:
        """The token's owner and the token; None without an Authorization header."""
        header = request.headers.get("Authorization")
        if header is None:
            return None
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise NotAuthenticated("Not authenticated")
        try:
            return tokens.user_of(token.strip()), token.strip()
        except tokens.BadToken as e:
            raise PermissionDenied(str(e)) from e
        except tokens.DeadToken as e:
            raise AuthenticationFailed(str(e)) from e

    def authenticate_header(self, request: Request) -> str:
        """Makes the answer a 401 with the scheme that works."""
        return "Bearer"


class CookieAuthentication(BaseAuthentication):
    """The session of the web pages. Unsafe methods need the CSRF token, as forms do."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        """The signed-in person; None without a session."""
        user: Any = getattr(request._request, "user", None)
        if user is None or not user.is_active:
            return None
        _check_csrf(request._request)
        return user, None


class _Csrf(CsrfViewMiddleware):
    """The middleware's check, with a reason instead of a page."""

    def _reject(self, request: HttpRequest, reason: str) -> NoReturn:  # type: ignore[override]
        raise PermissionDenied(f"CSRF check failed: {reason}")


def _check_csrf(request: HttpRequest) -> None:
    check = _Csrf(lambda _request: None)  # type: ignore[arg-type, return-value]
    check.process_request(request)
    check.process_view(request, lambda _request: HttpResponse(), (), {})
