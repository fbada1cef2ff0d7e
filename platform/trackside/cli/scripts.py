"""`trackside run-file FILE …`: a Python file with `airflow` names resolved, for `if __name__ == "__main__": dag.test()`."""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path

from trackside.cli.words import Problem, Verbs, add


def run_file(given: argparse.Namespace, rest: list[str]) -> int:
    """Run it as `python FILE …` would, with the bridge in place."""
    from trackside.airflow import install

    path = Path(given.file)
    if not path.is_file():
        raise Problem(f"there is no file {path}")
    install()
    sys.argv = [str(path), *given.words]
    sys.path.insert(0, str(path.resolve().parent))
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    return 0


def add_to(verbs: Verbs) -> None:
    """The words of this command."""
    one = add(verbs, "run-file", run_file, "run a Python file with airflow's names resolved, e.g. one that ends with dag.test()")
    one.add_argument("file", help="the file")
    one.add_argument("words", nargs=argparse.REMAINDER, metavar="…", help="arguments for the file")
