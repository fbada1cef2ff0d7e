"""`trackside stubs install`: what editors and type checkers need to complete `from airflow.sdk import …` without Airflow."""

from __future__ import annotations

import argparse
from pathlib import Path

from trackside.cli.words import Problem, Verbs, add, group


def install(given: argparse.Namespace, rest: list[str]) -> int:
    """Write the stubs; how to make an editor read them is said once they are there."""
    from trackside.airflow import stubs

    into = Path(given.into)
    try:
        count = stubs.write(into)
    except OSError as error:
        raise Problem(str(error)) from error
    print(f"{count} stub files are in {into / 'airflow'}.")
    if into.name != "typings":
        print(f"pyright and Pylance: set stubPath to {into}.")
    print(f"mypy: set mypy_path to {into}. PyCharm: mark the folder as sources.")
    return 0


def add_to(verbs: Verbs) -> None:
    """The words of these commands."""
    verbs = group(verbs, "stubs", "let editors know Airflow's names")
    one = add(verbs, "install", install, "write stub files for editors and type checkers")
    one.add_argument("--into", metavar="DIR", default="typings", help="folder, made if need be (default: typings, where pyright looks)")
