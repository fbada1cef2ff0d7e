"""The two kinds of bearer tokens of the REST API: signed ones for a sign-in (JWT) and lasting ones for scripts (`trk_…`).

Called by `authentication.py` (every request), by the token operations and by the admin. A JWT ends with its time, with a
sign-out (`revoke`), when its person's password changes, and when the person is disabled. An API token ends when it is revoked.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import connection
from django.utils.timezone import now

from apps.access import prepared
from apps.access.models import ApiToken, RevokedToken, User

AUDIENCE = "trackside:rest"
ISSUER = "trackside"
ALGORITHM = "HS256"
PREFIX = "trk_"
_USED_EVERY = timedelta(minutes=1)


class BadToken(Exception):
    """This is no token of ours: it cannot be decoded."""


class DeadToken(Exception):
    """The token was good once: it ran out, was revoked, or its owner may no longer sign in. Sign in again."""


def _fingerprint(user: User) -> str:
    """Changes with the password, so that old tokens die with the old password."""
    return user.get_session_auth_hash()[:16]


def issue(user: User, *, lifetime: timedelta | None = None, at: datetime | None = None) -> str:
    """A signed token of `user`; lasts TRACKSIDE_JWT_LIFETIME if not said otherwise."""
    at = at or now()
    claims = {
        "sub": str(user.pk),
        "aud": AUDIENCE,
        "iss": ISSUER,
        "iat": at,
        "nbf": at,
        "exp": at + (lifetime or timedelta(seconds=settings.JWT_LIFETIME)),
        "jti": uuid.uuid4().hex,
        "pwd": _fingerprint(user),
    }
    return jwt.encode(claims, settings.JWT_KEY, algorithm=ALGORITHM)


def _claims(token: str) -> dict[str, Any]:
    try:
        return jwt.decode(
            token,
            settings.JWT_KEY,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": ["exp", "sub", "jti", "aud", "iss"]},
        )
    except jwt.ExpiredSignatureError as e:
        raise DeadToken("The token has expired. Sign in again.") from e
    except jwt.InvalidTokenError as e:
        raise BadToken("Invalid token.") from e


@cache
def _find_user() -> tuple[str, list[str], list[Any]]:
    """The statement that every call begins with, the names of the user's columns it gives, and what reads each of them."""
    columns = [str(f.column) for f in User._meta.concrete_fields]
    member, group = User.groups.through._meta.db_table, Group._meta.db_table
    statement = (
        f"SELECT {', '.join(f'u.{c}' for c in columns)}, "  # noqa: S608
        f"ARRAY(SELECT g.name FROM {member} m JOIN {group} g ON g.id = m.group_id WHERE m.user_id = u.id), "
        f"EXISTS (SELECT 1 FROM {RevokedToken._meta.db_table} r WHERE r.jti = %s::text) "
        f"FROM {User._meta.db_table} u WHERE u.id = %s::bigint"
    )
    fields = User._meta.concrete_fields
    return statement, [f.attname for f in fields], [getattr(f, "from_db_value", lambda value, *_: value) for f in fields]


def _user(pk: int, jti: str | None = None) -> User | None:
    """An active user who knows the names of their groups; None if there is none, or `jti` was signed out. One statement."""
    statement, names, readers = _find_user()
    found = prepared.rows(statement, [jti, pk])
    if not found:
        return None
    *values, groups, revoked = found[0]
    user = User.from_db("default", names, [read(v, None, connection) for read, v in zip(readers, values, strict=True)])
    user._group_names = frozenset(groups)  # type: ignore[attr-defined]
    return user if user.is_active and not revoked else None


def user_of(token: str) -> User:
    """Whose token this is. Raises BadToken or DeadToken. One query for a JWT."""
    if token.startswith(PREFIX):
        return _user_of_api_token(token)
    claims = _claims(token)
    if not claims["sub"].isdecimal() or len(claims["sub"]) > 18:
        raise BadToken("Invalid token.")
    user = _user(int(claims["sub"]), str(claims["jti"]))
    if user is None:
        raise DeadToken("The token was revoked. Sign in again.")
    if not hmac.compare_digest(_fingerprint(user), str(claims.get("pwd", ""))):
        raise DeadToken("The password changed since this token was made. Sign in again.")
    return user


def _user_of_api_token(token: str) -> User:
    prefix, _, secret = token.removeprefix(PREFIX).partition("_")
    found = ApiToken.objects.filter(prefix=prefix).first() if prefix and secret and "\x00" not in prefix else None
    if found is None or not hmac.compare_digest(found.secret_hash, hash_of(secret)):
        raise DeadToken("No such token.")
    at = now()
    if found.revoked_at is not None or (found.expires_at is not None and found.expires_at <= at):
        raise DeadToken("The token has expired or was revoked.")
    user = _user(found.user_id)
    if user is None:
        raise DeadToken("The owner of the token may no longer sign in.")
    if found.last_used_at is None or at - found.last_used_at > _USED_EVERY:
        ApiToken.objects.filter(pk=found.pk).update(last_used_at=at)
    user.token_scopes = frozenset(found.scopes)  # type: ignore[attr-defined]
    user.token_pk = found.pk  # type: ignore[attr-defined]
    user.token_name = str(found)  # type: ignore[attr-defined]
    return user


def hash_of(secret: str) -> str:
    """SHA-256, hex: enough for secrets of 256 random bits."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def make_api_token(
    user: User, name: str, *, scopes: list[str] | None = None, expires_at: datetime | None = None
) -> str:
    """Store a new lasting token and return its text, which cannot be read again.

    `scopes`: actions of `policy.ACTIONS` it is limited to, empty for all of its owner's.
    """
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    ApiToken.objects.create(
        user=user, name=name, prefix=prefix, secret_hash=hash_of(secret), scopes=scopes or [], expires_at=expires_at
    )
    return f"{PREFIX}{prefix}_{secret}"


def revoke(token: str) -> None:
    """Sign out: the token is refused from now on. A token that is no good anyway is left alone."""
    if token.startswith(PREFIX):
        return
    try:
        claims = _claims(token)
    except (BadToken, DeadToken):
        return
    RevokedToken.objects.filter(expires_at__lt=now()).delete()
    RevokedToken.objects.get_or_create(
        jti=claims["jti"], defaults={"expires_at": datetime.fromtimestamp(claims["exp"], tz=UTC)}
    )
