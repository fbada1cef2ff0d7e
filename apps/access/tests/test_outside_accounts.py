"""Accounts of people somebody else vouches for: who is admitted, with which roles; and settings that make no sense."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.test import RequestFactory

from apps.access import policy
from apps.access.models import AuditEvent, SignsInWith, User
from apps.access.outside import accounts, proxy
from apps.access.tests.resthelp import person

LDAP, PROXY = SignsInWith.LDAP, SignsInWith.PROXY


@pytest.fixture(autouse=True)
def mapping(settings: Any) -> None:
    settings.SIGN_IN_ROLES = {"ops": "Op", "all": "Viewer", "team-a": "team-a"}
    settings.SIGN_IN_DEFAULT_ROLE = ""


@pytest.mark.django_db
def test_the_first_sign_in_makes_an_account_without_a_password() -> None:
    user = accounts.admit("ada", LDAP, groups=["ops", "else"], email="ada@example.org")
    assert (user.signs_in_with, user.has_usable_password(), user.email) == ("ldap", False, "ada@example.org")
    assert policy.groups_of(User.objects.get(username="ada")) == {"Op"}
    assert AuditEvent.objects.filter(action="create_user", object_id="ada").count() == 1


@pytest.mark.django_db
def test_who_leaves_a_group_loses_its_role_and_keeps_what_an_administrator_gave() -> None:
    user = accounts.admit("ada", LDAP, groups=["ops", "team-a"])
    user.groups.create(name="by-hand")
    accounts.admit("ada", LDAP, groups=["all"])
    assert policy.groups_of(User.objects.get(username="ada")) == {"Viewer", "by-hand"}


@pytest.mark.django_db
def test_nothing_is_written_when_nothing_changed() -> None:
    accounts.admit("ada", LDAP, groups=["ops"])
    epoch, events = User.objects.get(username="ada").sign_in_epoch, AuditEvent.objects.count()
    accounts.admit("ada", LDAP, groups=["ops"])
    assert (User.objects.get(username="ada").sign_in_epoch, AuditEvent.objects.count()) == (epoch, events)


@pytest.mark.django_db
def test_whose_groups_lead_to_no_role_gets_the_default_one(settings: Any) -> None:
    settings.SIGN_IN_DEFAULT_ROLE = "Viewer"
    accounts.admit("ada", LDAP, groups=["else"])
    assert policy.groups_of(User.objects.get(username="ada")) == {"Viewer"}
    accounts.admit("ada", LDAP, groups=["ops"])
    assert policy.groups_of(User.objects.get(username="ada")) == {"Op"}


@pytest.mark.django_db
def test_without_a_mapping_roles_are_the_administrators_alone(settings: Any) -> None:
    settings.SIGN_IN_ROLES, settings.SIGN_IN_DEFAULT_ROLE = {}, "Viewer"
    accounts.admit("ada", LDAP, groups=["ops"]).groups.clear()
    accounts.admit("ada", LDAP, groups=["ops"])
    assert policy.groups_of(User.objects.get(username="ada")) == set()


@pytest.mark.django_db
@pytest.mark.parametrize("way", ["password", "token", "proxy"])
def test_an_account_that_signs_in_another_way_is_not_opened(way: str) -> None:
    person("Admin", username="ada", signs_in_with=way)
    with pytest.raises(accounts.NotAdmitted, match="An administrator can change that"):
        accounts.admit("ada", LDAP, groups=["ops"])
    assert policy.groups_of(User.objects.get(username="ada")) == {"Admin"}


@pytest.mark.django_db
def test_a_disabled_account_stays_disabled() -> None:
    accounts.admit("ada", LDAP)
    User.objects.filter(username="ada").update(is_active=False)
    with pytest.raises(accounts.NotAdmitted, match="disabled"):
        accounts.admit("ada", LDAP)


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["", "a" * 151, "two words", "line\nbreak", "nul\x00"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(accounts.NotAdmitted):
        accounts.admit(name, PROXY)
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("address", "scope", "trusted"),
    [
        ("10.0.0.5", {}, True),
        ("10.0.0.6", {}, False),
        ("", {}, False),
        ("10.0.0.5", {"trackside.peer": "10.0.0.6"}, False),  # what X-Forwarded-For says does not count
        ("10.0.0.6", {"trackside.peer": "10.0.0.5"}, True),
        ("10.0.0.5", {"trackside.peer": None}, False),
    ],
)
def test_only_the_connections_own_address_makes_a_proxy_trusted(
    settings: Any, address: str, scope: dict[str, str | None], trusted: bool
) -> None:
    settings.TRUSTED_PROXY_ADDRESSES = [ip_network("10.0.0.5/32")]
    request = RequestFactory().get("/", REMOTE_ADDR=address)
    request.scope = scope  # type: ignore[attr-defined]
    assert proxy.is_from_proxy(request) is trusted


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"TRACKSIDE_OIDC_SERVER_URL": "https://idp.example"}, "TRACKSIDE_OIDC_CLIENT_ID and TRACKSIDE_OIDC_CLIENT_SECRET must be"),
        ({"TRACKSIDE_SIGN_IN_ROLES": "[]"}, "must be a JSON object"),
        ({"TRACKSIDE_SIGN_IN_ROLES": "{ops}"}, "is not JSON"),
        ({"TRACKSIDE_SAML_IDP_ENTITY_ID": "x"}, "TRACKSIDE_SAML_IDP_METADATA_URL"),
        ({"TRACKSIDE_LDAP_URL": "ldap://far.example", "TRACKSIDE_LDAP_USER_BASE": "dc=x"}, "must begin with ldaps://"),
        ({"TRACKSIDE_TRUSTED_PROXY_HEADER": "X-Remote-User"}, "TRACKSIDE_TRUSTED_PROXY_ADDRESSES must say"),
        ({"TRACKSIDE_TRUSTED_PROXY_HEADER": "X", "TRACKSIDE_TRUSTED_PROXY_ADDRESSES": "0.0.0.0/0"}, "everybody name themselves"),
        ({"TRACKSIDE_TRUSTED_PROXY_ADDRESSES": "proxy.example"}, "Write addresses or networks"),
    ],
)
def test_settings_that_make_no_sense_stop_the_start_with_one_line(tmp_path: Path, given: dict[str, str], words: str) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TRACKSIDE_")}
    command = [sys.executable, "-c", "from config.signin import read; read()"]
    done = subprocess.run(command, env={**clean, **given}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
