"""Try tokens: `<try id>.<secret>`, new at every hand-out; the database keeps a hash, so a stolen dump starts nothing. Beside them what
lets a runner begin: the worker token (any try), start tokens (one try, once), place tokens (a warm pod: tries of its key)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import asdict
from uuid import UUID

from django.conf import settings

from trackside.executors.base import Grant


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


def place_token(grant: Grant) -> str:
    """Lets a warm pod ask for tries for so long, and do nothing else."""
    fields = {**asdict(grant), "until": int(time.time()) + grant.seconds}
    body = base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()
    return f"warm.{body}.{_place_mac(body)}"


def grant_of(token: str) -> Grant | None:
    """What a place token grants; None if it is none, or not any more."""
    kind, _, rest = token.partition(".")
    body, _, mac = rest.partition(".")
    if kind != "warm" or not hmac.compare_digest(mac.encode(), _place_mac(body).encode()):
        return None
    fields = json.loads(base64.urlsafe_b64decode(body))
    return Grant(**fields) if fields.pop("until") > time.time() else None


def _place_mac(body: str) -> str:
    return hmac.new(settings.WORKER_TOKEN.encode(), f"place:{body}".encode(), hashlib.sha256).hexdigest()
