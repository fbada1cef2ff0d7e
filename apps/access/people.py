"""Domain calls on people, service accounts, roles and tokens: for the command line and for whoever signs in from outside.

The administration's forms change the same rows with their own checks. Each call leaves an audit event in its transaction.
Next door: `outside` makes accounts of people whom a directory or an identity provider vouches for; `tokens` makes tokens.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.timezone import now

from apps.access import audit, policy, tokens
from apps.access.audit import Actor
from apps.access.errors import Exists, NotThere, Refused, check_name
from apps.access.models import ApiToken, SignsInWith, User


def person(name: str) -> User:
    """The account of that name. Raises NotThere."""
    user = User.objects.filter(username=name).first()
    if user is None:
        raise NotThere(f"There is no user called {name}. `trackside users list` names them all.")
    return user


def role(name: str) -> Group:
    """The role (group) of that name. Raises NotThere."""
    group = Group.objects.filter(name=name).first()
    if group is None:
        raise NotThere(f"There is no role called {name}. `trackside roles list` names them all; `trackside roles create` makes one.")
    return group


def create_user(
    name: str,
    roles: Collection[str],
    *,
    actor: Actor,
    email: str = "",
    password: str | None = None,
    must_change_password: bool = False,
    signs_in_with: str = SignsInWith.PASSWORD,
) -> User:
    """Make an account with these roles. A `password` belongs to those that sign in with one, and is checked.

    Raises Exists, NotThere (a role) and Refused (name, e-mail or password will not do).
    """
    if User.objects.filter(username=name).exists():
        raise Exists(f"There is a user called {name} already.")
    user = User(username=name, email=email, signs_in_with=signs_in_with, is_staff="Admin" in roles)
    groups = [role(one) for one in roles]
    try:
        if signs_in_with == SignsInWith.PASSWORD:
            validate_password(password or "", user)
        user.full_clean(exclude=["password"])
    except ValidationError as error:
        raise Refused(" ".join(error.messages)) from error
    user.set_password(password if signs_in_with == SignsInWith.PASSWORD else None)
    user.must_change_password = must_change_password
    with transaction.atomic():
        user.save()
        user.groups.set(groups)
        extra: dict[str, object] = {"role": next(iter(roles))} if len(roles) == 1 else {"roles": sorted(roles)}
        if signs_in_with != SignsInWith.PASSWORD:
            extra["signs_in_with"] = str(signs_in_with)
        audit.record("create_user", actor, object_type="user", object_id=name, extra=extra)
    return user


def delete_user(name: str, *, actor: Actor) -> None:
    """Remove an account with its tokens; what it did stays in the trail. Raises NotThere; Refused for the last Admin."""
    with transaction.atomic():
        user = person(name)
        _not_the_last(user)
        before = {"groups": sorted(policy.groups_of(user)), "email": user.email, "signs_in_with": str(user.signs_in_with)}
        user.delete()
        audit.record("delete_user", actor, object_type="user", object_id=name, extra={"before": before})


def set_roles(name: str, roles: Collection[str], *, actor: Actor) -> User:
    """These roles and no others. Ends the person's sign-ins if that changes anything. Raises NotThere, Refused."""
    with transaction.atomic():
        user = person(name)
        groups = [role(one) for one in roles]
        if "Admin" not in roles and not user.is_superuser:
            _not_the_last(user)
        give(user, groups, actor=actor)
    return user


def give(user: User, groups: Collection[Group], *, actor: Actor) -> None:
    """The groups of a user, with the trail; nothing is written when they are the same."""
    before = sorted(user.groups.values_list("name", flat=True))
    after = sorted(group.name for group in groups)
    if before == after:
        return
    user.groups.set(groups)
    user.__dict__.pop("_group_names", None)
    if user.is_staff != ("Admin" in after):
        user.is_staff = "Admin" in after
        user.save(update_fields=["is_staff"])
    extra = {"before": {"groups": before}, "after": {"groups": after}}
    audit.record("change_roles", actor, object_type="user", object_id=user.get_username(), extra=extra)


def _not_the_last(user: User) -> None:
    """Somebody must be left who may do everything, and can sign in."""
    admins = User.objects.select_for_update().filter(is_active=True).exclude(signs_in_with=SignsInWith.TOKEN).order_by("pk")
    mighty = [one.pk for one in admins if policy.rank_of(one) == len(policy.ROLES)]
    if mighty == [user.pk]:
        raise Refused(f"{user.get_username()} is the last one who may do everything here. Make another Admin first.")


def create_role(name: str, *, actor: Actor) -> Group:
    """A group that `access_control` of DAG files may name. Raises Exists, Refused."""
    if Group.objects.filter(name=name).exists():
        raise Exists(f"There is a role called {name} already.")
    check_name(name, "name of the role", "name")
    group = Group(name=name)
    try:
        group.full_clean()
    except ValidationError as error:
        raise Refused(" ".join(error.messages)) from error
    with transaction.atomic():
        group.save()
        audit.record("add_group", actor, object_type="group", object_id=name)
    return group


def delete_role(name: str, *, actor: Actor) -> None:
    """Remove a group of one's own; its members lose what it gave. Raises NotThere, Refused (Viewer, User, Op, Admin stay)."""
    if name in policy.ROLES:
        raise Refused(f"{name} is one of the roles that every Trackside has. It stays.")
    with transaction.atomic():
        group = role(name)
        before = {"members": sorted(User.objects.filter(groups=group).values_list("username", flat=True))}
        group.delete()
        audit.record("delete_group", actor, object_type="group", object_id=name, extra={"before": before})


def create_token(owner: str, name: str, *, actor: Actor, scopes: Collection[str] = (), expires_at: datetime | None = None) -> str:
    """A token for scripts; its text cannot be read again. Raises NotThere, Refused."""
    user = person(owner)
    if not user.is_active:
        raise Refused(f"{owner} is disabled: a token would open nothing. Enable the account first.")
    if not name.strip() or len(name) > 100:
        raise Refused("The name of a token says what it is for, in 1 to 100 characters.")
    if unknown := sorted(set(scopes) - policy.ACTIONS):
        raise Refused(f"There is no scope {', '.join(unknown)}; there are {', '.join(sorted(policy.ACTIONS))}.")
    if expires_at is not None and expires_at <= now():
        raise Refused("That moment is past. Leave it out for a token that does not expire.")
    with transaction.atomic():
        text = tokens.make_api_token(user, name, scopes=sorted(scopes), expires_at=expires_at)
        extra = {"owner": owner, "name": name, "scopes": sorted(scopes), "expires_at": expires_at.isoformat() if expires_at else None}
        prefix = text.removeprefix(tokens.PREFIX).partition("_")[0]
        audit.record("add_api_token", actor, object_type="api_token", object_id=f"{name} ({prefix})", extra=extra)
    return text


def revoke_token(prefix: str, *, actor: Actor) -> ApiToken:
    """The token that begins with `prefix` (with or without `trk_`) is refused from now on. Raises NotThere."""
    wanted = prefix.removeprefix(tokens.PREFIX).partition("_")[0]
    with transaction.atomic():
        token = ApiToken.objects.select_for_update(of=("self",)).select_related("user").filter(prefix=wanted).first()
        if token is None:
            raise NotThere(f"There is no token {prefix}. `trackside tokens list` shows how each one begins.")
        if token.revoked_at is None:
            token.revoked_at = now()
            token.save(update_fields=["revoked_at"])
            extra = {"owner": token.user.get_username(), "name": token.name}
            audit.record("revoke_api_token", actor, object_type="api_token", object_id=str(token), extra=extra)
    return token
