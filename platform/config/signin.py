"""Ways to sign in beside local passwords, from the environment: OpenID Connect, SAML, LDAP, a trusted proxy's header.

For `settings.py`; `docs/security.md` tells people. Each is off until its first setting is given, and needs its extra packages only
then. What `apps.access.outside` reads is named SIGN_IN_*, LDAP and TRUSTED_PROXY_*; the rest is for django-allauth.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from config.env import BadSetting, env_bool, env_list, env_str

OIDC_ID, SAML_ID = "oidc", "saml"
"""What the two are called in addresses: `/sso/oidc/oidc/login/`, `/sso/saml/saml/metadata/`."""


@dataclass(frozen=True, slots=True)
class Directory:
    """How to ask an LDAP server. Filters have `{name}`, `{dn}` filled in, escaped."""

    url: str
    user_base: str
    user_filter: str
    name_attribute: str
    bind_dn: str
    bind_password: str
    group_base: str
    group_filter: str
    start_tls: bool
    ca_file: str


def _needs(module: str, extra: str, setting: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise BadSetting(f"{setting} is set, and its packages are not installed: `pip install 'trackside[{extra}]'`.")


def _all_or_none(first: str, *others: str) -> bool:
    """Whether the group of settings is used. Raises BadSetting when only a part of it is."""
    if not env_str(first):
        return False
    if missing := [name for name in others if not env_str(name)]:
        raise BadSetting(f"{first} is set, so {' and '.join(missing)} must be, too.")
    return True


def _roles() -> dict[str, str]:
    text = env_str("TRACKSIDE_SIGN_IN_ROLES")
    try:
        found = json.loads(text) if text else {}
    except ValueError as e:
        raise BadSetting(f'TRACKSIDE_SIGN_IN_ROLES is not JSON ({e}); write {{"group of theirs": "Op"}}.') from e
    if not isinstance(found, dict) or not all(isinstance(v, str) and v for v in found.values()):
        raise BadSetting('TRACKSIDE_SIGN_IN_ROLES must be a JSON object from groups to roles: {"group of theirs": "Op"}.')
    return found


def _secure(setting: str, url: str, schemes: tuple[str, ...]) -> str:
    """An address with TLS; without it only on this machine."""
    parts = urlsplit(url)
    if parts.hostname is None or (parts.scheme not in schemes and parts.hostname not in ("localhost", "127.0.0.1", "::1")):
        raise BadSetting(f"{setting}={url!r} must begin with {schemes[0]}://: passwords and signatures travel to it.")
    return url


def _oidc() -> dict[str, Any] | None:
    if not _all_or_none("TRACKSIDE_OIDC_SERVER_URL", "TRACKSIDE_OIDC_CLIENT_ID", "TRACKSIDE_OIDC_CLIENT_SECRET"):
        return None
    _needs("allauth.socialaccount", "sso", "TRACKSIDE_OIDC_SERVER_URL")
    return {
        "provider_id": OIDC_ID,
        "name": env_str("TRACKSIDE_OIDC_NAME", "single sign-on"),
        "client_id": env_str("TRACKSIDE_OIDC_CLIENT_ID"),
        "secret": env_str("TRACKSIDE_OIDC_CLIENT_SECRET"),
        "settings": {
            "server_url": _secure("TRACKSIDE_OIDC_SERVER_URL", env_str("TRACKSIDE_OIDC_SERVER_URL"), ("https",)),
            "oauth_pkce_enabled": True,
            "scope": env_str("TRACKSIDE_OIDC_SCOPES", "openid profile email").split(),
            "name_claim": env_str("TRACKSIDE_OIDC_NAME_CLAIM", "preferred_username"),
            "groups_claim": env_str("TRACKSIDE_OIDC_GROUPS_CLAIM", "groups"),
        },
    }


def _saml() -> dict[str, Any] | None:
    if not _all_or_none("TRACKSIDE_SAML_IDP_ENTITY_ID"):
        return None
    _needs("allauth.socialaccount", "sso", "TRACKSIDE_SAML_IDP_ENTITY_ID")
    _needs("onelogin.saml2", "sso", "TRACKSIDE_SAML_IDP_ENTITY_ID")
    idp: dict[str, Any] = {"entity_id": env_str("TRACKSIDE_SAML_IDP_ENTITY_ID")}
    if url := env_str("TRACKSIDE_SAML_IDP_METADATA_URL"):
        idp["metadata_url"] = _secure("TRACKSIDE_SAML_IDP_METADATA_URL", url, ("https",))
    elif _all_or_none("TRACKSIDE_SAML_IDP_SSO_URL", "TRACKSIDE_SAML_IDP_CERT"):
        idp |= {"sso_url": env_str("TRACKSIDE_SAML_IDP_SSO_URL"), "x509cert": env_str("TRACKSIDE_SAML_IDP_CERT")}
    else:
        raise BadSetting(
            "TRACKSIDE_SAML_IDP_ENTITY_ID is set, so TRACKSIDE_SAML_IDP_METADATA_URL, or TRACKSIDE_SAML_IDP_SSO_URL and "
            "TRACKSIDE_SAML_IDP_CERT, must be, too."
        )
    entity = env_str("TRACKSIDE_SAML_ENTITY_ID")
    mapping = {name: [name] for name in ("uid", "email", "username", "first_name", "last_name")}
    try:
        mapping |= json.loads(env_str("TRACKSIDE_SAML_ATTRIBUTES", "{}"))
    except (ValueError, TypeError) as e:
        raise BadSetting('TRACKSIDE_SAML_ATTRIBUTES must be a JSON object such as {"email": "urn:oid:0.9.2342.19200300.100.1.3"}.') from e
    return {
        "provider_id": idp["entity_id"],
        "name": env_str("TRACKSIDE_SAML_NAME", "SAML"),
        "client_id": SAML_ID,
        "settings": {
            "idp": idp,
            "attribute_mapping": mapping,
            "groups_attribute": env_str("TRACKSIDE_SAML_GROUPS_ATTRIBUTE", "groups"),
            "advanced": {"want_assertion_signed": True, "reject_idp_initiated_sso": True, "strict": True},
            **({"sp": {"entity_id": entity}} if entity else {}),
        },
    }


def _ldap() -> Directory | None:
    if not _all_or_none("TRACKSIDE_LDAP_URL", "TRACKSIDE_LDAP_USER_BASE"):
        return None
    _needs("ldap3", "ldap", "TRACKSIDE_LDAP_URL")
    start_tls = env_bool("TRACKSIDE_LDAP_START_TLS", False)
    url = env_str("TRACKSIDE_LDAP_URL")
    found = Directory(
        url=url if start_tls else _secure("TRACKSIDE_LDAP_URL (or set TRACKSIDE_LDAP_START_TLS)", url, ("ldaps",)),
        user_base=env_str("TRACKSIDE_LDAP_USER_BASE"),
        user_filter=env_str("TRACKSIDE_LDAP_USER_FILTER", "(uid={name})"),
        name_attribute=env_str("TRACKSIDE_LDAP_NAME_ATTRIBUTE", "uid"),
        bind_dn=env_str("TRACKSIDE_LDAP_BIND_DN"),
        bind_password=env_str("TRACKSIDE_LDAP_BIND_PASSWORD"),
        group_base=env_str("TRACKSIDE_LDAP_GROUP_BASE"),
        group_filter=env_str("TRACKSIDE_LDAP_GROUP_FILTER", "(member={dn})"),
        start_tls=start_tls,
        ca_file=env_str("TRACKSIDE_LDAP_CA_FILE"),
    )
    if "{name}" not in found.user_filter:
        raise BadSetting("TRACKSIDE_LDAP_USER_FILTER must have {name} where the name goes: (uid={name}).")
    return found


def _proxy() -> dict[str, Any]:
    header, addresses = env_str("TRACKSIDE_TRUSTED_PROXY_HEADER"), env_list("TRACKSIDE_TRUSTED_PROXY_ADDRESSES")
    if header and not addresses:
        raise BadSetting("TRACKSIDE_TRUSTED_PROXY_HEADER is set, so TRACKSIDE_TRUSTED_PROXY_ADDRESSES must say who may send it.")
    try:
        networks = [ipaddress.ip_network(address) for address in addresses]
    except ValueError as e:
        raise BadSetting(f"TRACKSIDE_TRUSTED_PROXY_ADDRESSES: {e}. Write addresses or networks, such as 10.0.0.5,10.1.0.0/16.") from e
    if header and (wide := [str(n) for n in networks if n.prefixlen == 0]):
        raise BadSetting(f"TRACKSIDE_TRUSTED_PROXY_ADDRESSES={', '.join(wide)} would let everybody name themselves.")
    return {
        "TRUSTED_PROXY_HEADER": header,
        "TRUSTED_PROXY_GROUPS_HEADER": env_str("TRACKSIDE_TRUSTED_PROXY_GROUPS_HEADER"),
        "TRUSTED_PROXY_ADDRESSES": networks,
    }


def read() -> dict[str, Any]:
    """Settings by name. `INSTALLED_APPS`, `MIDDLEWARE` and `AUTHENTICATION_BACKENDS` are what to add. Raises BadSetting."""
    oidc, saml, ldap, proxy = _oidc(), _saml(), _ldap(), _proxy()
    found: dict[str, Any] = {
        "SIGN_IN_ROLES": _roles(),
        "SIGN_IN_DEFAULT_ROLE": env_str("TRACKSIDE_SIGN_IN_DEFAULT_ROLE"),
        "SIGN_IN_DOORS": [(app["name"], f"{kind}_login", app_id) for kind, app, app_id in (
            ("openid_connect", oidc, OIDC_ID), ("saml", saml, SAML_ID)) if app],
        "SOCIALACCOUNT_PROVIDERS": {
            **({"openid_connect": {"APPS": [oidc]}} if oidc else {}),
            **({"saml": {"APPS": [saml]}} if saml else {}),
        },
        "LDAP": ldap,
        **proxy,
        "INSTALLED_APPS": [],
        "MIDDLEWARE": ["apps.access.outside.proxy.TrustedProxyMiddleware"] if proxy["TRUSTED_PROXY_HEADER"] else [],
        "AUTHENTICATION_BACKENDS": ["apps.access.outside.directory.DirectoryBackend"] if ldap else [],
    }  # fmt: skip
    if oidc or saml:
        found["INSTALLED_APPS"] = ["allauth", "allauth.account", "allauth.socialaccount"]
        found["INSTALLED_APPS"] += ["allauth.socialaccount.providers.openid_connect"] if oidc else []
        found["INSTALLED_APPS"] += ["allauth.socialaccount.providers.saml"] if saml else []
        found["MIDDLEWARE"] += ["allauth.account.middleware.AccountMiddleware"]
    return found
