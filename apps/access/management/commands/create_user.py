"""`manage.py create_user` (`trackside users create`): a person or service account with one role."""

from __future__ import annotations

import getpass
import secrets
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.access import people
from apps.access.audit import Actor
from apps.access.errors import Refused
from apps.access.models import SignsInWith
from trackside.cli import output


class Command(BaseCommand):
    help = "Make a user. The password is asked for, or read from standard input: other users can see arguments."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--username", required=True)
        parser.add_argument("--role", default="Viewer")
        parser.add_argument("--email", default="")
        parser.add_argument("--random-password", action="store_true", help="make one up and ask for a new one later")
        parser.add_argument("--signs-in-with", choices=SignsInWith.values, default="password", help="token: a service account")
        output.add_output(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        name, role, how = options["username"], options["role"], options["signs_in_with"]
        generated = options["random_password"] and how == SignsInWith.PASSWORD
        password = None
        if how == SignsInWith.PASSWORD:
            password = secrets.token_urlsafe(12) if generated else self._ask()
        actor = Actor(getpass.getuser(), "cli")
        try:
            people.create_user(
                name,
                [role],
                actor=actor,
                email=options["email"],
                password=password,
                must_change_password=generated,
                signs_in_with=how,
            )
        except Refused as error:
            raise CommandError(str(error)) from error
        form = options["output"]
        if form in ("json", "yaml"):
            made = {"username": name, "roles": [role], "signs_in_with": how, "email": options["email"]}
            output.show_one({**made, "password": password if generated else None}, form)
            return
        if how == SignsInWith.TOKEN:
            self.stdout.write(f"{name} is a service account with the role {role}. `trackside tokens create {name} NAME` makes it a token.")
            return
        self.stdout.write(f"{name} may sign in as {role}.")
        if generated:
            self.stdout.write(f"Password (shown only this once): {password}")

    def _ask(self) -> str:
        if not sys.stdin.isatty():
            return sys.stdin.readline().rstrip("\n")
        first, second = getpass.getpass("Password: "), getpass.getpass("Again: ")
        if first != second:
            raise CommandError("The two are not the same.")
        return first
