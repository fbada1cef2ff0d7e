"""`trackside standalone`, `web`, `scheduler`, `worker` … and the server's own chores: processes that live on this machine.

For operators. What needs the server project is handed to it (`server`); a worker runs from the wheel alone.
"""

from __future__ import annotations

import argparse
import os
import sys

from trackside import __version__
from trackside.cli import output, remote_options, server
from trackside.cli.words import Verb, Verbs, add, group


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


def executor(given: argparse.Namespace, rest: list[str]) -> int:
    """What brings tries to Celery, Kubernetes and others."""
    server.manage("executor", *rest)


PASSED_ON: dict[str, tuple[Verb, str]] = {
    "standalone": (standalone, "run a whole Trackside on this machine"),
    "web": (web, "run a web process: pages, REST, sockets, execution API"),
    "scheduler": (scheduler, "run a scheduler"),
    "dag-processor": (dag_processor, "run a DAG processor"),
    "executor": (executor, "bring queued tries to the executors of TRACKSIDE_EXECUTOR: Celery, Kubernetes …"),
    "triggerer": (triggerer, "run a triggerer, which waits for what deferred tasks wait for"),
}
"""Verbs whose further words belong to the server."""


def worker(given: argparse.Namespace, rest: list[str]) -> int:
    """A worker; needs no server on this machine."""
    from trackside.core import logline
    from trackside.runner.command import WrongSetting, run_worker

    logline.configure("worker", os.environ)
    queues = [word.strip() for word in given.queues.split(",")] if given.queues is not None else None
    try:
        run_worker(api_url=given.api_url, slots=given.slots, queues=queues, name=given.name)
    except WrongSetting as error:
        print(f"trackside worker: {error}", file=sys.stderr)
        return 1
    return 0


def version(given: argparse.Namespace, rest: list[str]) -> int:
    """The version of this program; with a server named, also the server's."""
    if remote_options.is_named():
        from trackside.cli.connecting import connected

        with connected() as client:
            server_says = client.call("GET", "/api/v2/version")
        output.show_one({"client": __version__, "server": server_says["version"]}, given.output)
    elif given.output in ("json", "yaml"):
        output.show_one({"client": __version__}, given.output)
    else:
        print(__version__)
    return 0


def config_list(given: argparse.Namespace, rest: list[str]) -> int:
    """What this installation is set to."""
    server.become("config.showing", ["-o", given.output, *(["--changed"] if given.changed else [])])


def config_get(given: argparse.Namespace, rest: list[str]) -> int:
    """One setting."""
    server.become("config.showing", ["-o", given.output, given.name])


def db_migrate(given: argparse.Namespace, rest: list[str]) -> int:
    """Bring the tables up to date: the older word for `db upgrade`."""
    server.manage("db_upgrade")


def db_upgrade(given: argparse.Namespace, rest: list[str]) -> int:
    """Bring the tables up to date, or say what that would take."""
    server.manage("db_upgrade", *(["--check"] if given.check else []))


def db_check(given: argparse.Namespace, rest: list[str]) -> int:
    """Whether anything is pending."""
    server.manage("db_upgrade", "--check")


def db_backup(given: argparse.Namespace, rest: list[str]) -> int:
    """Everything in the database into a file."""
    server.manage("db_backup", given.file)


def db_restore(given: argparse.Namespace, rest: list[str]) -> int:
    """A backup into an empty database."""
    server.manage("db_restore", given.file)


def db_prune(given: argparse.Namespace, rest: list[str]) -> int:
    """Old runs go."""
    server.manage("db_prune", "--days", str(given.days), *(["--dry-run"] if given.dry_run else []))


def secrets_rotate(given: argparse.Namespace, rest: list[str]) -> int:
    """All stored secrets under the newest key."""
    server.manage("rotate_secrets", *(["--dry-run"] if given.dry_run else []))


def add_to(verbs: Verbs) -> None:
    """The words of these commands."""
    for name, (verb, text) in PASSED_ON.items():
        add(verbs, name, verb, text).epilog = f"`trackside {name} …` passes its options on."
    one = add(verbs, "worker", worker, "run a worker, here or on any machine that reaches the server")
    one.add_argument("--api-url", help="address of the server (TRACKSIDE_API_URL, http://127.0.0.1:8080)")
    one.add_argument("--slots", type=int, help="tasks at once (TRACKSIDE_PARALLELISM, 32)")
    one.add_argument("--queues", help="queues to serve, comma separated (TRACKSIDE_QUEUES, default)")
    one.add_argument("--name", help="what the worker is called on the pages (TRACKSIDE_WORKER_NAME)")
    output.add_output(add(verbs, "version", version, "show the version; with --server also that of the server"))
    config = group(verbs, "config", "settings of this installation; secrets are not shown")
    one = add(config, "list", config_list, "every setting, its value and where it comes from")
    one.add_argument("--changed", action="store_true", help="only those that are set")
    output.add_output(one)
    one = add(config, "get", config_get, "one setting")
    one.add_argument("name", help="such as TRACKSIDE_PORT")
    output.add_output(one)
    _add_db(group(verbs, "db", "the database"))
    one = add(group(verbs, "secrets", "stored connections and variables"), "rotate", secrets_rotate, "encrypt them with the newest key")
    one.add_argument("--dry-run", action="store_true", help="only count")


def _add_db(db: Verbs) -> None:
    add(db, "migrate", db_migrate, "bring the tables up to date; as `upgrade`")
    add(db, "check", db_check, "whether the tables are up to date: exit code 0 they are, 1 names what is pending, 3 no database")
    one = add(db, "upgrade", db_upgrade, "bring the tables up to date; with --check only say what is pending")
    one.add_argument("--check", action="store_true", help="change nothing: exit code 0 nothing pending, 1 names what is, 3 no database")
    add(db, "backup", db_backup, "write everything in the database to a zip file, while work goes on").add_argument("file")
    add(db, "restore", db_restore, "put a backup into an empty database").add_argument("file")
    one = add(db, "prune", db_prune, "delete old runs in small bites, while work goes on; each DAG keeps its newest")
    one.add_argument("--days", type=int, required=True, help="runs that ended longer ago")
    one.add_argument("--dry-run", action="store_true", help="only count")
