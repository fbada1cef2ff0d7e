"""`manage.py create_user` (`trackside users create`): a person or service account with one role."""

from __future__ import annotations

import getpass
import secrets
import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from apps.access.audit import Actor, record
from apps.access.models import User
from apps.access.policy import ROLES


class Command(BaseCommand):
    help = "Make a user. The password is asked for, or read from standard input: other users can see arguments."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--username", required=True)
        parser.add_argument("--role", choices=ROLES, default="Viewer")
        parser.add_argument("--email", default="")
        parser.add_argument("--random-password", action="store_true", help="make one up and ask for a new one later")

    def handle(self, *args: Any, **options: Any) -> None:
        name, role = options["username"], options["role"]
        if User.objects.filter(username=name).exists():
            raise CommandError(f"There is a user called {name} already.")
        generated = options["random_password"]
        password = secrets.token_urlsafe(12) if generated else self._ask()
        user = User(username=name, email=options["email"], must_change_password=generated, is_staff=role == "Admin")
        try:
            validate_password(password, user)
            user.full_clean(exclude=["password"])
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        user.set_password(password)
        with transaction.atomic():
            user.save()
            user.groups.add(Group.objects.get_or_create(name=role)[0])
            record(
                "create_user", Actor(getpass.getuser(), "cli"), object_type="user", object_id=name, extra={"role": role}
            )
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
