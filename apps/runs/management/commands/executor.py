"""`manage.py executor [alias …]`: brings queued tries to Celery, Kubernetes and third-party executors. Any number may run."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.access import schema
from apps.runs import wake
from apps.runs.execution import tokens
from apps.runs.executors.service import Service
from apps.runs.loop import Loop
from apps.runs.metrics.counting import own_facts
from trackside.executors import registry
from trackside.executors.base import Executor, ExecutorProblem


class Command(BaseCommand):
    help = "Bring queued tries to the executors of TRACKSIDE_EXECUTOR (all of them, or those named). Any number may run side by side."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See `help`."""
        parser.add_argument("alias", nargs="*", help="executors to serve; all but local ones if none is named")

    def handle(self, *args: Any, **options: Any) -> None:
        """Until SIGTERM."""
        schema.begin()
        services = [Service(executor) for executor in self._executors(options["alias"])]

        def step() -> datetime:
            return min(service.step() for service in services)

        names = ", ".join(service.alias for service in services)
        def told() -> dict[str, Any]:
            idle = {s.alias: n for s in services if (n := s.executor.idle_places())}
            made = {s.alias: s.executor.fingerprint for s in services if s.executor.fingerprint}
            return {"serves": names, **({"idle_places": idle} if idle else {}), **({"places": made} if made else {}), **own_facts()}

        loop = Loop("executor", step, wake.WORK, info=told)
        try:
            for service in services:
                service.executor.open(loop.wake)
            loop.run()
        except ExecutorProblem as e:
            raise CommandError(str(e)) from e
        finally:
            for service in services:
                service.executor.close()

    def _executors(self, wanted: list[str]) -> list[Executor]:
        remote = {one.alias: one for one in settings.EXECUTORS if one.kind != registry.LOCAL}
        for alias in wanted:
            if alias not in remote:
                have = ", ".join(remote) or "none but local, which needs no such process"
                raise CommandError(f"There is no executor {alias} to serve: TRACKSIDE_EXECUTOR has {have}.")
        if not remote:
            raise CommandError("TRACKSIDE_EXECUTOR has only local: its workers pull their work, nothing has to bring it to them.")
        try:
            site = {"TRACKSIDE_SITE": tokens.digest(settings.WORKER_TOKEN)[:10]}
            made = [registry.make(remote[alias], {**os.environ, **site}) for alias in wanted or remote]
        except ExecutorProblem as e:
            raise CommandError(str(e)) from e
        for executor in made:
            executor.grant = tokens.place_token
        return made
