"""The groups that are roles exist in every database. Called after each `migrate` (and after a test's flush)."""

from __future__ import annotations

from typing import Any

from apps.access.policy import ROLES


def ensure_roles(*, using: str = "default", **_signal: Any) -> None:
    """Create Viewer, User, Op and Admin where they are missing; what people renamed or added is left alone."""
    from django.contrib.auth.models import Group

    for name in ROLES:
        Group.objects.using(using).get_or_create(name=name)
