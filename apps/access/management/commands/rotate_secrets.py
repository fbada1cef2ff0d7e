"""`manage.py rotate_secrets` (`trackside secrets rotate`): all stored secrets under the newest key."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.access import rotation
from apps.access.audit import Actor


class Command(BaseCommand):
    help = (
        "Encrypt connections and variables with the newest key. First put a new key before the old one in TRACKSIDE_FERNET_KEYS and"
        " restart everything; run this; then take the old key away. May be stopped and run again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count")

    def handle(self, *args: Any, **options: Any) -> None:
        done = rotation.run(actor=Actor(getpass.getuser(), "cli"), dry_run=options["dry_run"])
        words = "would be encrypted again" if options["dry_run"] else "encrypted again"
        self.stdout.write(f"{done.rotated} secrets {words}, {done.current} were under the newest key already.")
        if done.unreadable:
            named = ", ".join(done.unreadable[:20])
            raise CommandError(
                f"{len(done.unreadable)} secrets cannot be read by any of TRACKSIDE_FERNET_KEYS: {named}."
                " Put the key that wrote them back (after the new one), or enter them again."
            )
