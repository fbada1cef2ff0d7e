"""The `trackside` command: reads its words, calls the verb, turns what went wrong into one line and an exit code.

The words come from the modules named in `PARTS`; each has `add_to(verbs)` (see `words`). Only the modules of the word that
was typed are imported, so that `trackside version` and the server's processes start at once.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from trackside.cli import processes, remote_options, server
from trackside.cli.words import Problem, Verb

PARTS: dict[str, tuple[str, ...]] = {
    "processes": (*processes.PASSED_ON, "worker", "version", "config", "db", "secrets"),
    "people": ("users", "roles", "tokens"),
    "teams": ("teams",),
    "providers": ("providers",),
    "executors": ("celery",),
    "dags_local": ("dags",),
    "tasks_local": ("tasks",),
    "remote": ("dags", "runs", "tasks", "pools", "variables", "connections", "logs", "health"),
    "remote_actions": ("dags", "runs", "tasks", "undo", "audit", "import-errors", "call"),
    "remote_plans": ("backfill", "assets"),
    "profiles": ("profiles",),
    "coming": ("migrate", "import"),
    "scripts": ("run-file",),
    "stubs": ("stubs",),
    "completion": ("completion",),
}
"""Module of this package → first words it adds to the command, in the order of the help. Several may share a word."""


PASSED_ON = {*((word,) for word in processes.PASSED_ON), ("import", "airflow")}
"""Commands whose further words belong to the server's own command, `--help` among them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0 done, 1 could not be done (one line says why), 2 wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        words = remote_options.take(words, {*processes.PASSED_ON, "import", "run-file"})
    except Problem as error:
        print(f"trackside: {error}", file=sys.stderr)
        return 2
    parser = build_parser(next((word for word in words if not word.startswith("-")), None))
    own = next((n for n in (1, 2) if tuple(words[:n]) in PASSED_ON), len(words))
    given, rest = parser.parse_args(words[:own]), words[own:]
    verb: Verb | None = getattr(given, "verb", None)
    if verb is None:
        parser.print_help()
        return 2
    try:
        return verb(given, rest)
    except (server.NoServer, Problem) as error:
        print(f"trackside: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130


def build_parser(first: str | None = None) -> argparse.ArgumentParser:
    """The parser for a command that begins with `first`; with the words of every part when that is nobody's word."""
    parser = argparse.ArgumentParser(prog="trackside", description="Trackside: workflows, seen while they run.")
    parser.add_argument("--server", metavar="URL", help="the server that is meant; none: the installation on this machine")
    parser.add_argument("--profile", metavar="NAME", help="the same by a name of `trackside profiles`")
    verbs = parser.add_subparsers(metavar="command")
    parts = [part for part, words in PARTS.items() if first in words] or list(PARTS)
    for part in parts:
        importlib.import_module(f"trackside.cli.{part}").add_to(verbs)
    return parser
