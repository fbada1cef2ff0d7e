"""`manage.py db_upgrade [--check]` (`trackside db upgrade`): the tables of this version."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection

from apps.access import schema
from apps.runs.metrics.health import pending_migrations

LOCK = "hashtext('trackside migrate')"
"""As standalone takes it: of several that start at once, one migrates."""


class Command(BaseCommand):
    help = (
        "Bring the tables up to date. --check only looks: exit code 0 when nothing is to be done, 1 with the names of the migrations"
        " that are pending, 3 when the database does not answer."
    )
    requires_system_checks: list[str] = []  # they load every page, for nothing

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `help`."""
        parser.add_argument("--check", action="store_true", help="change nothing, name what is pending")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit codes: see `help`."""
        try:
            newer, pending = schema.newer(), pending_migrations()
        except DatabaseError as e:
            why = (str(e).strip().splitlines() or [type(e).__name__])[0]
            raise CommandError(f"The database does not answer: {why}. Look at DATABASE_URL and at the server.", returncode=3) from e
        if newer:
            raise CommandError(newer, returncode=1)
        if not pending:
            self.stdout.write("The tables are those of this version.")
            return
        if options["check"]:
            self.stdout.write("\n".join(pending))
            raise CommandError(f"{len(pending)} migrations are pending. Run: trackside db upgrade", returncode=1)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT pg_advisory_lock({LOCK})")
            try:
                call_command("migrate", interactive=False, verbosity=0)
            finally:
                cursor.execute(f"SELECT pg_advisory_unlock({LOCK})")
        self.stdout.write("\n".join([*pending, f"{len(pending)} migrations applied."]))
