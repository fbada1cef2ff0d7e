"""`trackside dags test|list|report|show|check` on a folder of DAG files: no server, no database.

For authors, pre-commit and CI. `list` also answers from a server when one is named (`remote`).
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trackside.cli import drawing, folder, output, remote_options, values
from trackside.cli.words import Problem, Verbs, add, group


def test(given: argparse.Namespace, rest: list[str]) -> int:
    """One run of a DAG in this process. 0: it succeeded; 1: it failed."""
    dag, others = folder.load(given, given.dag_id)
    run = refused_as_problem(
        dag.test,
        logical_date=values.moment(given.logical_date),
        run_conf=values.as_object(given.conf, "--conf"),
        conn_file_path=given.connections,
        variable_file_path=given.variables,
        use_executor=given.use_executor,
        mark_success_pattern=given.mark_success_pattern,
        answers=_answers(given.answer),
        wait_for_retries=not given.no_retry_wait,
        others=others,
    )
    rows = [
        {"task": name, "state": ti.state, "tries": ti.try_number, "seconds": round(ti.duration, 2), "error": ti.error}
        for name, ti in zip(run.states, run.task_instances, strict=True)
    ]
    if given.output in ("json", "yaml"):
        output.show_one({"dag_id": run.dag_id, "run_id": run.run_id, "state": run.state, "reason": run.reason, "tasks": rows}, given.output)
    else:
        output.show(rows, ("task", "state", "tries", "seconds", "error"), given.output)
        print(f"\n{run.dag_id}: {run.state}{f' ({run.reason})' if run.reason else ''}")
    if given.show_dagrun:
        print(drawing.dot(_spec(dag), run.states))
    return 0 if run.state == "success" else 1


def list_(given: argparse.Namespace, rest: list[str]) -> int:
    """The DAGs of a folder; those of a server when one is named and no folder."""
    if remote_options.is_named() and not given.dags_folder:
        from trackside.cli import remote

        return remote.list_dags(given)
    at = folder.folder_of(given)
    rows, broken = [], 0
    for result in folder.parse(at, folder.files_of(at)):
        broken += bool(result.errors)
        rows += [_line(dag, at) for dag in result.dags]
    rows.sort(key=lambda row: row["dag_id"])
    output.show(rows, ("dag_id", "file", "schedule", "owners", "tasks", "tags"), given.output, empty=f"No DAGs in {at}.")
    if broken:
        say(f"{broken} file(s) could not be loaded; `trackside dags check` says why.")
    return 0


def report(given: argparse.Namespace, rest: list[str]) -> int:
    """What each file costs and holds, slowest first."""
    at = folder.folder_of(given)
    rows = [
        {
            "file": _relative(result.path, at),
            "seconds": round(result.duration, 3),
            "dags": len(result.dags),
            "tasks": sum(len(dag["tasks"]) for dag in result.dags),
            "errors": len(result.errors),
            "warnings": len(result.warnings),
            "dag_ids": sorted(dag["dag_id"] for dag in result.dags),
        }
        for result in folder.parse(at, folder.files_of(at))
    ]
    rows.sort(key=lambda row: -float(row["seconds"]))  # type: ignore[arg-type]
    columns = ("file", "seconds", "dags", "tasks", "errors", "warnings", "dag_ids")
    output.show(rows, columns, given.output, empty=f"No DAG files in {at}.")
    return 0


def show(given: argparse.Namespace, rest: list[str]) -> int:
    """The graph of a DAG as text, DOT, Mermaid or the whole stored form as JSON."""
    at = folder.folder_of(given)
    files = sorted(folder.files_of(at), key=lambda file: not folder.mentions(file, given.dag_id))
    seen: list[str] = []
    for result in folder.parse(at, files):
        for dag in result.dags:
            if dag["dag_id"] == given.dag_id:
                print(drawing.FORMS[given.format](drawing.spec_of(dag)))
                return 0
            seen.append(dag["dag_id"])
        seen += [f"{_relative(result.path, at)} is broken ({error.message})" for error in result.errors]
    raise Problem(f"there is no DAG {given.dag_id!r} in {at}; there are: {', '.join(sorted(seen)) or 'none'}")


def check(given: argparse.Namespace, rest: list[str]) -> int:
    """Lint. 0: nothing wrong; 1: errors (or warnings with --strict)."""
    at = folder.folder_of(given) if given.dags_folder or not given.paths else Path(given.paths[0]).resolve()
    files = folder.files_of(at, given.paths)
    problems: list[dict[str, Any]] = []
    where: dict[str, list[str]] = defaultdict(list)
    count = 0
    for result in folder.parse(at, files):
        path = shown(result.path)
        for dag in result.dags:
            where[dag["dag_id"]].append(path)
        count += len(result.dags)
        problems += [problem(path, e.lineno, "error", e.message, e.dag_id) for e in result.errors]
        problems += [problem(path, w.get("lineno"), "warning", w["message"], w.get("dag_id")) for w in result.warnings]
    for dag_id, paths in where.items():
        for path in paths[1:]:
            text = f"DAG {dag_id!r} is also defined in {paths[0]}; only one of them can be used. Give one another dag_id"
            problems.append(problem(path, None, "error", text, dag_id))
    errors = sum(p["level"] == "error" for p in problems)
    _print_problems(problems, given.output)
    if given.output not in ("json", "yaml"):
        say(f"{len(files)} file(s), {count} DAG(s): {errors} error(s), {len(problems) - errors} warning(s)")
    return 1 if errors or (given.strict and problems) else 0


def refused_as_problem(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The result of a call that runs a DAG here; what it refuses (wrong DAG, conf or file) is a Problem in its own words."""
    from trackside.sdk.exceptions import AirflowException

    try:
        with contextlib.redirect_stdout(sys.stderr):  # what tasks print must not mix with the answer
            return call(*args, **kwargs)
    except (AirflowException, ValueError) as error:
        raise Problem(f"{error}") from error


# --- shared with others ---------------------------------------------------------------------------------------------
def problem(path: str, line: int | None, level: str, message: str, dag_id: str | None = None) -> dict[str, Any]:
    """One finding about a file."""
    return {"file": path, "line": line, "level": level, "message": " ".join(message.split()), "dag_id": dag_id}


def _print_problems(problems: list[dict[str, Any]], form: str) -> None:
    if form in ("json", "yaml"):
        output.show(problems, (), form)
        return
    for p in problems:
        print(f"{p['file']}:{p['line'] or 1}: {p['level']}: {p['message']}")


def say(text: str) -> None:
    """A remark beside the answer: standard error."""
    print(text, file=sys.stderr)


def shown(path: str) -> str:
    """A path as people type it: below the current folder without it."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


def _answers(words: list[str]) -> dict[str, list[str]]:
    return {task: value.split(",") for task, value in values.pairs(words, "--answer").items()}


def _spec(dag: Any) -> Any:
    from trackside.sdk.serialization import to_spec

    return to_spec(dag)


def _relative(path: str, at: Path) -> str:
    try:
        return str(Path(path).relative_to(at))
    except ValueError:
        return path


def _line(dag: dict[str, Any], at: Path) -> dict[str, Any]:
    spec = drawing.spec_of(dag)
    return {
        "dag_id": spec.dag_id,
        "file": _relative(spec.fileloc, at),
        "schedule": drawing.schedule(spec),
        "owners": spec.owners,
        "tasks": len(spec.tasks),
        "tags": spec.tags,
        "description": spec.description,
    }


def add_run_options(one: argparse.ArgumentParser) -> None:
    """Options of commands that run tasks here."""
    folder.add_folder(one)
    one.add_argument("-f", "--dagfile-path", dest="dagfile", help="the file with the DAG, when the folder need not be searched")
    one.add_argument("-c", "--conf", help='conf of the run: a JSON object, e.g. \'{"n": 1}\', or @file')
    one.add_argument("--connections", metavar="FILE", help="connections: .json, .yaml or .env (besides AIRFLOW_CONN_…)")
    one.add_argument("--variables", metavar="FILE", help="variables: .json, .yaml or .env (besides AIRFLOW_VAR_…)")
    output.add_output(one)


def add_to(verbs: Verbs) -> None:
    """The words of these commands."""
    dags = group(verbs, "dags", "DAGs: of a folder here, or of a server")
    one = add(dags, "test", test, "run a DAG once in this process, without scheduler and database")
    one.add_argument("dag_id")
    one.add_argument("logical_date", nargs="?", help="2026-03-09T00:00:00, or none (now)")
    add_run_options(one)
    one.add_argument("--mark-success-pattern", metavar="REGEX", help="tasks whose id matches succeed without running")
    one.add_argument("--use-executor", action="store_true", help="accepted as in Airflow, and ignored with a message")
    one.add_argument("--show-dagrun", action="store_true", help="print the graph with the states, as DOT")
    one.add_argument("--answer", action="append", default=[], metavar="TASK=OPTION[,…]", help="answer of a task that asks people")
    one.add_argument("--no-retry-wait", action="store_true", help="try failed tasks again at once")
    one = add(dags, "list", list_, "the DAGs of a folder, or of the server that is named")
    folder.add_folder(one)
    one.add_argument("--pattern", help="of a server: part of the id; %% and _ are wildcards")
    one.add_argument("--tag", action="append", help="of a server: with this tag; may be repeated")
    one.add_argument("--paused", choices=("yes", "no"), help="of a server: only these")
    output.add_output(one)
    one = add(dags, "report", report, "what each DAG file costs and holds, slowest first")
    folder.add_folder(one)
    output.add_output(one)
    one = add(dags, "show", show, "draw a DAG")
    one.add_argument("dag_id")
    one.add_argument("--format", choices=tuple(drawing.FORMS), default="text", help="form of the drawing (text)")
    folder.add_folder(one)
    one = add(dags, "check", check, "lint DAG files with the parser of the server: errors and warnings with file and line")
    one.add_argument("paths", nargs="*", help="files or folders (the DAGs folder)")
    one.add_argument("--strict", action="store_true", help="warnings count as errors")
    folder.add_folder(one)
    output.add_output(one)
