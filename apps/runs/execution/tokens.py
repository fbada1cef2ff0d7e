"""Try tokens: `<try id>.<secret>`, new at every hand-out; the database keeps a hash, so a stolen dump starts nothing."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from uuid import UUID

from django.conf import settings


def new_secret() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What the database keeps."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(secret: str, kept: str | None) -> bool:
    """Whether `secret` is the one whose digest was kept; constant time."""
    return kept is not None and hmac.compare_digest(digest(secret), kept)


def split(token: str) -> tuple[UUID, str] | None:
    """(try id, secret) of a try token, None if it is none."""
    try_id, _, secret = token.partition(".")
    try:
        return (UUID(try_id), secret) if secret else None
    except ValueError:
        return None


def is_worker(token: str) -> bool:
    """Whether this is the worker token (`worker.<secret>` or the bare secret)."""
    return hmac.compare_digest(token.removeprefix("worker.").encode(), settings.WORKER_TOKEN.encode())


def start_token(try_id: UUID) -> str:
    """Single-use token that lets a runner start exactly this try; bound to it by HMAC, spent by the claim."""
    mac = hmac.new(settings.WORKER_TOKEN.encode(), f"start:{try_id}".encode(), hashlib.sha256).hexdigest()
    return f"{try_id}.{mac}"


def is_start_token(token: str, try_id: UUID) -> bool:
    """Whether `token` is the start token of this try."""
    return hmac.compare_digest(token.encode(), start_token(try_id).encode())
