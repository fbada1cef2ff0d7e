"""`trackside --server … users|roles|tokens`: the words of `people`, for the accounts of a server by REST.

For administrators without a shell on the server's machine; `people` comes here when a server is named.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from trackside.cli import output
from trackside.cli.connecting import connected, table
from trackside.cli.words import Problem

if TYPE_CHECKING:
    from trackside.client import Client

Act = Callable[["Client", argparse.Namespace], int]


def users_create(client: Client, given: argparse.Namespace) -> int:
    """Make a user or service account."""
    how = "token" if given.service else given.signs_in_with
    password = None
    if how == "password" and not given.random_password:
        password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
        if sys.stdin.isatty() and getpass.getpass("Again: ") != password:
            raise Problem("The two are not the same.")
    made = client.create_user(given.username, [given.role], email=given.email, password=password, signs_in_with=how)
    if given.output in ("json", "yaml"):
        told = ("username", "roles", "signs_in_with", "email", "password")
        output.show_one({name: made[name] for name in told}, given.output)
    elif how == "token":
        print(f"{given.username} is a service account with the role {given.role}. `trackside tokens create` makes it a token.")
    else:
        print(f"{given.username} may sign in as {given.role}.")
        if made["password"]:
            print(f"Password (shown only this once): {made['password']}")
    return 0


def list_users(client: Client, given: argparse.Namespace) -> int:
    """Accounts."""
    return table(client.users(signs_in_with="token" if given.service else None), given)


def delete_user(client: Client, given: argparse.Namespace) -> int:
    """An account with its tokens."""
    client.delete_user(given.name)
    print(f"{given.name} is deleted, with all tokens.")
    return 0


def set_roles(client: Client, given: argparse.Namespace) -> int:
    """These roles and no others."""
    print(f"{given.name} has now: {', '.join(client.set_roles(given.name, given.roles)['roles'])}.")
    return 0


def list_roles(client: Client, given: argparse.Namespace) -> int:
    """Roles."""
    return table(client.roles(), given)


def create_role(client: Client, given: argparse.Namespace) -> int:
    """A role of one's own."""
    client.create_role(given.name)
    print(f"{given.name} is a role. `access_control` of a DAG file gives it rights on that DAG.")
    return 0


def set_rights(client: Client, given: argparse.Namespace) -> int:
    """These rights and no others."""
    found = client.set_rights(given.name, given.rights)
    print(f"{given.name} allows now: {', '.join(found['rights']) or 'nothing of its own'}.")
    return 0


def delete_role(client: Client, given: argparse.Namespace) -> int:
    """A role of one's own goes."""
    client.delete_role(given.name)
    print(f"{given.name} is deleted.")
    return 0


def create_token(client: Client, given: argparse.Namespace) -> int:
    """A token; the only time its text is shown."""
    made = client.create_token(given.owner, given.name, scopes=given.scope or (), expires_at=_moment(given.expires))
    if given.output in ("json", "yaml"):
        output.show_one(made, given.output)
    else:
        print("The token is shown only this once:", file=sys.stderr)
        print(made["token"])
    return 0


def list_tokens(client: Client, given: argparse.Namespace) -> int:
    """Tokens."""
    return table(client.tokens(owner=given.user, all=given.all), given)


def revoke_token(client: Client, given: argparse.Namespace) -> int:
    """Refuse a token from now on."""
    found = client.revoke_token(given.token)
    print(f"{found['name']} of {found['owner']} is revoked.")
    return 0


ACTS: dict[str, Act] = {
    "list-users": list_users, "create-user": users_create, "delete-user": delete_user, "set-roles": set_roles, "list-roles": list_roles,
    "create-role": create_role, "set-rights": set_rights, "delete-role": delete_role, "create-token": create_token,
    "list-tokens": list_tokens, "revoke-token": revoke_token,
}  # fmt: skip
"""What `people` calls: by the word of `manage.py people`."""


def do(verb: str, given: argparse.Namespace) -> int:
    """One of ACTS at the server that was named."""
    with connected() as client:
        return ACTS[verb](client, given)


def _moment(text: str | None) -> str | None:
    """`30d`, `12h` or a moment, as ISO 8601. Raises Problem."""
    if text is None:
        return None
    if text[:-1].isdecimal() and len(text) < 7 and text[-1] in "hd":
        return (datetime.now(UTC) + timedelta(hours=int(text[:-1]) * (24 if text[-1] == "d" else 1))).isoformat()
    try:
        if (found := datetime.fromisoformat(text)).tzinfo is None:
            raise ValueError
    except ValueError:
        words = "write a number of days (30d) or hours (12h), or a moment such as 2027-01-01T00:00:00Z"
        raise Problem(f"--expires {text}: {words}") from None
    return found.isoformat()
