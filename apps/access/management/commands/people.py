"""`manage.py people` (`trackside users|roles|tokens …`): accounts, roles and tokens of this installation, for its operator.

Making a user is a command of its own (`create_user`), because it asks for a password.
"""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive, now

from apps.access import people, policy, role_rights
from apps.access.audit import Actor
from apps.access.errors import Refused
from apps.access.models import ApiToken, SignsInWith, User
from trackside.cli import output
from trackside.cli.words import Problem

USER = ("username", "roles", "signs_in_with", "email", "is_active", "is_superuser", "last_login")
ROLE = ("name", "members", "built_in", "rights")
TOKEN = ("prefix", "owner", "name", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")


class Command(BaseCommand):
    help = "Users, roles and tokens of this installation."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The words of `trackside users|roles|tokens`, in one."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        for name in ("list-users", "list-roles", "list-tokens"):
            output.add_output(verbs.add_parser(name))
        verbs.choices["list-users"].add_argument("--service", action="store_true")
        verbs.choices["list-tokens"].add_argument("--user")
        verbs.choices["list-tokens"].add_argument("--all", action="store_true")
        for name in ("delete-user", "create-role", "delete-role", "revoke-token"):
            verbs.add_parser(name).add_argument("name")
        one = verbs.add_parser("set-roles")
        one.add_argument("name")
        one.add_argument("roles", nargs="+")
        one = verbs.add_parser("set-rights")
        one.add_argument("name")
        one.add_argument("rights", nargs="*")
        one = verbs.add_parser("create-token")
        one.add_argument("owner")
        one.add_argument("name")
        one.add_argument("--scope", action="append", default=[])
        one.add_argument("--expires")
        output.add_output(one)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; what is refused ends the command with 1 and a sentence."""
        try:
            getattr(self, options["verb"].replace("-", "_"))(options)
        except (Refused, Problem) as error:
            raise CommandError(str(error)) from error

    @property
    def actor(self) -> Actor:
        """The account of the operating system that types."""
        return Actor(getpass.getuser(), "cli")

    def list_users(self, options: dict[str, Any]) -> None:
        """Everybody, by name."""
        found = User.objects.filter(signs_in_with=SignsInWith.TOKEN) if options["service"] else User.objects.all()
        rows = [
            {**{name: getattr(user, name) for name in USER if name != "roles"}, "roles": sorted(group.name for group in user.groups.all())}
            for user in found.prefetch_related("groups").order_by("username")
        ]
        output.show(rows, USER, options["output"], empty="There are no users.")

    def list_roles(self, options: dict[str, Any]) -> None:
        """Roles and groups with their number of members."""
        rows = [
            {"name": group.name, "members": group.members, "built_in": group.name in policy.ROLES, "rights": role_rights.texts_of(group)}
            for group in Group.objects.annotate(members=Count("user")).prefetch_related("rights").order_by("name")
        ]
        output.show(rows, ROLE, options["output"], empty="There are no roles.")

    def list_tokens(self, options: dict[str, Any]) -> None:
        """Tokens that still open something; with --all also the others."""
        found = ApiToken.objects.select_related("user").order_by("-created_at")
        if options["user"]:
            found = found.filter(user=people.person(options["user"]))
        if not options["all"]:
            found = found.filter(revoked_at=None).exclude(expires_at__lte=now())
        rows = [{**{name: getattr(one, name) for name in TOKEN if name != "owner"}, "owner": one.user.get_username()} for one in found]
        output.show(rows, TOKEN, options["output"], empty="There are no tokens.")

    def delete_user(self, options: dict[str, Any]) -> None:
        """See `people.delete_user`."""
        people.delete_user(options["name"], actor=self.actor)
        self.stdout.write(f"{options['name']} is deleted, with all tokens.")

    def set_roles(self, options: dict[str, Any]) -> None:
        """See `people.set_roles`."""
        people.set_roles(options["name"], options["roles"], actor=self.actor)
        self.stdout.write(f"{options['name']} has now: {', '.join(sorted(options['roles']))}.")

    def create_role(self, options: dict[str, Any]) -> None:
        """See `people.create_role`."""
        people.create_role(options["name"], actor=self.actor)
        self.stdout.write(f"{options['name']} is a role. `access_control` of a DAG file gives it rights on that DAG.")

    def set_rights(self, options: dict[str, Any]) -> None:
        """See `role_rights.set_rights`."""
        group = role_rights.set_rights(options["name"], options["rights"], actor=self.actor)
        self.stdout.write(f"{group.name} allows now: {', '.join(role_rights.texts_of(group)) or 'nothing of its own'}.")

    def delete_role(self, options: dict[str, Any]) -> None:
        """See `people.delete_role`."""
        people.delete_role(options["name"], actor=self.actor)
        self.stdout.write(f"{options['name']} is deleted.")

    def create_token(self, options: dict[str, Any]) -> None:
        """See `people.create_token`; the only time its text is shown."""
        expires = _moment(options["expires"])
        text = people.create_token(options["owner"], options["name"], actor=self.actor, scopes=options["scope"], expires_at=expires)
        if options["output"] in ("json", "yaml"):
            shown = {"token": text, "owner": options["owner"], "name": options["name"], "expires_at": expires}
            output.show_one(shown, options["output"])
        else:
            self.stderr.write("The token is shown only this once:")
            self.stdout.write(text)

    def revoke_token(self, options: dict[str, Any]) -> None:
        """See `people.revoke_token`."""
        token = people.revoke_token(options["name"], actor=self.actor)
        self.stdout.write(f"{token.name} of {token.user.get_username()} is revoked.")


def _moment(text: str | None) -> datetime | None:
    """`30d`, `12h` or a moment with its zone. Raises CommandError."""
    if text is None:
        return None
    if text[:-1].isdecimal() and len(text) < 7 and text[-1] in "hd":
        return now() + timedelta(**{"h": {"hours": int(text[:-1])}, "d": {"days": int(text[:-1])}}[text[-1]])
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None or is_naive(found):
        raise CommandError(f"--expires {text}: write a number of days (30d) or hours (12h), or a moment such as 2027-01-01T00:00:00Z.")
    return found
