"""`trackside users|roles|tokens`: accounts, roles and tokens of the installation on this machine, or of a server that is named.

For its operator: they act on the database that the settings name, as `trackside db` does, and become the server's own
command (`server`). With `--server` or `--profile` the same words go by REST (`remote_people`), for administrators anywhere.
"""

from __future__ import annotations

import argparse
from typing import NoReturn

from trackside.cli import output, remote_options, server
from trackside.cli.words import Verb, Verbs, add, group

WAYS = ("password", "token", "proxy", "ldap", "oidc", "saml")
"""How an account may sign in; `apps.access.models.SignsInWith` decides."""


def users_create(given: argparse.Namespace, rest: list[str]) -> int:
    """Make a user; the command asks for the password, or reads it from standard input."""
    if remote_options.is_named():
        return _remotely("create-user", given)
    return _create_here(given)


def _create_here(given: argparse.Namespace) -> NoReturn:
    options = ["--username", given.username, "--role", given.role, "--email", given.email]
    options += ["--signs-in-with", "token" if given.service else given.signs_in_with]
    options += ["--random-password"] if given.random_password else []
    server.manage("create_user", *options, *(["-o", given.output] if given.output != "table" else []))


def _remotely(verb: str, given: argparse.Namespace) -> int:
    from trackside.cli import remote_people

    return remote_people.do(verb, given)


def _to(verb: str, *words: str) -> Verb:
    """A sub-command that becomes `manage.py people <verb>` with these of its arguments."""

    def become(given: argparse.Namespace, rest: list[str]) -> int:
        if remote_options.is_named():
            return _remotely(verb, given)
        return _manage_here(verb, words, given)

    return become


def _manage_here(verb: str, words: tuple[str, ...], given: argparse.Namespace) -> NoReturn:
    options: list[str] = []
    if getattr(given, "output", None):
        options += ["-o", given.output]
    for option in ("user", "expires"):
        if getattr(given, option, None):
            options.append(f"--{option}={getattr(given, option)}")
    options += [f"--scope={scope}" for scope in getattr(given, "scope", None) or ()]
    options += ["--service"] if getattr(given, "service", False) else []
    options += ["--all"] if getattr(given, "all", False) else []
    values: list[str] = []
    for word in words:
        value = getattr(given, word)
        values += value if isinstance(value, list) else [value]
    server.manage("people", verb, *options, *(["--", *values] if values else []))


def add_to(verbs: Verbs) -> None:
    """The words of these commands."""
    users = group(verbs, "users", "who may sign in")
    one = add(users, "list", _to("list-users"), "all accounts with their roles")
    one.add_argument("--service", action="store_true", help="only service accounts")
    output.add_output(one)
    one = add(users, "create", users_create, "make a user; the password is asked for or read from standard input")
    one.add_argument("--username", required=True)
    one.add_argument("--role", default="Viewer", help="Viewer, User, Op, Admin, or one of your own (Viewer)")
    one.add_argument("--email", default="")
    one.add_argument("--random-password", action="store_true", help="make one up, show it once, ask for a new one")
    one.add_argument("--signs-in-with", choices=WAYS, default="password", help="who vouches for the account (password)")
    one.add_argument("--service", action="store_true", help="a service account: no password, tokens only")
    output.add_output(one)
    add(users, "delete", _to("delete-user", "name"), "delete an account and its tokens").add_argument("name")
    one = add(users, "set-role", _to("set-roles", "name", "roles"), "give an account these roles and no others")
    one.add_argument("name")
    one.add_argument("roles", nargs="+", metavar="role")

    roles = group(verbs, "roles", "roles, and groups that DAG files give rights to")
    output.add_output(add(roles, "list", _to("list-roles"), "all roles with their number of members"))
    add(roles, "create", _to("create-role", "name"), "make a role; set-rights says what it allows").add_argument("name")
    one = add(roles, "set-rights", _to("set-rights", "name", "rights"), "say what a role of your own allows: these rights and no others")
    one.add_argument("name")
    one.add_argument("rights", nargs="*", metavar="right", help="connection:change, dag:see, dag=orders:all …; none: take all away")
    add(roles, "delete", _to("delete-role", "name"), "delete a role of your own").add_argument("name")

    tokens = group(verbs, "tokens", "tokens for scripts and service accounts")
    one = add(tokens, "create", _to("create-token", "owner", "name"), "make a token; its text is shown once")
    one.add_argument("owner", help="the account it belongs to")
    one.add_argument("name", help="what it is for")
    one.add_argument("--scope", action="append", help="limit it: read, edit, create, trigger, delete; may be repeated")
    one.add_argument("--expires", help="30d, 12h, or a moment such as 2027-01-01T00:00:00Z (never)")
    output.add_output(one)
    one = add(tokens, "list", _to("list-tokens"), "tokens that still open something")
    one.add_argument("--user", help="only those of this account")
    one.add_argument("--all", action="store_true", help="also revoked and expired ones")
    output.add_output(one)
    one = add(tokens, "revoke", _to("revoke-token", "token"), "refuse a token from now on")
    one.add_argument("token", help="how it begins (the prefix that `tokens list` shows)")
