"""Addresses below `/sso/`: there only for the ways to sign in that are configured. Names are those that allauth looks up."""

from __future__ import annotations

from django.conf import settings
from django.urls import URLPattern, URLResolver, path

urlpatterns: list[URLPattern | URLResolver] = []

if settings.SIGN_IN_DOORS:
    from apps.access.outside import providers

    urlpatterns.append(path("cancelled", providers.cancelled, name="socialaccount_login_cancelled"))
    if "openid_connect" in settings.SOCIALACCOUNT_PROVIDERS:
        urlpatterns += [
            path("oidc/<str:provider_id>/login/", providers.told_apart(providers.oidc_login), name="openid_connect_login"),
            path("oidc/<str:provider_id>/login/callback/", providers.told_apart(providers.oidc_callback), name="openid_connect_callback"),
        ]
    if "saml" in settings.SOCIALACCOUNT_PROVIDERS:
        from allauth.socialaccount.providers.saml import views as saml

        urlpatterns += [
            path("saml/<slug:organization_slug>/" + address, providers.told_apart(view, status=status), name=name)
            for address, view, status, name in (
                ("login/", saml.login, 503, "saml_login"), ("metadata/", saml.metadata, 503, "saml_metadata"),
                ("acs/", saml.acs, 400, "saml_acs"), ("acs/finish/", saml.finish_acs, 400, "saml_finish_acs"),
                ("sls/", saml.sls, 400, "saml_sls"),
            )
        ]  # fmt: skip
