"""`airflow.cli`: how packages describe commands of Airflow's command line. The words are there; Trackside runs none of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from trackside.airflow.parts.module_loading import import_string


class Arg:
    """An option of a command."""

    def __init__(self, flags: Any = None, **kwargs: Any) -> None:
        self.flags = flags
        self.kwargs = kwargs

    def add_to_parser(self, parser: argparse.ArgumentParser) -> None:
        """Put it into a parser."""
        flags = self.flags if isinstance(self.flags, tuple | list) else (self.flags,)
        parser.add_argument(*flags, **self.kwargs)


class ActionCommand(NamedTuple):
    """A command."""

    name: str
    help: str
    func: Callable[..., Any]
    args: Iterable[Arg]
    description: str | None = None
    epilog: str | None = None
    hide: bool = False


class GroupCommand(NamedTuple):
    """Commands under one word."""

    name: str
    help: str
    subcommands: Iterable[Any]
    description: str | None = None
    epilog: str | None = None


CLICommand = ActionCommand | GroupCommand


def lazy_load_command(import_path: str) -> Callable[..., Any]:
    """The function of that dotted name, imported when it is called."""

    def command(*args: Any, **kwargs: Any) -> Any:
        return import_string(import_path)(*args, **kwargs)

    command.__name__ = import_path.rpartition(".")[2]
    return command


def positive_int(*, allow_zero: bool) -> Callable[[str], int]:
    """A reader of whole numbers above (or from) zero."""

    def read(value: str) -> int:
        number = int(value)
        if number < 0 or (number == 0 and not allow_zero):
            raise argparse.ArgumentTypeError(f"invalid positive int value: '{value}'")
        return number

    return read


class AirflowHelpFormatter(argparse.HelpFormatter):
    """Help as argparse writes it."""


class DefaultHelpParser(argparse.ArgumentParser):
    """A parser that shows the whole help with an error."""

    def error(self, message: str) -> Any:
        """Help, message, exit code 2."""
        self.print_help()
        self.exit(2, f"\n{self.prog} command error: {message}, see help above.\n")


def _add_command(subparsers: Any, sub: Any) -> None:
    parser = subparsers.add_parser(sub.name, help=sub.help, description=sub.description or sub.help, epilog=sub.epilog)
    if isinstance(sub, GroupCommand):
        inner = parser.add_subparsers(dest="subcommand", required=True)
        for one in sub.subcommands:
            _add_command(inner, one)
        return
    for arg in sub.args:
        arg.add_to_parser(parser)
    parser.set_defaults(func=sub.func)


ARG_DAG_ID = Arg(("dag_id",), help="The id of the dag")
ARG_LOGICAL_DATE = Arg(("logical_date",), help="The logical date of the DAG run")
ARG_BUNDLE_NAME = Arg(("-B", "--bundle-name"), action="append", help="Only DAGs of this bundle")
ARG_OUTPUT_PATH = Arg(("-o", "--output-path"), default="[CWD]", help="The output folder")
ARG_VERBOSE = Arg(("-v", "--verbose"), action="store_true", help="Say more")
