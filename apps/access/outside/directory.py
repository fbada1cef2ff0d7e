"""Signing in with the name and password of an LDAP directory (TRACKSIDE_LDAP_…), at the sign-in page and at `POST /auth/token`.

The server looks the person up (with an account of its own, or anonymously), then tries their password in a connection of theirs.
Passwords are not kept. Wrong ones count for the lock-out as local ones do. The client is ldap3, pure Python: nothing to compile.
"""

from __future__ import annotations

import logging
import ssl
from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from apps.access.errors import Refused
from apps.access.models import SignsInWith, User
from apps.access.outside import accounts

log = logging.getLogger(__name__)
WAIT_S = 5
"""Seconds for connecting and for each answer: a directory that hangs must not hold a sign-in for long."""


class DirectoryBackend(ModelBackend):
    """Django's way to ask; sessions are checked as local ones."""

    def authenticate(self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any) -> User | None:
        """The person, or None when the directory does not know them by this password, or cannot be asked (the log says why)."""
        place = settings.LDAP
        # an empty password would be an anonymous bind, which succeeds
        if place is None or not username or not password or "\x00" in username:
            return None
        if User.objects.filter(username=username).exclude(signs_in_with=SignsInWith.LDAP).exists():
            return None  # a local account of that name: its password is nothing for the directory
        from ldap3.core.exceptions import LDAPException

        try:
            found = _look_up(place, username, password)
        except (LDAPException, OSError) as e:
            log.error("the directory %s cannot be asked: %s", place.url, e)
            return None
        if found is None:
            return None
        try:
            return accounts.admit(found.pop("name"), SignsInWith.LDAP, **found)
        except Refused as e:
            log.warning("%s is known to the directory and not admitted: %s", username, e.detail)
            return None


def _look_up(place: Any, username: str, password: str) -> dict[str, Any] | None:
    """What the directory says of the person, if the password is right. Raises LDAPException, OSError."""
    from ldap3.utils.conv import escape_filter_chars

    with _connected(place, place.bind_dn or None, place.bind_password or None) as own:
        if own is None:
            log.error("the directory %s refuses TRACKSIDE_LDAP_BIND_DN", place.url)
            return None
        wanted = [place.name_attribute, "mail", "givenName", "sn", "memberOf"]
        own.search(place.user_base, place.user_filter.format(name=escape_filter_chars(username)), attributes=wanted, size_limit=2)
        people = [entry for entry in own.response or () if entry.get("type") == "searchResEntry"]
        if len(people) != 1:
            return None
        dn, told = people[0]["dn"], people[0]["attributes"]
        with _connected(place, dn, password) as theirs:
            if theirs is None:
                return None
        groups = list(_texts(told, "memberOf"))
        if place.group_base:
            escaped = {"dn": escape_filter_chars(dn), "name": escape_filter_chars(username)}
            own.search(place.group_base, place.group_filter.format(**escaped), attributes=["cn"])
            groups += [entry["dn"] for entry in own.response or () if entry.get("type") == "searchResEntry"]
    first = {name: next(iter(_texts(told, name)), "") for name in (place.name_attribute, "mail", "givenName", "sn")}
    named = {part.partition("=")[2] for dn in groups for part in dn.split(",")[:1] if part.lower().startswith("cn=")}
    return {
        "name": first[place.name_attribute] or username,
        "email": first["mail"],
        "first_name": first["givenName"],
        "last_name": first["sn"],
        "groups": {*groups, *named},
    }


class _connected:
    """A bound connection as a context manager; None if the bind was refused."""

    def __init__(self, place: Any, dn: str | None, password: str | None) -> None:
        import ldap3

        self._start_tls = place.start_tls
        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=place.ca_file or None)
        server = ldap3.Server(place.url, tls=tls, connect_timeout=WAIT_S, get_info=ldap3.NONE)
        self._held = ldap3.Connection(server, dn, password, receive_timeout=WAIT_S, auto_referrals=False, check_names=False)

    def __enter__(self) -> Any:
        if self._start_tls:
            self._held.open()
            self._held.start_tls()
        return self._held if self._held.bind() else None

    def __exit__(self, *_: object) -> None:
        self._held.unbind()


def _texts(attributes: Any, name: str) -> list[str]:
    """Values of an attribute as text; servers write names in any case, and values as text, bytes or lists of them."""
    for key, value in dict(attributes).items():
        if key.lower() == name.lower():
            values = value if isinstance(value, list | tuple) else [value]
            return [one.decode(errors="replace") if isinstance(one, bytes) else str(one) for one in values if one not in (None, "")]
    return []
