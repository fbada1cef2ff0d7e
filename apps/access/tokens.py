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
from typing import Any

import jwt
from django.conf import settings
from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Exists, Q
from django.utils.timezone import now

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


def _people() -> Any:
    """Users with the names of their groups, in one query."""
    return User.objects.annotate(group_names=ArrayAgg("groups__name", filter=Q(groups__isnull=False), default=[]))


def user_of(token: str) -> User:
    """Whose token this is. Raises BadToken or DeadToken. One query for a JWT."""
    if token.startswith(PREFIX):
        return _user_of_api_token(token)
    claims = _claims(token)
    if not claims["sub"].isdecimal() or len(claims["sub"]) > 18:
        raise BadToken("Invalid token.")
    revoked = Exists(RevokedToken.objects.filter(jti=claims["jti"]))
    user: User | None = _people().annotate(revoked=revoked).filter(pk=int(claims["sub"])).first()
    if user is None or not user.is_active or user.revoked:  # type: ignore[attr-defined]
        raise DeadToken("The token was revoked. Sign in again.")
    if not hmac.compare_digest(_fingerprint(user), str(claims.get("pwd", ""))):
        raise DeadToken("The password changed since this token was made. Sign in again.")
    return _with_groups(user)


def _with_groups(user: User) -> User:
    user._group_names = frozenset(user.group_names)  # type: ignore[attr-defined]
    return user


def _user_of_api_token(token: str) -> User:
    prefix, _, secret = token.removeprefix(PREFIX).partition("_")
    found = ApiToken.objects.filter(prefix=prefix).first() if prefix and secret and "\x00" not in prefix else None
    if found is None or not hmac.compare_digest(found.secret_hash, hash_of(secret)):
        raise DeadToken("No such token.")
    at = now()
    if found.revoked_at is not None or (found.expires_at is not None and found.expires_at <= at):
        raise DeadToken("The token has expired or was revoked.")
    user: User | None = _people().filter(pk=found.user_id, is_active=True).first()
    if user is None:
        raise DeadToken("The owner of the token may no longer sign in.")
    if found.last_used_at is None or at - found.last_used_at > _USED_EVERY:
        ApiToken.objects.filter(pk=found.pk).update(last_used_at=at)
    user.token_scopes = frozenset(found.scopes)  # type: ignore[attr-defined]
    return _with_groups(user)


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
