"""Commands for a server that change runs, each with `--dry-run`: `runs clear|mark|delete`, `tasks clear|mark`, `dags pause|delete`, `undo`.

Also `trackside call`, for every operation that has no word of its own, and what else pages show: `audit`, `import-errors`.
For people and scripts; next door, `remote` has the other words of these groups.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from trackside.cli import output, values
from trackside.cli.connecting import connected, remote_word, table
from trackside.cli.words import Problem, Verbs, group

STATES = ("success", "failed", "skipped")


def _told(answer: dict[str, Any], given: argparse.Namespace) -> int:
    """What an action did or would do: a sentence per line, and what takes it back."""
    if given.output in ("json", "yaml"):
        output.show_one(answer, given.output)
        return 0
    print(f"{answer['total']} would change" if answer["dry_run"] else f"{answer['total']} changed")
    for line in answer["tasks"]:
        print(f"  {line['task_id']}: {line['count']} {line['state']}")
    for sentence in answer["consequences"]:
        print(sentence)
    if answer["undo"]:
        print(f"`trackside undo {answer['undo']}` takes it back until {answer['undo_until']}", file=sys.stderr)
    return 0


def pause(given: argparse.Namespace, rest: list[str]) -> int:
    """Pause, or unpause."""
    with connected() as client:
        for dag_id in given.dag_id:
            answer = client.switch(dag_id, given.paused, dry_run=given.dry_run)
            if given.dry_run or given.output in ("json", "yaml"):
                _told(answer, given)
            else:
                print(f"{dag_id} is {'paused' if given.paused else 'unpaused'}")
    return 0


def clear(given: argparse.Namespace, rest: list[str]) -> int:
    """Run tasks again: those named, or all of the run."""
    with connected() as client:
        answer = client.clear_tasks(
            given.dag_id, given.run_id, _chosen(given), only_failed=given.only_failed, only_running=given.only_running,
            latest_version=given.latest_version, dry_run=given.dry_run, **_around(given),
        )  # fmt: skip
    return _told(answer, given)


def mark_tasks(given: argparse.Namespace, rest: list[str]) -> int:
    """Give tasks a state."""
    with connected() as client:
        chosen = _chosen(given)
        assert chosen is not None
        answer = client.mark_tasks(given.dag_id, given.run_id, chosen, given.state, dry_run=given.dry_run, **_around(given))
    return _told(answer, given)


def mark_run(given: argparse.Namespace, rest: list[str]) -> int:
    """Give a run a state."""
    with connected() as client:
        return _told(client.set_run_state(given.dag_id, given.run_id, given.state, note=given.note, dry_run=given.dry_run), given)


def delete_run(given: argparse.Namespace, rest: list[str]) -> int:
    """A run goes for good."""
    with connected() as client:
        return _told(client.delete_run(given.dag_id, given.run_id, dry_run=given.dry_run), given)


def delete_dag(given: argparse.Namespace, rest: list[str]) -> int:
    """A DAG and its runs go for good."""
    with connected() as client:
        return _told(client.delete_dag(given.dag_id, dry_run=given.dry_run), given)


def undo(given: argparse.Namespace, rest: list[str]) -> int:
    """Take an action back."""
    with connected() as client:
        print(client.undo(given.id))
    return 0


def call(given: argparse.Namespace, rest: list[str]) -> int:
    """Any operation of the REST API; its answer is printed as JSON."""
    if not given.path.startswith("/"):
        raise Problem(f"the path begins with a slash, such as /api/v2/dags, not {given.path!r}")
    body = values.as_object(given.data, "--data")
    params = [tuple(word.partition("=")[::2]) for word in given.param]
    with connected() as client:
        answer = client.call(given.method.upper(), given.path, params=params or None, json=body)  # type: ignore[arg-type]  # names repeat
    if given.output == "yaml":
        print(output.as_yaml(answer), end="")
    elif answer is not None:
        print(answer if isinstance(answer, str) else json.dumps(answer, indent=2, ensure_ascii=False))
    return 0


def audit(given: argparse.Namespace, rest: list[str]) -> int:
    """Newest entries of the audit trail."""
    with connected() as client:
        return table(client.audit(dag_id=given.dag_id, run_id=given.run_id, owner=given.user, event=given.event, limit=given.limit), given)


def import_errors(given: argparse.Namespace, rest: list[str]) -> int:
    """DAG files that cannot be loaded."""
    with connected() as client:
        return table(client.import_errors(), given)


def _chosen(given: argparse.Namespace) -> list[Any] | None:
    tasks = getattr(given, "task_id", None)
    if not tasks:
        return None
    return [(task, given.map_index) for task in tasks] if given.map_index >= 0 else list(tasks)


def _around(given: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(given, name) for name in ("upstream", "downstream", "future", "past", "note")}


def _add_around(one: argparse.ArgumentParser) -> None:
    also = {"upstream": "what it waits for", "downstream": "what follows", "future": "later runs", "past": "earlier runs"}
    for name, text in also.items():
        one.add_argument(f"--{name}", action="store_true", help=f"also {text}")
    one.add_argument("--note")


def _add_clear(one: argparse.ArgumentParser) -> None:
    one.add_argument("--only-failed", action="store_true")
    one.add_argument("--only-running", action="store_true")
    one.add_argument("--latest-version", action="store_true", help="with the newest version of the DAG")
    _add_around(one)


def _dry(one: argparse.ArgumentParser) -> argparse.ArgumentParser:
    one.add_argument("--dry-run", action="store_true", help="only say what would happen")
    return one


def add_to(verbs: Verbs) -> None:
    """The words of these commands."""
    dags = group(verbs, "dags", "DAGs: of a folder here, or of a server")
    for name, paused in (("pause", True), ("unpause", False)):
        _dry(remote_word(dags, name, pause, f"{name} DAGs of the server", "dag_id+")).set_defaults(paused=paused)
    _dry(remote_word(dags, "delete", delete_dag, "delete a DAG with its runs, for good", "dag_id"))
    runs = group(verbs, "runs", "runs: of this installation, or of a server that is named")
    _add_clear(_dry(remote_word(runs, "clear", clear, "run a run again", "dag_id", "run_id")))
    one = _dry(remote_word(runs, "mark", mark_run, "give a run a state by hand", "dag_id", "run_id"))
    one.add_argument("state", choices=("success", "failed", "queued"))
    one.add_argument("--note")
    _dry(remote_word(runs, "delete", delete_run, "delete a run for good", "dag_id", "run_id"))
    tasks = group(verbs, "tasks", "tasks: of a folder here, or of a server")
    one = _dry(remote_word(tasks, "clear", clear, "run tasks of a run again", "dag_id", "run_id", "task_id+"))
    one.add_argument("--map-index", type=int, default=-1)
    _add_clear(one)
    one = _dry(remote_word(tasks, "mark", mark_tasks, "give tasks of a run a state by hand", "dag_id", "run_id", "task_id+"))
    one.add_argument("--state", choices=STATES, required=True)
    one.add_argument("--map-index", type=int, default=-1)
    _add_around(one)
    remote_word(verbs, "undo", undo, "take an action back, within ten minutes", "id")
    one = remote_word(group(verbs, "audit", "the audit trail"), "list", audit, "newest entries")
    for option in ("--dag-id", "--run-id", "--user", "--event"):
        one.add_argument(option)
    one.add_argument("--limit", type=int, default=25)
    errors = group(verbs, "import-errors", "DAG files that cannot be loaded")
    remote_word(errors, "list", import_errors, "all of them")
    one = remote_word(verbs, "call", call, "any operation of the REST API, such as GET /api/v2/dags", "method", "path")
    one.add_argument("-d", "--data", metavar="JSON", help="the body: a JSON object, or @file")
    one.add_argument("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="of the query; may be repeated")
