"""`manage.py triggerer`: waits for what deferred tasks wait for. Any number may run side by side."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.access import schema
from apps.runs.triggerer.service import Triggerer


class Command(BaseCommand):
    help = "Wait, in one process, for what deferred tasks wait for. Any number may run side by side."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--capacity", type=int, help="triggers at once instead of TRACKSIDE_TRIGGER_CAPACITY")
        parser.add_argument("--queues", help="serve only triggers of these queues, comma separated")

    def handle(self, *args: Any, capacity: int | None = None, queues: str | None = None, **options: Any) -> None:
        schema.begin()
        names = [word.strip() for word in queues.split(",") if word.strip()] if queues else None
        Triggerer(capacity=capacity, queues=names).run()
