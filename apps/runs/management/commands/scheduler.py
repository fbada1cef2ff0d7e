"""`manage.py scheduler`: decides when every task may run. Any number may run side by side."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.access import schema
from apps.runs import wake
from apps.runs.loop import Loop
from apps.runs.metrics import traces
from apps.runs.metrics.counting import CountingScheduler


class Command(BaseCommand):
    help = "Create due runs, plan them, admit tasks, find lost tries. Any number may run side by side."

    def handle(self, *args: Any, **options: Any) -> None:
        schema.begin()
        try:
            end_traces = traces.start()
        except traces.NoTraces as e:
            raise CommandError(str(e)) from e
        scheduler = CountingScheduler()
        Loop("scheduler", scheduler.step, wake.SCHEDULER, info=scheduler.info).run()
        end_traces()
