"""Signing in by OpenID Connect, SAML, LDAP and a trusted proxy's header: one whole server with all four, against real counterparts.

The provider (signed tokens, PKCE, signed assertions) and the directory (an LDAP server) are programs of `tests/support`. The packages are
extras (`trackside[sso,ldap]`); the development requirements have them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from tests.support import identity_provider, server
from tests.support.identity_provider import Provider

pytestmark = pytest.mark.e2e
PROXY = "127.0.0.2"
"""The address that is a trusted proxy; all of 127.0.0.0/8 is this machine."""
LDIF = """\
dn: dc=example,dc=org
objectClass: dcObject
dc: example

dn: cn=reader,dc=example,dc=org
objectClass: person
cn: reader
userPassword: reader-password

dn: uid=lena,dc=example,dc=org
objectClass: inetOrgPerson
uid: lena
cn: Lena
sn: Example
mail: lena@example.org
userPassword: right for lena

dn: uid=admin,dc=example,dc=org
objectClass: inetOrgPerson
uid: admin
cn: Admin of the directory
userPassword: right for admin

dn: cn=operators,dc=example,dc=org
objectClass: groupOfNames
cn: operators
member: uid=lena,dc=example,dc=org

"""


GARBAGE = {
    "hangs up": (0, b""), "an error": (503, b"later"), "nothing": (200, b""), "a page": (200, b"<!doctype html><p>login</p>"),
    "a list": (200, b"[]"), "a text": (200, b'"x"'), "null": (200, b"null"), "an empty object": (200, b"{}"),
    "wrong types": (200, b'{"authorization_endpoint": 1, "token_endpoint": []}'), "noise": (200, bytes(range(256))),
    "xml of another kind": (200, b"<a><b/></a>"), "cut off": (200, b'<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata"'),
    "somebody else's": (200, b'<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="https://else.example"/>'),
}  # fmt: skip
"""What a provider may publish by mistake."""


class Site:
    """The running server and its counterparts."""

    def __init__(self, url: str, provider: Provider, trackside: server.Server) -> None:
        self.url, self.provider, self.trackside = url, provider, trackside
        self.with_garbage: dict[str, list[httpx.Response]] = {}
        """What the SAML addresses said to each of GARBAGE: asked before anything else, for good metadata are kept for hours."""

    def publish_garbage(self) -> None:
        for name, garbage in GARBAGE.items():
            self.provider.publishes = garbage
            with self.browser() as browser:
                self.with_garbage[name] = [browser.get(f"/sso/saml/saml/{door}/", follow_redirects=False) for door in ("login", "metadata")]
        self.provider.publishes = None

    def browser(self, address: str = "127.0.0.1", **headers: str) -> httpx.Client:
        transport = httpx.HTTPTransport(local_address=address)
        return httpx.Client(base_url=self.url, transport=transport, headers=headers, follow_redirects=True, trust_env=False, timeout=30)

    def oidc(self, **person: Any) -> httpx.Response:
        self.provider.person = person
        with self.browser() as browser:
            return browser.get("/sso/oidc/oidc/login/?next=/account")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    home = server.temporary_home("ts-outside-")
    ldif = home / "people.ldif"
    ldif.write_text(LDIF)
    command = [sys.executable, str(Path(server.__file__).parent / "directory.py"), str(ldif)]
    directory = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert directory.stdout is not None
    running = None
    try:
        with Provider() as provider:
            environment = {
                "TRACKSIDE_SIGN_IN_ROLES": '{"data-ops": "Op", "operators": "Op", "readers": "Viewer"}',
                "TRACKSIDE_OIDC_SERVER_URL": provider.url,
                "TRACKSIDE_OIDC_CLIENT_ID": identity_provider.CLIENT_ID,
                "TRACKSIDE_OIDC_CLIENT_SECRET": identity_provider.CLIENT_SECRET,
                "TRACKSIDE_OIDC_NAME": "Example Login",
                "TRACKSIDE_OIDC_GROUPS_CLAIM": "realm_access.roles",
                "TRACKSIDE_SAML_IDP_ENTITY_ID": "https://idp.example/saml",
                "TRACKSIDE_SAML_IDP_METADATA_URL": f"{provider.url}/saml-metadata",
                "TRACKSIDE_LDAP_URL": f"ldap://127.0.0.1:{directory.stdout.readline().strip()}",
                "TRACKSIDE_LDAP_BIND_DN": "cn=reader,dc=example,dc=org",
                "TRACKSIDE_LDAP_BIND_PASSWORD": "reader-password",
                "TRACKSIDE_LDAP_USER_BASE": "dc=example,dc=org",
                "TRACKSIDE_LDAP_GROUP_BASE": "dc=example,dc=org",
                "TRACKSIDE_TRUSTED_PROXY_HEADER": "X-Remote-User",
                "TRACKSIDE_TRUSTED_PROXY_GROUPS_HEADER": "X-Remote-Groups",
                "TRACKSIDE_TRUSTED_PROXY_ADDRESSES": PROXY,
            }
            (home / "dags").mkdir()
            running = server.start(home, home / "dags", environment=environment)
            made = Site(running.url, provider, running)
            made.publish_garbage()
            yield made
    finally:
        if running is not None:
            running.stop()
        directory.terminate()
        directory.wait()
        server.remove(home)


@pytest.fixture(autouse=True)
def honest(site: Site) -> Iterator[None]:
    yield
    site.provider.forged = site.provider.broken = False
    site.provider.publishes = None


def token(site: Site, name: str, password: str) -> httpx.Response:
    return httpx.post(f"{site.url}/auth/token", json={"username": name, "password": password}, trust_env=False, timeout=30)


def bearer(site: Site, answer: httpx.Response, path: str) -> int:
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    return httpx.get(f"{site.url}/api/v2{path}", headers=headers, trust_env=False).status_code


# The page ----------------------------------------------------------------------------------------------------------
def test_the_sign_in_page_offers_what_is_configured(site: Site) -> None:
    with site.browser() as browser:
        page = browser.get("/login?next=/runs").text
    assert "Sign in with Example Login" in page
    assert "Sign in with SAML" in page
    assert "/sso/oidc/oidc/login/?next=%2Fruns" in page


# OpenID Connect ----------------------------------------------------------------------------------------------------
def test_a_person_of_the_provider_is_signed_in_with_the_roles_of_their_groups(site: Site) -> None:
    page = site.oidc(sub="1", preferred_username="olga", email="olga@example.org", realm_access={"roles": ["data-ops", "else"]})
    assert (page.status_code, page.url.path) == (200, "/account")
    assert "olga" in page.text
    assert "Op" in page.text
    assert "Password now" not in page.text


def test_roles_follow_the_groups_at_the_next_sign_in(site: Site) -> None:
    site.oidc(sub="2", preferred_username="otto", realm_access={"roles": ["data-ops"]})
    page = site.oidc(sub="2", preferred_username="otto", realm_access={"roles": ["readers"]})
    assert "<p>Viewer</p>" in page.text


def test_who_a_person_is_goes_by_the_lasting_id_not_by_the_name(site: Site) -> None:
    site.oidc(sub="3", preferred_username="omar")
    renamed = site.oidc(sub="3", preferred_username="another")
    assert "<h1>omar</h1>" in renamed.text
    thief = site.oidc(sub="4", preferred_username="omar")
    assert thief.status_code == 403
    assert "belongs to another person" in thief.text


def test_a_provider_cannot_take_over_the_account_of_somebody_with_a_password_here(site: Site) -> None:
    page = site.oidc(sub="5", preferred_username="admin", realm_access={"roles": ["data-ops"]})
    assert page.status_code == 403
    assert "An administrator can change that" in page.text


def test_a_token_signed_with_another_key_signs_nobody_in(site: Site) -> None:
    site.provider.forged = True
    page = site.oidc(sub="6", preferred_username="oskar")
    assert page.status_code == 403
    assert "did not sign you in" in page.text


def test_a_code_for_another_browser_signs_nobody_in(site: Site) -> None:
    site.provider.person = {"sub": "7", "preferred_username": "ole"}
    with site.browser() as browser, site.browser() as other:
        away = browser.get("/sso/oidc/oidc/login/", follow_redirects=False)
        back = httpx.get(away.headers["location"], trust_env=False).headers["location"]
        assert other.get(back).status_code == 403
        assert other.get("/account", follow_redirects=False).status_code == 302


def test_the_way_back_leads_only_to_this_site(site: Site) -> None:
    site.provider.person = {"sub": "8", "preferred_username": "olaf"}
    with site.browser() as browser:
        page = browser.get("/sso/oidc/oidc/login/?next=https://evil.example/")
    assert page.url.host == "127.0.0.1"


def test_a_provider_that_does_not_answer_is_told_on_a_page(site: Site) -> None:
    site.provider.broken = True
    page = site.oidc(sub="10", preferred_username="ottilie")
    assert page.status_code == 503
    assert "does not answer" in page.text


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_provider_that_publishes_something_else_is_told_on_a_page(site: Site, garbage: str) -> None:
    site.provider.publishes = GARBAGE[garbage]
    page = site.oidc(sub="11", preferred_username="olga")
    assert (page.status_code, "does not answer as it should" in page.text) == (503, True), page.text


# SAML --------------------------------------------------------------------------------------------------------------
def saml(site: Site, *, name_id: str, attributes: dict[str, list[str]], audience: str | None = None) -> httpx.Response:
    with site.browser() as browser:
        away = browser.get("/sso/saml/saml/login/?next=/account", follow_redirects=False)
        acs = f"{site.url}/sso/saml/saml/acs/"
        audience = audience or f"{site.url}/sso/saml/saml/metadata/"
        answer = site.provider.saml_response(away.headers["location"], acs, audience, attributes, name_id=name_id)
        return browser.post("/sso/saml/saml/acs/", data={"SAMLResponse": answer, "RelayState": ""})


def test_the_metadata_for_the_identity_provider_can_be_read(site: Site) -> None:
    with site.browser() as browser:
        answer = browser.get("/sso/saml/saml/metadata/")
    assert answer.status_code == 200
    assert urljoin(site.url, "/sso/saml/saml/acs/") in answer.text
    assert 'WantAssertionsSigned="true"' in answer.text


def test_a_signed_assertion_signs_in(site: Site) -> None:
    page = saml(site, name_id="s-1", attributes={"username": ["sara"], "groups": ["readers", "data-ops"], "email": ["s@example.org"]})
    assert (page.status_code, page.url.path) == (200, "/account")
    assert "<h1>sara</h1>" in page.text
    assert "<p>Op, Viewer</p>" in page.text


@pytest.mark.parametrize("garbage", GARBAGE)
def test_metadata_that_are_none_are_told_on_a_page_and_do_not_stay(site: Site, garbage: str) -> None:
    for page in site.with_garbage[garbage]:
        assert (page.status_code, "does not answer as it should" in page.text) == (503, True), page.text


@pytest.mark.parametrize("sent", ["", "!", "AAAA", "PGE+", "PGE+PC9hPg=="])
def test_an_assertion_that_is_none_is_told_on_a_page(site: Site, sent: str) -> None:
    with site.browser() as browser:
        answers = [browser.post("/sso/saml/saml/acs/", data={"SAMLResponse": sent}), browser.get("/sso/saml/saml/acs/finish/")]
        answers += [browser.get("/sso/saml/saml/sls/", params={name: sent}) for name in ("SAMLRequest", "SAMLResponse", "x")]
        assert browser.get("/account", follow_redirects=False).status_code == 302
    assert {a.status_code for a in answers} <= {200, 400, 403}


@pytest.mark.parametrize("wrong", ["key", "audience"])
def test_an_assertion_of_another_key_or_for_another_site_signs_nobody_in(site: Site, wrong: str) -> None:
    site.provider.forged = wrong == "key"
    audience = "https://elsewhere.example/" if wrong == "audience" else None
    page = saml(site, name_id="s-2", attributes={"username": ["sven"]}, audience=audience)
    assert page.status_code == 403
    assert "did not sign you in" in page.text


# LDAP --------------------------------------------------------------------------------------------------------------
def test_a_person_of_the_directory_signs_in_with_the_password_there(site: Site) -> None:
    answer = token(site, "lena", "right for lena")
    assert answer.status_code == 201, answer.text
    assert bearer(site, answer, "/connections") == 200, "the group operators is the role Op"


@pytest.mark.parametrize(("name", "password"), [("lena", "wrong"), ("lena", " "), ("l*", "right for lena"), ("nobody", "right for lena")])
def test_wrong_names_and_passwords_are_refused_by_the_directory(site: Site, name: str, password: str) -> None:
    assert token(site, name, password).status_code == 401


def test_a_directory_does_not_open_a_local_account_of_the_same_name(site: Site) -> None:
    assert token(site, "admin", "right for admin").status_code == 401
    assert token(site, "admin", server.PASSWORD).status_code == 201


def test_people_of_the_directory_may_use_the_page(site: Site) -> None:
    with site.browser() as browser:
        browser.get("/login")
        form = {"username": "lena", "password": "right for lena", "next": "/account"}
        form["csrfmiddlewaretoken"] = next(v for k, v in browser.cookies.items() if "csrf" in k)
        page = browser.post("/login", data=form, headers={"Referer": f"{site.url}/login"})
    assert "<h1>lena</h1>" in page.text


# Trusted proxy ------------------------------------------------------------------------------------------------------
def test_the_proxy_names_who_is_there(site: Site) -> None:
    with site.browser(PROXY, **{"X-Remote-User": "paul", "X-Remote-Groups": "readers, else"}) as browser:
        page = browser.get("/account")
        assert "<h1>paul</h1>" in page.text
        assert "<p>Viewer</p>" in page.text
        assert browser.get("/api/v2/dags").status_code == 200
        assert browser.get("/api/v2/connections").status_code == 403


@pytest.mark.parametrize("more", [{}, {"X-Forwarded-For": PROXY}, {"Forwarded": f"for={PROXY}"}, {"X-Real-IP": PROXY}])
def test_the_header_means_nothing_from_any_other_address(site: Site, more: dict[str, str]) -> None:
    with site.browser("127.0.0.1", **{"X-Remote-User": "paul"}, **more) as browser:
        assert browser.get("/api/v2/dags").status_code == 401
        assert browser.get("/account", follow_redirects=False).status_code == 302


def test_a_session_of_the_proxy_ends_when_it_is_carried_elsewhere(site: Site) -> None:
    with site.browser(PROXY, **{"X-Remote-User": "paul"}) as browser:
        browser.get("/account")
        cookies = dict(browser.cookies)
    with site.browser("127.0.0.1") as thief:
        thief.cookies.update(cookies)
        assert thief.get("/account", follow_redirects=False).status_code == 302


def test_the_proxy_does_not_open_accounts_that_sign_in_another_way(site: Site) -> None:
    with site.browser(PROXY, **{"X-Remote-User": "admin"}) as browser:
        page = browser.get("/account")
        assert page.status_code == 403
        assert "An administrator can change that" in page.text
        assert browser.get("/api/v2/dags").status_code == 403


def test_sign_ins_from_outside_are_in_the_trail(site: Site) -> None:
    site.oidc(sub="9", preferred_username="oda", realm_access={"roles": ["readers"]})
    events = site.trackside.get("/eventLogs", limit=100, order_by="-when")["event_logs"]
    mine = {e["event"] for e in events if e["owner"] == "oda"}
    assert {"login", "create_user", "change_roles"} <= mine
