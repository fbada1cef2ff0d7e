"""`manage.py dag_processor`: keep the catalogue in step with the DAG folder, until SIGTERM or SIGINT."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from apps.access import schema
from apps.dags import hooks
from apps.dags.processor import KIND, Processor
from trackside.core import logline
from trackside.runner import probes


class Command(BaseCommand):
    help = "Parse the files of the DAG folder and keep the catalogue in step with them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--folder", type=Path, help="DAG folder instead of TRACKSIDE_DAGS_FOLDER")

        names = [b.name for b in settings.DAG_BUNDLES]
        parser.add_argument("--bundle", action="append", choices=names, metavar="NAME", help="only this bundle; may be repeated")

    def handle(self, *args: Any, folder: Path | None = None, bundle: list[str] | None = None, **options: Any) -> None:
        schema.begin()
        processor = Processor(folder.absolute() if folder else None, bundles=bundle)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, processor.stop)
        logline.name_process(KIND)
        probes.start()
        hooks.process_start(KIND)
        processor.run()
