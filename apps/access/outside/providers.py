"""Signing in with OpenID Connect and SAML by django-allauth: it speaks the protocols, the account is made by `accounts.admit`.

Imported only when TRACKSIDE_OIDC_… or TRACKSIDE_SAML_… is set (`pip install 'trackside[sso]'`). allauth's own pages (sign-up,
e-mail addresses, connected accounts) are not offered: whoever arrives here is signed in or told why not.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, NoReturn
from urllib.parse import urlsplit

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.internal import jwtkit
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib.auth import login as django_login
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import DatabaseError, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme

from apps.access.errors import Refused
from apps.access.models import SignsInWith, User
from apps.access.outside import accounts

log = logging.getLogger(__name__)


class Adapter(DefaultSocialAccountAdapter):
    """What allauth asks when somebody arrives from a provider."""

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> NoReturn:
        """The whole sign-in: account, roles, session, and on to where the person wanted to go. Raises ImmediateHttpResponse."""
        try:
            user = _account_of(sociallogin)
        except Refused as e:
            raise ImmediateHttpResponse(_told(request, e.detail)) from e
        django_login(request, user, backend=accounts.BACKEND)
        accounts.signed_in(request, user)
        target = sociallogin.state.get("next") or ""
        safe = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
        raise ImmediateHttpResponse(redirect(target if target and safe else resolve_url(settings.LOGIN_REDIRECT_URL)))

    def on_authentication_error(
        self, request: HttpRequest, provider: Any, error: Any = None, exception: Any = None, extra_context: Any = None
    ) -> NoReturn:
        """The provider refused, or what it sent could not be believed. Details are for the log, not for the page."""
        reason = (extra_context or {}).get("saml_last_error_reason") or exception or request.GET.get("error", "")[:200]
        log.warning("%s did not sign somebody in: %s %r", getattr(provider, "name", provider), error, reason)
        raise ImmediateHttpResponse(
            _told(request, f"{getattr(provider, 'name', 'The provider')} did not sign you in. Try again; the server's log says why.")
        )


def _told(request: HttpRequest, why: str, status: int = 403) -> HttpResponse:
    return render(request, "registration/not_admitted.html", {"why": why}, status=status)


def _account_of(sociallogin: Any) -> User:
    """The account of this identity (provider and its lasting id), made or found by name the first time. Raises Refused."""
    account: SocialAccount = sociallogin.account
    way = SignsInWith.SAML if "saml" in settings.SOCIALACCOUNT_PROVIDERS and _is_saml(account) else SignsInWith.OIDC
    facts = _facts(sociallogin, way)
    with transaction.atomic():
        known = sociallogin.user if sociallogin.is_existing else None
        if known is None and _taken(facts["name"], way):
            raise accounts.NotAdmitted(f"The name {facts['name']} belongs to another person of this provider. Ask an administrator.")
        user = accounts.admit(way=way, known=known, **facts)
        if known is None:
            account.user = user
        account.save()
    return user


def _is_saml(account: SocialAccount) -> bool:
    return any(account.provider in (app["provider_id"], "saml") for app in settings.SOCIALACCOUNT_PROVIDERS["saml"]["APPS"])


def _taken(name: str, way: SignsInWith) -> bool:
    """Whether somebody else has signed in as this account already; one that an administrator made is still free."""
    return SocialAccount.objects.filter(user__username=name, user__signs_in_with=way).exists()


def _facts(sociallogin: Any, way: SignsInWith) -> dict[str, Any]:
    """Name, groups and the rest as the provider tells them. Raises NotAdmitted."""
    user, told = sociallogin.user, sociallogin.account.extra_data
    if way == SignsInWith.SAML:
        asked = settings.SOCIALACCOUNT_PROVIDERS["saml"]["APPS"][0]["settings"]
        groups = told.get(asked["groups_attribute"], [])
        name = user.username or sociallogin.account.uid
    else:
        asked = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"][0]["settings"]
        info, token = told.get("userinfo") or {}, told.get("id_token") or {}
        if info and token and info.get("sub") != token.get("sub"):
            raise accounts.NotAdmitted("The provider spoke of two different people. Tell an administrator.")
        claims = {**token, **info}
        groups = _claim(claims, asked["groups_claim"]) or []
        name = str(_claim(claims, asked["name_claim"]) or claims.get("email") or sociallogin.account.uid)
    groups = [groups] if isinstance(groups, str) else groups
    known = {"email": user.email or "", "first_name": user.first_name or "", "last_name": user.last_name or ""}
    return {"name": name, "groups": [str(g) for g in groups] if isinstance(groups, list | tuple) else [], **known}


def _claim(claims: dict[str, Any], path: str) -> Any:
    """`groups`, or `realm_access.roles`: dots lead into objects, unless a claim has them in its name."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for word in path.split("."):
        value = value.get(word) if isinstance(value, dict) else None
    return value


class SignedOpenIDConnect(OpenIDConnectOAuth2Adapter):
    """Checks the signature of the ID token even when it came straight from the provider, and that what is published are addresses."""

    def get_provider(self) -> Any:
        """The provider, which asks by this adapter, too."""
        provider = super().get_provider()
        provider.oauth2_adapter_class = type(self)
        return provider

    @property
    def openid_config(self) -> dict[str, Any]:
        """The discovery document. Raises ValueError, naming the entry, for one that browsers or secrets could not be sent to."""
        found: dict[str, Any] = super().openid_config
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "issuer"):
            if urlsplit(str(found.get(name) or "")).scheme not in ("https", "http"):
                raise ValueError(f"{name} of the discovery document is no address: {str(found.get(name))[:100]!r}")
        return found

    def _decode_id_token(self, app: Any, id_token: str) -> dict[str, Any]:
        found: dict[str, Any] = jwtkit.verify_and_decode(
            credential=id_token,
            keys_url=self.openid_config["jwks_uri"],
            issuer=self.openid_config["issuer"],
            audience=app.client_id,
            lookup_kid=jwtkit.lookup_kid_jwk,
        )
        return found


_OURS = (Http404, PermissionDenied, SuspiciousOperation, DatabaseError)


def told_apart(view: Callable[..., HttpResponseBase], *, status: int = 503) -> Callable[..., HttpResponseBase]:
    """A view whose failures are the provider's: what it published or sent is unreachable, no JSON, no XML, or lacks what it must have.

    Libraries raise anything then, so everything but our own kinds is caught, told in the log, and answered with a page. `status`: for
    what was sent and cannot be read; what cannot be reached is 503.
    """

    @functools.wraps(view)
    def told(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except _OURS:
            raise
        except Exception as e:
            unreachable = status == 503 or isinstance(e, OSError)
            log.error("signing in at %s: %s", request.path, _cause(e), exc_info=not unreachable)
            if unreachable:
                why, what = "The provider does not answer as it should.", "Try again in a while"
            else:
                why, what = "What the provider sent cannot be read.", "Begin again at the sign-in page"
            why = f"{why} {what}, or tell an administrator: the server's log says more."
            return _told(request, why, 503 if unreachable else status)

    return told


def _cause(error: Exception) -> str:
    """For the administrator: what to look at."""
    said = f"{type(error).__name__}: {error}"[:500]
    if isinstance(error, OSError):  # of requests and urllib, too
        return f"the provider's metadata (TRACKSIDE_OIDC_SERVER_URL or TRACKSIDE_SAML_IDP_METADATA_URL) cannot be fetched: {said}"
    return f"what the provider published or sent is not what it should be: {said}"


def oidc_login(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    """Off to the provider."""
    response: HttpResponseBase = OAuth2LoginView.adapter_view(SignedOpenIDConnect(request, provider_id))(request)
    return response


def oidc_callback(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    """Back from it."""
    response: HttpResponseBase = OAuth2CallbackView.adapter_view(SignedOpenIDConnect(request, provider_id))(request)
    return response


def cancelled(request: HttpRequest) -> HttpResponse:
    """The person changed their mind at the provider."""
    return redirect(settings.LOGIN_URL or "login")
