"""How long a name is locked for an address after too many wrong passwords. django-axes counts; this says when to try again.

For the sign-in page and `POST /auth/token`. Counted by the pair of name and address: nobody can lock out a colleague who
signs in from elsewhere. Limits: TRACKSIDE_LOGIN_FAILURES, TRACKSIDE_LOGIN_LOCKOUT.
"""

from __future__ import annotations

import math
from typing import Any

from axes.models import AccessAttempt
from axes.signals import user_locked_out
from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.db.models import Max
from django.http import HttpRequest
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.access import audit


def locked_seconds(request: HttpRequest, username: str) -> int:
    """Seconds until this name may try again from this address, if the attempt just made was refused for that; else 0."""
    if not getattr(request, "axes_locked_out", False):
        return 0
    rows = AccessAttempt.objects.filter(username=username, ip_address=request.META.get("REMOTE_ADDR") or None)
    last = rows.aggregate(last=Max("attempt_time"))["last"]
    left = (last + settings.AXES_COOLOFF_TIME - now()).total_seconds() if last else settings.AXES_COOLOFF_TIME.total_seconds()
    return max(1, math.ceil(left))


def sentence(seconds: int) -> str:
    """What the person is told, on the page in their language; the same whether the name exists or not."""
    minutes = math.ceil(seconds / 60)
    again = ngettext(
        "Try again in %(n)s minute, or ask an administrator for a new password.",
        "Try again in %(n)s minutes, or ask an administrator for a new password.",
        minutes,
    )
    return f"{_('Too many failed sign-ins with this name from your address.')} {again % {'n': minutes}}"


def forget(request: HttpRequest, username: str) -> None:
    """The right password was given: failures before it do not count any more."""
    AccessAttempt.objects.filter(username=username, ip_address=request.META.get("REMOTE_ADDR") or None).delete()


def _note(*, username: str | None = None, request: HttpRequest | None = None, **_signal: Any) -> None:
    """One event when the limit is reached, not one for each attempt after it."""
    if request is not None and getattr(request, "axes_failures_since_start", None) == settings.AXES_FAILURE_LIMIT:
        audit.record_lockout(username or "", _means(request))


def _failed(*, credentials: dict[str, Any] | None = None, request: HttpRequest | None = None, **_signal: Any) -> None:
    """A wrong password, at the page or for a token. Not for names that are locked: that was noted when it began."""
    if request is None or getattr(request, "axes_locked_out", False):
        return
    username = str((credentials or {}).get("username") or "")
    audit.record_failed_sign_in(username, _means(request), failures=getattr(request, "axes_failures_since_start", None))


def _means(request: HttpRequest) -> str:
    return "rest" if request.path.startswith("/auth/") else "ui"


def connect() -> None:
    """Called once when the app is ready."""
    user_login_failed.connect(_failed, dispatch_uid="access.failed")
    user_locked_out.connect(_note, dispatch_uid="access.lockout")
