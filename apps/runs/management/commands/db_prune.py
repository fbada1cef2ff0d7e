"""`manage.py db_prune --days N` (`trackside db prune`): old runs go now, in bites, while work goes on."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.access.audit import Actor
from apps.runs import retention, sql


class Command(BaseCommand):
    help = (
        "Delete runs that ended more than --days ago, with their tasks, XComs and logs; each DAG keeps its newest."
        " May be stopped and run again."
    )

    requires_system_checks: list[str] = []  # they load every page, for nothing

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `help`."""
        parser.add_argument("--days", type=int, required=True)
        parser.add_argument("--dry-run", action="store_true", help="only count")

    def handle(self, *args: Any, **options: Any) -> None:
        """Bite by bite."""
        days = options["days"]
        if days < 1:
            raise CommandError("--days must be at least 1.")
        if options["dry_run"]:
            found = retention.due(sql.now() - timedelta(days=days), limit=10_000_000)
            self.stdout.write(f"{len(found)} runs with {sum(n for _, n in found)} task instances would go.")
            return
        runs = tasks = 0
        while True:
            done = retention.prune_once(days, actor=Actor(getpass.getuser(), "cli"))
            runs, tasks = runs + done.runs, tasks + done.task_instances
            if not done.more:
                break
        self.stdout.write(f"{runs} runs with {tasks} task instances deleted.")
