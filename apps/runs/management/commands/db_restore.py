"""`manage.py db_restore FILE` (`trackside db restore`): a backup into an empty database."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from apps.runs import backup


class Command(BaseCommand):
    help = "Put a backup into an empty database, all or nothing; its tables are made first. Nothing of Trackside may run on it meanwhile."
    requires_system_checks: list[str] = []  # they load every page, for nothing

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `help`."""
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """One line says what came back."""
        try:
            manifest = backup.restore(options["file"])
        except backup.BackupProblem as e:
            raise CommandError(str(e)) from e
        except DatabaseError as e:
            raise CommandError(f"Nothing was restored: {e}") from e
        rows = sum(told["rows"] for told in manifest["tables"].values())
        self.stdout.write(
            f"{rows} rows of {manifest['at']} are back. What ran then is found lost and started again, without using retries."
        )
