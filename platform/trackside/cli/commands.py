"""The verbs of the `trackside` command and what each does. Words the server understands are passed on as they are."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from trackside import __version__
from trackside.cli import providers, server

Verb = Callable[[argparse.Namespace, list[str]], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0 done, 1 could not be done (one line says why), 2 wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    if words and words[0] in PASSED_ON:
        given, rest = parser.parse_args(words[:1]), words[1:]
    else:
        given, rest = parser.parse_args(words), []
    verb: Verb | None = getattr(given, "verb", None)
    if verb is None:
        parser.print_help()
        return 2
    try:
        return verb(given, rest)
    except server.NoServer as error:
        print(f"trackside: {error}", file=sys.stderr)
        return 1


# --- the server's processes -----------------------------------------------------------------------------------------
def standalone(given: argparse.Namespace, rest: list[str]) -> int:
    """A whole Trackside on this machine."""
    server.become("config.standalone", rest)


def web(given: argparse.Namespace, rest: list[str]) -> int:
    """One web process."""
    server.become("config.web", rest)


def scheduler(given: argparse.Namespace, rest: list[str]) -> int:
    """One scheduler."""
    server.manage("scheduler", *rest)


def dag_processor(given: argparse.Namespace, rest: list[str]) -> int:
    """One DAG processor."""
    server.manage("dag_processor", *rest)


def triggerer(given: argparse.Namespace, rest: list[str]) -> int:
    """One triggerer."""
    server.manage("triggerer", *rest)


PASSED_ON: dict[str, tuple[Verb, str]] = {
    "standalone": (standalone, "run a whole Trackside on this machine"),
    "web": (web, "run a web process: pages, REST, sockets, execution API"),
    "scheduler": (scheduler, "run a scheduler"),
    "dag-processor": (dag_processor, "run a DAG processor"),
    "triggerer": (triggerer, "run a triggerer, which waits for what deferred tasks wait for"),
}
"""Verbs whose further words belong to the server."""


# --- here -----------------------------------------------------------------------------------------------------------
def worker(given: argparse.Namespace, rest: list[str]) -> int:
    """A worker; needs no server on this machine."""
    import logging

    from trackside.runner.command import WrongSetting, run_worker

    logging.basicConfig(
        level=os.environ.get("TRACKSIDE_LOG_LEVEL", "INFO").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    queues = [word.strip() for word in given.queues.split(",")] if given.queues is not None else None
    try:
        run_worker(api_url=given.api_url, slots=given.slots, queues=queues, name=given.name)
    except WrongSetting as error:
        print(f"trackside worker: {error}", file=sys.stderr)
        return 1
    return 0


def version(given: argparse.Namespace, rest: list[str]) -> int:
    """The version."""
    print(__version__)
    return 0


def db_migrate(given: argparse.Namespace, rest: list[str]) -> int:
    """Bring the tables up to date."""
    server.manage("migrate", "--no-input")


def users_create(given: argparse.Namespace, rest: list[str]) -> int:
    """Make a user; the command asks for the password, or reads it from standard input."""
    options = ["--username", given.username, "--role", given.role, "--email", given.email]
    server.manage("create_user", *options, *(["--random-password"] if given.random_password else []))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trackside", description="Trackside: workflows, seen while they run.")
    verbs = parser.add_subparsers(metavar="command")

    def add(group: argparse._SubParsersAction[argparse.ArgumentParser], name: str, verb: Verb, text: str) -> argparse.ArgumentParser:
        one = group.add_parser(name, help=text, description=text)
        one.set_defaults(verb=verb)
        return one

    for name, (verb, text) in PASSED_ON.items():
        add(verbs, name, verb, text).epilog = f"`trackside {name} …` passes its options on."
    one = add(verbs, "worker", worker, "run a worker, here or on any machine that reaches the server")
    one.add_argument("--api-url", help="address of the server (TRACKSIDE_API_URL, http://127.0.0.1:8080)")
    one.add_argument("--slots", type=int, help="tasks at once (TRACKSIDE_PARALLELISM, 32)")
    one.add_argument("--queues", help="queues to serve, comma separated (TRACKSIDE_QUEUES, default)")
    one.add_argument("--name", help="what the worker is called on the pages (TRACKSIDE_WORKER_NAME)")
    add(verbs, "version", version, "show the version")
    providers.add_to(verbs)
    db = verbs.add_parser("db", help="the database").add_subparsers(metavar="command", required=True)
    add(db, "migrate", db_migrate, "bring the tables up to date")
    users = verbs.add_parser("users", help="who may sign in").add_subparsers(metavar="command", required=True)
    one = add(users, "create", users_create, "make a user; the password is asked for or read from standard input")
    one.add_argument("--username", required=True)
    one.add_argument("--role", choices=("Viewer", "User", "Op", "Admin"), default="Viewer")
    one.add_argument("--email", default="")
    one.add_argument("--random-password", action="store_true", help="make one up, show it once, ask for a new one")
    return parser
