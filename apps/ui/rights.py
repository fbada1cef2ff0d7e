"""What the person may do, asked in one place by all pages and sockets. The answer is `apps.access.policy`'s."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser

from apps.access.models import User

Person = User | AnonymousUser


def allowed(user: Any, action: str, kind: str, dag_id: str | None = None) -> bool:
    """Whether `user` may do `action` (read, edit, create, delete) to a `kind` of thing, of one DAG or of any."""
    if not user.is_authenticated or not user.is_active:
        return False
    from apps.access import policy

    return bool(policy.allowed(user, action, kind, dag_id=dag_id))


def somewhere(user: Any, action: str, kind: str) -> bool:
    """`allowed`, or to those things of the kind that are a team's in which the person has a role."""
    from apps.access import policy

    return allowed(user, action, kind) or (user.is_authenticated and bool(policy.teams_for(user, action, kind)))
