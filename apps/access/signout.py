"""Ends what a person is signed in with: sessions of the pages with their sockets, signed tokens (JWT), tokens for scripts.

Sessions and signed tokens carry a fingerprint of password and `User.sign_in_epoch` and die when either changes; that is
checked with every request, and every few seconds by open sockets and streams. Whatever changes a user row or its groups ends
up here (`User.save`, the signal below), so that no face can forget it:

* a new password, and an account that is disabled: everything ends, tokens for scripts are revoked;
* another role, here or in a team, or the superuser flag: sessions and signed tokens end. Tokens for scripts go
  on and may at once do exactly what the new role may: every request asks the policy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import F
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.utils.timezone import now

from apps.access import audit
from apps.access.models import ApiToken, TeamMember, User


def everywhere(user: User, *, actor: audit.Actor, api_tokens: bool = False) -> None:
    """Sign a person out on all devices; with `api_tokens` also revoke their tokens for scripts."""
    end_sign_ins([user.pk])
    user.refresh_from_db(fields=["sign_in_epoch"])
    revoked = ApiToken.objects.filter(user=user, revoked_at=None).update(revoked_at=now()) if api_tokens else 0
    extra = {"api_tokens_revoked": revoked}
    audit.record("sign_out_everywhere", actor, object_type="user", object_id=user.get_username(), extra=extra)


def end_sign_ins(pks: Iterable[int]) -> None:
    """Sessions and signed tokens of these people are refused from now on."""
    User.objects.filter(pk__in=list(pks)).update(sign_in_epoch=F("sign_in_epoch") + 1)


def _groups_changed(*, instance: Any, action: str, reverse: bool, pk_set: set[int] | None, **_signal: Any) -> None:
    if action in ("post_add", "post_remove") and not pk_set:
        return
    if reverse:  # group.user_set
        if action in ("post_add", "post_remove"):
            end_sign_ins(pk_set or ())
        elif action == "pre_clear":
            end_sign_ins(instance.user_set.values_list("pk", flat=True))
    elif action in ("post_add", "post_remove", "post_clear"):
        end_sign_ins([instance.pk])
        instance.refresh_from_db(fields=["sign_in_epoch"])


def _membership_changed(*, instance: TeamMember, **_signal: Any) -> None:
    end_sign_ins([instance.user_id])


def connect() -> None:
    """Called once when the app is ready."""
    for signal in (post_save, post_delete):
        signal.connect(_membership_changed, sender=TeamMember, dispatch_uid="access.signout.teams")
    m2m_changed.connect(_groups_changed, sender=User.groups.through, dispatch_uid="access.signout")
