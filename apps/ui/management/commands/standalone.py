"""`manage.py standalone`: becomes the supervisor of a whole stack (`config.standalone`), which needs no Django."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from config.standalone.options import FLAGS, add_arguments


class Command(BaseCommand):
    help = "Run a whole Trackside on this machine: database, web, scheduler, DAG processor and a worker."
    requires_system_checks = ()  # there may be no database yet

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        argv = [sys.executable, "-m", "config.standalone"]
        for flag in FLAGS:
            if options.get(flag) is not None:
                argv += [f"--{flag.replace('_', '-')}", str(options[flag])]
        sys.stdout.flush()
        os.execv(sys.executable, argv)  # noqa: S606 (this process becomes the light one)
