"""`trackside migrate` and `trackside import`: for people who come from Airflow."""

from __future__ import annotations

import argparse

from trackside.cli import output
from trackside.cli.words import Verbs, add, group


def migrate_airflow2(given: argparse.Namespace, rest: list[str]) -> int:
    """See `airflow2.command`."""
    from trackside.cli.airflow2.command import airflow2

    return airflow2(given, rest)


def add_to(verbs: Verbs) -> None:
    """The words of these commands."""
    migrate = group(verbs, "migrate", "bring DAG files up to date")
    one = add(migrate, "airflow2", migrate_airflow2, "tell what DAG files for Airflow 2 must change for Airflow 3, with the difference")
    one.add_argument("files", nargs="+", metavar="FILE", help="files, or folders with all .py files below")
    one.add_argument("--write", action="store_true", help="change the files")
    output.add_output(one)
