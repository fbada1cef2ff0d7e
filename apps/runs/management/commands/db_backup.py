"""`manage.py db_backup FILE` (`trackside db backup`): everything in the database, while everything goes on."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from apps.runs import backup


class Command(BaseCommand):
    help = "Write everything in the database to a zip file: one moment, while work goes on. Keys and logs of tasks are kept elsewhere."

    requires_system_checks: list[str] = []  # they load every page, for nothing

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `help`."""
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """One line says what is in it, one what is not."""
        try:
            manifest = backup.dump(options["file"])
        except backup.BackupProblem as e:
            raise CommandError(str(e)) from e
        except DatabaseError as e:
            raise CommandError(f"The database does not answer: {e}") from e
        rows = sum(told["rows"] for told in manifest["tables"].values())
        self.stdout.write(
            f"{options['file']}: {len(manifest['tables'])} tables, {rows} rows, version {manifest['version']}, {manifest['at']}."
        )
        self.stdout.write(
            "Not in it: the keys (TRACKSIDE_FERNET_KEYS or <home>/keys), without which secrets cannot be read, and the tasks' logs."
        )
