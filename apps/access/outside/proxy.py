"""Signing in by a header that a trusted proxy sets (TRACKSIDE_TRUSTED_PROXY_HEADER), for the pages and for REST.

The header counts only when the connection itself comes from one of TRACKSIDE_TRUSTED_PROXY_ADDRESSES: not what X-Forwarded-For
says, which `config.proxies` keeps apart. From anywhere else it is ignored, as if it were not there. The proxy must take the header
away from what browsers send.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.contrib.auth import login, logout
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from apps.access.errors import Refused
from apps.access.models import SignsInWith
from apps.access.outside import accounts

MARK = "signed_in_by_proxy"
"""Session key: the name the proxy gave."""
WITHOUT_SESSION = ("/api/", "/auth/")


class TrustedProxyMiddleware:
    """Makes `request.user` the person the proxy names; ends the session when the proxy names nobody or somebody else."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        if not settings.TRUSTED_PROXY_HEADER:
            raise MiddlewareNotUsed
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Before the view; after the session's own person is known."""
        name = request.headers.get(settings.TRUSTED_PROXY_HEADER, "").strip() if is_from_proxy(request) else ""
        before = request.session.get(MARK)
        if before is not None and (before != name or not request.user.is_authenticated):
            logout(request)
            before = None
        if name and before is None:
            try:
                self._enter(request, name)
            except Refused as e:
                return _refused(request, e)
        return self.get_response(request)

    def _enter(self, request: HttpRequest, name: str) -> None:
        groups = request.headers.get(settings.TRUSTED_PROXY_GROUPS_HEADER, "") if settings.TRUSTED_PROXY_GROUPS_HEADER else ""
        user = accounts.admit(name, SignsInWith.PROXY, groups=[word.strip() for word in groups.split(",") if word.strip()])
        if request.path.startswith(WITHOUT_SESSION):  # a script behind the proxy: nothing to remember
            request.user = user
            return
        login(request, user, backend=accounts.BACKEND)
        request.session[MARK] = name
        accounts.signed_in(request, user)


def is_from_proxy(request: HttpRequest) -> bool:
    """Whether the connection comes from a trusted address."""
    scope: dict[str, Any] = getattr(request, "scope", None) or {}
    peer = scope["trackside.peer"] if "trackside.peer" in scope else request.META.get("REMOTE_ADDR")
    try:
        address = ip_address(peer or "")
    except ValueError:  # a Unix socket
        return False
    return any(address in network for network in settings.TRUSTED_PROXY_ADDRESSES)


def _refused(request: HttpRequest, error: Refused) -> HttpResponse:
    if request.path.startswith(WITHOUT_SESSION):
        return JsonResponse({"detail": error.detail}, status=error.status)
    return render(request, "registration/not_admitted.html", {"why": error.detail}, status=error.status)
