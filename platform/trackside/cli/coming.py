"""`trackside migrate` and `trackside import`: for people who come from Airflow."""

from __future__ import annotations

import argparse

from trackside.cli import output, server
from trackside.cli.words import Verbs, add, group


def migrate_airflow2(given: argparse.Namespace, rest: list[str]) -> int:
    """See `airflow2.command`."""
    from trackside.cli.airflow2.command import airflow2

    return airflow2(given, rest)


def import_airflow(given: argparse.Namespace, rest: list[str]) -> int:
    """Connections, variables, pools and history of another Airflow; the server's command does it."""
    server.manage("import_airflow", *rest)


def add_to(verbs: Verbs) -> None:
    """The words of these commands."""
    migrate = group(verbs, "migrate", "bring DAG files up to date")
    one = add(migrate, "airflow2", migrate_airflow2, "tell what DAG files for Airflow 2 must change for Airflow 3, with the difference")
    one.add_argument("files", nargs="+", metavar="FILE", help="files, or folders with all .py files below")
    one.add_argument("--write", action="store_true", help="change the files")
    output.add_output(one)
    text = "connections, variables, pools and history of an Airflow; `trackside import airflow --help` says more"
    add(group(verbs, "import", "bring over what another system knows"), "airflow", import_airflow, text)
