"""`manage.py import_airflow` (`trackside import airflow`): connections, variables, pools and the history of another Airflow."""

from __future__ import annotations

import getpass
import json
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.timezone import now

from apps.access.audit import Actor
from apps.runs.imports import compare, database, files, history
from apps.runs.imports.items import Line, Unreadable


class Command(BaseCommand):
    help = "Bring over what another Airflow knows. Its database is only read; repeating the import changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--connections", metavar="FILE", help="export of connections: .json, .yaml or .env")
        parser.add_argument("--variables", metavar="FILE", help="export of variables: .json, .yaml or .env")
        parser.add_argument("--pools", metavar="FILE", help="export of pools: .json or .yaml")
        parser.add_argument("--database", metavar="URL", help="metadata database: postgresql://, sqlite:/// or mysql://")
        parser.add_argument("--database-file", metavar="FILE", help="file that holds that URL: other users can see arguments")
        parser.add_argument("--fernet-key-file", metavar="FILE", help="file with [core] fernet_key of the old Airflow")
        parser.add_argument("--history", action="store_true", help="runs that ended, too, with their task instances (needs the database)")
        parser.add_argument("--dag-id", action="append", default=[], help="history of this DAG only; may be repeated")
        parser.add_argument("--keep-existing", action="store_true", help="leave alone what is here with other values")
        parser.add_argument("--dry-run", action="store_true", help="say what would happen, change nothing")
        parser.add_argument("-o", "--output", choices=("table", "json"), default="table")

    def handle(self, *args: Any, **options: Any) -> None:
        url = options["database"] or _text(options["database_file"])
        if not (url or options["connections"] or options["variables"] or options["pools"]):
            raise CommandError("Say what to import: --connections, --variables, --pools or --database.")
        if options["history"] and not url:
            raise CommandError("--history is read from the metadata database; name it with --database.")
        actor = Actor(getpass.getuser(), "cli")
        lines: list[Line] = []
        try:
            found = files.read(connections=options["connections"], variables=options["variables"], pools=options["pools"])
            source = database.connect(url) if url else None
            if source is not None:
                stored = database.read(source, database.Keys(_text(options["fernet_key_file"])))
                found.connections = stored.connections | found.connections
                found.variables = stored.variables | found.variables
                found.pools, found.skipped = stored.pools | found.pools, stored.skipped
            for line, write in list(compare.plan(found, actor, keep_existing=options["keep_existing"])):
                lines.append(compare.carry_out(line, write) if write is not None and not options["dry_run"] else line)
            if source is not None and options["history"]:
                lines += history.bring(source, actor, dry_run=options["dry_run"], dag_ids=options["dag_id"], now=now())
            if source is not None:
                source.close()
        except Unreadable as error:
            raise CommandError(str(error)) from error
        self._say(lines, options)

    def _say(self, lines: list[Line], options: dict[str, Any]) -> None:
        if options["output"] == "json":
            answer = [{"kind": x.kind, "name": x.name, "outcome": x.outcome, "why": x.why} for x in lines]
            self.stdout.write(json.dumps(answer, indent=2))
            return
        for line in lines:
            if line.outcome != "same":
                self.stdout.write(f"{line.outcome:<8} {line.kind:<10} {line.name}{f' ({line.why})' if line.why else ''}")
        counts = Counter(line.outcome for line in lines)
        summary = ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("new", "changed", "same", "skipped"))
        self.stdout.write(f"{summary}{' (dry run: nothing was changed)' if options['dry_run'] else ''}")


def _text(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from error
