"""Commands for a server: `trackside --server URL --profile NAME dags|runs|tasks|pools|variables|connections|health`.

For people and scripts anywhere; all go through `trackside.client`. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
Next door: `remote_actions` (clear, mark, pause, undo), `remote_plans` (backfills, assets), `remote_people`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackside.cli import output, values
from trackside.cli.connecting import connected, remote_word, table
from trackside.cli.words import Problem, Verb, Verbs, group

if TYPE_CHECKING:
    from trackside.client import Client

KINDS = {"pools": "name", "variables": "key", "connections": "connection_id"}
"""Settings of a server and the field with their name."""
EXPORTED = {
    "pools": ("slots", "description", "include_deferred", "team_name"),
    "variables": ("value", "description", "team_name"),
    "connections": ("conn_type", "description", "host", "login", "password", "schema", "port", "extra", "team_name"),
}
"""What a file of them says: what can be brought in again."""
MASK = "***"
"""What a server answers in the place of a secret."""


def list_dags(given: argparse.Namespace) -> int:
    """DAGs of the server."""
    with connected() as client:
        return table(client.dags(given.pattern, tags=given.tag, paused={"yes": True, "no": False}.get(given.paused)), given)


def trigger(given: argparse.Namespace, rest: list[str]) -> int:
    """Make a run; with --wait its end is the exit code."""
    with connected() as client:
        conf = values.as_object(given.conf, "--conf")
        date = values.moment(given.logical_date).isoformat() if given.logical_date else None
        run = client.trigger(given.dag_id, conf, logical_date=date, run_id=given.run_id, note=given.note)
        if given.wait:
            return _wait(client, given, run["dag_run_id"])
        output.show_one(run if given.output in ("json", "yaml") else _short(run), given.output)
    return 0


def runs_list(given: argparse.Namespace, rest: list[str]) -> int:
    """Newest runs."""
    with connected() as client:
        return table(client.runs(given.dag_id or "~", state=given.state, run_type=given.type, limit=given.limit), given)


def runs_show(given: argparse.Namespace, rest: list[str]) -> int:
    """A run and its task instances."""
    with connected() as client:
        run, tasks = client.run(given.dag_id, given.run_id), client.tasks(given.dag_id, given.run_id)
    if given.output in ("json", "yaml"):
        output.show_one({**run, "task_instances": list(tasks)}, given.output)
        return 0
    output.show_one(_short(run), given.output)
    print()
    return table(tasks, given)


def runs_wait(given: argparse.Namespace, rest: list[str]) -> int:
    """Until the run has ended. 0: success; 1: failed or too late."""
    with connected() as client:
        return _wait(client, given, given.run_id)


def dags_details(given: argparse.Namespace, rest: list[str]) -> int:
    """A DAG with all its settings."""
    with connected() as client:
        output.show_one(client.dag(given.dag_id), given.output)
    return 0


def tasks_get(given: argparse.Namespace, rest: list[str]) -> int:
    """One task instance."""
    with connected() as client:
        output.show_one(client.task(given.dag_id, given.run_id, given.task_id, map_index=given.map_index), given.output)
    return 0


def tasks_of_run(given: argparse.Namespace) -> int:
    """Task instances of a run."""
    with connected() as client:
        return table(client.tasks(given.dag_id, given.run), given)


def tasks_logs(given: argparse.Namespace, rest: list[str]) -> int:
    """A try's log."""
    with connected() as client:
        lines = client.logs(
            given.dag_id, given.run_id, given.task_id, try_number=given.try_number, map_index=given.map_index, follow=given.follow
        )
        for line in lines:
            print(line, flush=given.follow)
    return 0


def _wait(client: Client, given: argparse.Namespace, run_id: str) -> int:
    run = client.wait(given.dag_id, run_id, timeout=given.timeout, progress=True)
    output.show_one(run if given.output in ("json", "yaml") else _short(run), given.output)
    return 0 if run["state"] == "success" else 1


def _short(run: dict[str, Any]) -> dict[str, Any]:
    names = ("dag_id", "dag_run_id", "state", "run_type", "logical_date", "start_date", "end_date", "conf", "note")
    return {name: run[name] for name in names if run.get(name) not in (None, {}, "")}


# --- settings ---------------------------------------------------------------------------------------------------------
def _settings(kind: str) -> dict[str, Verb]:
    key = KINDS[kind]

    def list_(given: argparse.Namespace, rest: list[str]) -> int:
        with connected() as client:
            return table(getattr(client, kind)(), given)

    def get(given: argparse.Namespace, rest: list[str]) -> int:
        with connected() as client:
            output.show_one(client.get(kind, given.name), given.output)
        return 0

    def set_(given: argparse.Namespace, rest: list[str]) -> int:
        with connected() as client:
            client.put(kind, key, given.name, _values(kind, given))
        print(f"{given.name} is stored")
        return 0

    def delete(given: argparse.Namespace, rest: list[str]) -> int:
        with connected() as client:
            client.delete(kind, given.name)
        print(f"{given.name} is deleted")
        return 0

    def import_(given: argparse.Namespace, rest: list[str]) -> int:
        found = _from_file(kind, given.file)
        masked = {name for name, values in found.items() if MASK in "\n".join(str(value) for value in values.values())}
        with connected() as client:
            there = {row[key] for row in getattr(client, kind)()} if masked else set()
            for number, (name, values) in enumerate(found.items(), 1):
                if name not in masked:
                    client.put(kind, key, name, values)
                output.progress(number, len(found), kind)
        if found and sys.stderr.isatty():
            print(file=sys.stderr)
        print(f"{len(found) - len(masked)} {kind} are stored")
        if masked & there:
            print(f"kept as they are, for the file only has {MASK} for their secrets: {', '.join(sorted(masked & there))}", file=sys.stderr)
        if masked - there:
            missing = ", ".join(sorted(masked - there))
            raise Problem(f"not stored, for the file only has {MASK} for their secrets: {missing}. Write these into it, or `set` them")
        return 0

    def export(given: argparse.Namespace, rest: list[str]) -> int:
        with connected() as client:
            rows = {row[key]: {name: row[name] for name in EXPORTED[kind] if row.get(name) is not None} for row in getattr(client, kind)()}
        text = json.dumps(rows, indent=2)
        if hidden := sorted(name for name, row in rows.items() if MASK in "\n".join(str(value) for value in row.values())):
            print(f"secrets are written as {MASK}: {', '.join(hidden)}", file=sys.stderr)
        if given.file == "-":
            print(text)
        else:
            Path(given.file).write_text(text + "\n", encoding="utf-8")
        return 0

    return {"list": list_, "get": get, "set": set_, "delete": delete, "import": import_, "export": export}


def _values(kind: str, given: argparse.Namespace) -> dict[str, Any]:
    if kind == "variables":
        return {"value": sys.stdin.read().rstrip("\n") if given.value == "-" else given.value, "description": given.description}
    if kind == "pools":
        try:
            return {"slots": int(given.value), "description": given.description or ""}
        except ValueError:
            raise Problem(f"slots are a number, not {given.value!r}") from None
    from trackside.sdk.inprocess.files import UnreadableFile, connection

    try:  # a connection by argument can be seen by other users: "-" reads it from standard input
        found = connection(sys.stdin.read().strip() if given.value == "-" else given.value, given.name)
    except UnreadableFile as error:
        raise Problem(str(error)) from error
    return {**{k: v for k, v in found.items() if v is not None}, **({"description": given.description} if given.description else {})}


def _from_file(kind: str, path: str) -> dict[str, dict[str, Any]]:
    from trackside.sdk.inprocess.files import UnreadableFile, entries, read_connections, read_variable_rows

    try:
        rows = entries(Path(path))
        if kind == "connections":
            found = {name: {k: v for k, v in values.items() if v is not None} for name, values in read_connections(path).items()}
        elif kind == "variables":
            found = read_variable_rows(path)
        else:
            fields = ("slots", "description", "include_deferred")
            found = {name: {k: value[k] for k in fields if k in value} for name, value in rows.items()}
        for name, row in rows.items():
            if isinstance(row, dict) and row.get("team_name") and (kind != "variables" or "value" in row):
                found[name]["team_name"] = row["team_name"]
        return found
    except (UnreadableFile, TypeError) as error:
        raise Problem(str(error)) from error


def health(given: argparse.Namespace, rest: list[str]) -> int:
    """0: every part that must be there answers; 1: one does not, and what to do is said."""
    with connected() as client:
        parts = client.well()
    told = {name: part for name, part in parts.items() if isinstance(part, dict)}
    words = {name: f"{part['status']}: {part['why']}" if part.get("why") else part.get("status") for name, part in told.items()}
    output.show_one(words, given.output)
    return 0 if parts.get("status") == "healthy" else 1


def add_to(verbs: Verbs) -> None:
    """The words of these commands."""
    dags = group(verbs, "dags", "DAGs: of a folder here, or of a server")
    one = remote_word(dags, "trigger", trigger, "make a run now", "dag_id")
    one.add_argument("-c", "--conf", help="a JSON object, or @file")
    for option in ("--logical-date", "--run-id", "--note"):
        one.add_argument(option)
    one.add_argument("--wait", action="store_true", help="until it has ended; its end is the exit code")
    one.add_argument("--timeout", type=float, metavar="SECONDS")
    runs = group(verbs, "runs", "runs: of this installation, or of a server that is named")
    one = remote_word(runs, "list", runs_list, "newest runs", "dag_id?")
    one.add_argument("--state")
    one.add_argument("--type", help="manual, scheduled, backfill …")
    one.add_argument("--limit", type=int, default=25)
    remote_word(runs, "show", runs_show, "a run and its task instances", "dag_id", "run_id")
    one = remote_word(runs, "wait", runs_wait, "wait for the end of a run; it is the exit code", "dag_id", "run_id")
    one.add_argument("--timeout", type=float, metavar="SECONDS")
    tasks = group(verbs, "tasks", "tasks: of a folder here, or of a server")
    remote_word(dags, "details", dags_details, "a DAG with all its settings", "dag_id")
    one = remote_word(tasks, "get", tasks_get, "a task instance of a run", "dag_id", "run_id", "task_id")
    one.add_argument("--map-index", type=int, default=-1)
    for of in (tasks, verbs):  # `trackside logs` is short for `trackside tasks logs`
        one = remote_word(of, "logs", tasks_logs, "the log of a task", "dag_id", "run_id", "task_id")
        one.add_argument("--try-number", type=int)
        one.add_argument("--map-index", type=int, default=-1)
        one.add_argument("-f", "--follow", action="store_true", help="until the task has ended")
    for kind in KINDS:
        words: dict[str, Callable[..., int]] = _settings(kind)
        of = group(verbs, kind, f"{kind}: of this installation, or of a server that is named")
        remote_word(of, "list", words["list"], f"all {kind}")
        for name in ("get", "delete"):
            remote_word(of, name, words[name], f"{name} one", "name")
        one = remote_word(of, "set", words["set"], "make or change one", "name", "value")
        one.add_argument("--description")
        for name in ("import", "export"):
            remote_word(of, name, words[name], f"{name} {kind} {'from' if name == 'import' else 'to'} a file", "file")
    remote_word(verbs, "health", health, "how the parts of an installation are")
