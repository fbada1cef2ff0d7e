"""REST: users, service accounts and roles, for administrators. Airflow 3.3 has no such operations; these are Trackside's own.

Each is one domain call of `apps.access.people`, as the command line makes it. Next door: `tokens`.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Count
from pydantic import Field as Constraint

from apps.access import people, policy, role_rights
from apps.access.models import SignsInWith, User
from apps.access.rest import idempotency
from apps.access.rest.body import Body
from apps.access.rest.errors import flaw, invalid
from apps.access.rest.fields import flag, moment, text, texts, whole
from apps.access.rest.filters import Equals, Pattern
from apps.access.rest.operations import OWN, Call, operation
from apps.access.rest.resources import Resource

_WAYS = tuple(str(way) for way in SignsInWith.values)
USERS = Resource(
    "users",
    rows=lambda call: User.objects.prefetch_related("groups"),
    fields=(
        text("username"),
        texts("roles", lambda user: sorted(group.name for group in user.groups.all())),
        text("signs_in_with", words=_WAYS),
        text("email"),
        flag("is_active"),
        flag("is_superuser"),
        moment("last_login"),
    ),
    filters=(Pattern("username"), Equals("signs_in_with"), Equals("role", "groups__name")),
    orders={"username": "username", "last_login": "last_login"},
    default_order=("username",),
)
ROLES = Resource(
    "roles",
    rows=lambda call: Group.objects.annotate(members=Count("user")).prefetch_related("rights"),
    fields=(
        text("name"),
        whole("members"),
        flag("built_in", lambda group: group.name in policy.ROLES),
        texts("rights", role_rights.texts_of),
    ),
    filters=(Pattern("role_name", "name"),),
    orders={"name": "name"},
    default_order=("name",),
)
_MADE = {
    **USERS.schema,
    "title": "UserMade",
    "properties": {**USERS.schema["properties"], "password": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
    "required": [*USERS.schema["required"], "password"],
}
Name = Annotated[str, Constraint(min_length=1, max_length=150)]
Right = Annotated[str, Constraint(min_length=1, max_length=300)]


class UserBody(Body):
    """An account. Without a password, one that signs in with one gets a made-up one, shown once and changed at the first sign-in."""

    username: Name
    roles: Annotated[list[Name], Constraint(max_length=50)] = ["Viewer"]
    email: Annotated[str, Constraint(max_length=254)] = ""
    password: Annotated[str, Constraint(max_length=1000)] | None = None
    signs_in_with: SignsInWith = SignsInWith.PASSWORD
    """`token`: a service account, which has tokens only."""


class UserRolesBody(Body):
    """The roles of an account."""

    roles: Annotated[list[Name], Constraint(max_length=50)]


class RoleBody(Body):
    """A role of your own. Rights: `KIND:LEVEL` (`connection:change`), or `dag=DAG:LEVEL` for one DAG."""

    name: Name
    rights: Annotated[list[Right], Constraint(max_length=500)] = []


class RoleRightsBody(Body):
    """The rights of a role, all of them."""

    rights: Annotated[list[Right], Constraint(max_length=500)]


def shown_once(call: Call) -> None:
    """Refuse a key under which the answer, a secret, would have to be kept. Raises Problem 422."""
    if call.request.headers.get(idempotency.HEADER) is not None:
        raise invalid(flaw(("header", idempotency.HEADER), "The answer has a secret that is not stored, so it cannot be given again."))


def _one(call: Call, name: str) -> dict[str, Any]:
    return USERS.one(people.person(name), call)


@operation("GET /users", base=OWN, may=("read", "user"), query=USERS.query, returns=USERS.list_schema)
def list_users(call: Call) -> dict[str, Any]:
    """Accounts with their roles."""
    return USERS.page(call)


@operation("GET /users/{username:path}", base=OWN, may=("read", "user"), returns=USERS.schema)
def get_user(call: Call, username: str) -> dict[str, Any]:
    """One account."""
    return _one(call, username)


@operation("POST /users", base=OWN, may=("create", "user"), body=UserBody, status=201, returns=_MADE)
def create_user(call: Call) -> dict[str, Any]:
    """Make an account, or with `signs_in_with: token` a service account. A password that was made up is shown only this once."""
    shown_once(call)
    body: UserBody = call.body
    own = body.signs_in_with == SignsInWith.PASSWORD
    if body.password is not None and not own:
        raise invalid(flaw(("body", "password"), f"an account that signs in with {body.signs_in_with} has no password here"))
    made_up = secrets.token_urlsafe(12) if own and body.password is None else None
    people.create_user(
        body.username, body.roles, actor=call.actor, email=body.email, password=body.password or made_up,
        must_change_password=made_up is not None, signs_in_with=body.signs_in_with,
    )  # fmt: skip
    return {**_one(call, body.username), "password": made_up}


@operation("PATCH /users/{username:path}", base=OWN, may=("edit", "user"), body=UserRolesBody, returns=USERS.schema)
def set_user_roles(call: Call, username: str) -> dict[str, Any]:
    """Give an account these roles and no others; if that changes anything, its sign-ins end."""
    people.set_roles(username, call.body.roles, actor=call.actor)
    return _one(call, username)


@operation("DELETE /users/{username:path}", base=OWN, may=("delete", "user"), status=204, errors=(400,))
def delete_user(call: Call, username: str) -> None:
    """Delete an account with its tokens. The last one who may do everything stays."""
    people.delete_user(username, actor=call.actor)


@operation("GET /roles", base=OWN, may=("read", "role"), query=ROLES.query, returns=ROLES.list_schema)
def list_roles(call: Call) -> dict[str, Any]:
    """Roles, and groups that DAG files give rights to, with the number of members."""
    return ROLES.page(call)


@operation("POST /roles", base=OWN, may=("create", "role"), body=RoleBody, status=201, returns=ROLES.schema)
def create_role(call: Call) -> dict[str, Any]:
    """Make a role, with rights of its own; `access_control` of DAG files may name it, too."""
    with transaction.atomic():
        group = people.create_role(call.body.name, actor=call.actor)
        if call.body.rights:
            group = role_rights.set_rights(group.name, call.body.rights, actor=call.actor)
    group.members = 0  # type: ignore[attr-defined]
    return ROLES.one(group, call)


@operation(
    "PATCH /roles/{role_name:path}", base=OWN, may=("edit", "role"), body=RoleRightsBody, returns=ROLES.schema, errors=(400,)
)
def set_role_rights(call: Call, role_name: str) -> dict[str, Any]:
    """Give a role of your own these rights and no others."""
    group: Any = role_rights.set_rights(role_name, call.body.rights, actor=call.actor)
    group.members = group.user_set.count()
    return ROLES.one(group, call)


@operation("DELETE /roles/{role_name:path}", base=OWN, may=("delete", "role"), status=204, errors=(400,))
def delete_role(call: Call, role_name: str) -> None:
    """Delete a role of your own; its members lose what it gave."""
    people.delete_role(role_name, actor=call.actor)
