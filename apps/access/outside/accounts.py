"""An account and roles for a person somebody else vouches for. Called by every way to sign in from outside, at each sign-in.

An account belongs to one way (`User.signs_in_with`): whoever is called `admin` in a directory does not become the `admin` with the
password here. An administrator may hand an account over by changing how it signs in. Disabled and service accounts stay outside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.http import HttpRequest

from apps.access import audit, people
from apps.access.audit import Actor
from apps.access.errors import Refused
from apps.access.models import SignsInWith, User

BACKEND = "django.contrib.auth.backends.ModelBackend"
"""What sessions of people from outside are checked with: the account must be active."""


class NotAdmitted(Refused):
    """Somebody vouched for the person, and they may still not come in; the message says why and who can help."""

    status = 403


def admit(
    name: str,
    way: SignsInWith,
    *,
    groups: Iterable[str] = (),
    email: str = "",
    first_name: str = "",
    last_name: str = "",
    known: User | None = None,
) -> User:
    """The account of the person, made at the first sign-in, with the roles that `groups` of theirs lead to.

    `known`: the account if something more lasting than the name says which it is. Raises NotAdmitted.
    """
    if "\x00" in name:
        raise NotAdmitted("That cannot be the name of an account here. Ask an administrator.")
    with transaction.atomic():
        found = User.objects.select_for_update().filter(pk=known.pk) if known else User.objects.select_for_update().filter(username=name)
        user = found.first()
        if user is None:
            user = _make(name, way, email=email, first_name=first_name, last_name=last_name)
        elif user.signs_in_with != way:
            raise NotAdmitted(
                f"There is an account called {user.get_username()} that signs in with {SignsInWith(user.signs_in_with).label}, "
                f"not with {way.label}. An administrator can change that on the page of the account."
            )
        elif not user.is_active:
            raise NotAdmitted(f"The account {user.get_username()} is disabled. An administrator can enable it.")
        _give_roles(user, set(groups), way)
    return user


def signed_in(request: HttpRequest, user: User) -> None:
    """Writes the sign-in to the trail."""
    name = user.get_username()
    audit.record("login", Actor(name, "ui"), object_type="user", object_id=name, extra={"signs_in_with": user.signs_in_with})


def _make(name: str, way: SignsInWith, *, email: str, first_name: str, last_name: str) -> User:
    user = User(username=name, signs_in_with=way, email=_mail(email), first_name=first_name[:150], last_name=last_name[:150])
    user.set_unusable_password()
    try:
        user.full_clean(exclude=["password"])
    except ValidationError as e:
        raise NotAdmitted(f"{name[:150]!r} cannot be the name of an account here: {' '.join(e.messages)} Ask an administrator.") from e
    user.save()
    if settings.SIGN_IN_DEFAULT_ROLE and not settings.SIGN_IN_ROLES:
        people.give(user, _groups([settings.SIGN_IN_DEFAULT_ROLE]), actor=Actor(name, way.value))
    audit.record("create_user", Actor(name, "ui"), object_type="user", object_id=name, extra={"signs_in_with": way.value})
    return user


def _mail(text: str) -> str:
    try:
        validate_email(text)
    except ValidationError:
        return ""
    return text


def _give_roles(user: User, groups: set[str], way: SignsInWith) -> None:
    """Roles follow the groups out there at each sign-in; roles that the mapping does not name are the administrators' own."""
    mapping: dict[str, str] = settings.SIGN_IN_ROLES
    if not mapping:
        return
    default = settings.SIGN_IN_DEFAULT_ROLE
    wanted = {mapping[group] for group in groups if group in mapping} or ({default} if default else set())
    managed = {*mapping.values(), default}
    kept = {name for name in user.groups.values_list("name", flat=True) if name not in managed}
    people.give(user, _groups(kept | wanted), actor=Actor(user.get_username(), way.value))


def _groups(names: Collection[str]) -> list[Group]:
    return [Group.objects.get_or_create(name=name)[0] for name in sorted(names)]
