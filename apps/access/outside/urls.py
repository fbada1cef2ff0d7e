"""Addresses below `/sso/`: there only for the ways to sign in that are configured. Names are those that allauth looks up."""

from __future__ import annotations

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = []

if settings.SIGN_IN_DOORS:
    from apps.access.outside import providers

    urlpatterns.append(path("cancelled", providers.cancelled, name="socialaccount_login_cancelled"))
    if "openid_connect" in settings.SOCIALACCOUNT_PROVIDERS:
        urlpatterns += [
            path("oidc/<str:provider_id>/login/", providers.oidc_login, name="openid_connect_login"),
            path("oidc/<str:provider_id>/login/callback/", providers.oidc_callback, name="openid_connect_callback"),
        ]
    if "saml" in settings.SOCIALACCOUNT_PROVIDERS:
        urlpatterns.append(path("", include("allauth.socialaccount.providers.saml.urls")))
