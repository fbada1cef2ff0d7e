"""How sub-commands are declared: shared by every module that adds words to the `trackside` command."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Verb = Callable[[argparse.Namespace, list[str]], int]
"""Does one sub-command with its arguments (and, where words are passed on, the rest); returns the exit code."""
Verbs = argparse._SubParsersAction
"""What `add_subparsers` gives; argparse has no public name for it."""


class Problem(Exception):
    """What was asked for cannot be done; the message says why and what to do. The command prints it and ends with 1."""


def add(verbs: Verbs, name: str, verb: Verb, text: str) -> argparse.ArgumentParser:
    """A sub-command `name` that does `verb`; `text` is its help, one line. Returns its parser, for arguments."""
    one: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text[:1].upper() + text[1:] + ".")
    one.set_defaults(verb=verb)
    return one


def group(verbs: Verbs, name: str, text: str) -> Verbs:
    """A word that only leads to others (`trackside dags …`): made once, then the same, so that several modules may add to it."""
    known: dict[str, Verbs] = verbs.__dict__.setdefault("groups_of_trackside", {})
    if name not in known:
        known[name] = verbs.add_parser(name, help=text, description=text[:1].upper() + text[1:] + ".").add_subparsers(
            metavar="command", required=True
        )
    return known[name]
