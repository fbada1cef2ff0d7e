"""`manage.py teams` (`trackside teams …`): teams of this installation, for its operator. By REST: `apps.runs.api.teams`."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from apps.access import team_calls
from apps.access.audit import Actor
from apps.access.errors import Refused
from apps.access.models import Team
from apps.runs.actions import pools
from apps.runs.errors import ActionRefused
from apps.runs.models import Pool
from trackside.cli import output, teams
from trackside.cli.words import Problem


class Command(BaseCommand):
    help = "Teams of this installation."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The words of `trackside teams`."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        output.add_output(verbs.add_parser("list"))
        for name in ("show", "create", "update", "delete"):
            one = verbs.add_parser(name)
            one.add_argument("name")
            if name != "delete":
                output.add_output(one)
            if name in ("create", "update"):
                teams.add_contents(one)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; what is refused ends the command with 1 and a sentence."""
        try:
            getattr(self, options["verb"])(options)
        except (Refused, ActionRefused, Problem) as error:
            raise CommandError(str(getattr(error, "detail", error))) from error

    @property
    def actor(self) -> Actor:
        """The account of the operating system that types."""
        return Actor(getpass.getuser(), "cli")

    def list(self, options: dict[str, Any]) -> None:
        """All, by name."""
        rows = [_row(team) for team in Team.objects.prefetch_related("members__user").order_by("name")]
        output.show(teams.for_people(rows, options["output"]), teams.COLUMNS, options["output"], empty="There are no teams.")

    def show(self, options: dict[str, Any]) -> None:
        """One."""
        (row,) = teams.for_people([_row(team_calls.team(options["name"]))], options["output"])
        output.show_one(row, options["output"])

    def create(self, options: dict[str, Any]) -> None:
        """See `team_calls.create`."""
        self._change(team_calls.create, options)

    def update(self, options: dict[str, Any]) -> None:
        """See `team_calls.update`."""
        self._change(team_calls.update, options)

    def _change(self, call: Any, options: dict[str, Any]) -> None:
        wanted = teams.contents(options)
        owned = wanted.pop("pools", None)
        with transaction.atomic():
            made = call(options["name"], actor=self.actor, **wanted)
            if owned is not None:
                pools.give_to_team(made.name, owned, actor=self.actor)
        self.show({**options, "name": made.name})

    def delete(self, options: dict[str, Any]) -> None:
        """See `team_calls.delete`."""
        team_calls.delete(options["name"], actor=self.actor)
        self.stdout.write(f"{options['name']} is deleted.")


def _row(team: Team) -> dict[str, Any]:
    return {
        "name": team.name,
        "folders": team.folders,
        "tags": team.tags,
        "members": [{"username": name, "role": role} for name, role in team_calls.members_of(team).items()],
        "pools": list(Pool.objects.filter(team_name=team.name).order_by("name").values_list("name", flat=True)),
        "bundles": [bundle.name for bundle in settings.DAG_BUNDLES if bundle.team_name == team.name],
    }
