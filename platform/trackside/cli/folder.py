"""A DAGs folder on this machine, for commands that need no server: its files, parsed as the DAG processor parses them.

For `dags_local` and `tasks_local`. Reading (`parse`) happens in limited child processes; testing a DAG loads its file here.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackside.cli.words import Problem

if TYPE_CHECKING:
    from trackside.runner.parsing import ParseResult
    from trackside.sdk.dag import DAG


def add_folder(parser: argparse.ArgumentParser) -> None:
    """The option `-S`."""
    text = "the DAGs folder (TRACKSIDE_DAGS_FOLDER, AIRFLOW__CORE__DAGS_FOLDER, ./dags, else this folder)"
    parser.add_argument("-S", "--subdir", "--dags-folder", dest="dags_folder", help=text)


def folder_of(given: argparse.Namespace) -> Path:
    """The folder that was named, or the first of the usual ones. Raises Problem if it is none."""
    named = given.dags_folder or os.environ.get("TRACKSIDE_DAGS_FOLDER") or os.environ.get("AIRFLOW__CORE__DAGS_FOLDER")
    folder = Path(named) if named else Path("dags") if Path("dags").is_dir() else Path()
    if not folder.exists():
        raise Problem(f"there is no DAGs folder {folder}; name it with -S")
    return folder.resolve()


def files_of(folder: Path, named: Iterable[str] = ()) -> list[Path]:
    """Files that may hold DAGs: those named (folders with all below), or all of the folder. Raises Problem."""
    from trackside.runner.parsing.scanning import Scanner, Seen

    found: dict[Path, None] = {}
    for start in [Path(name).resolve() for name in named] or [folder]:
        if not start.exists():
            raise Problem(f"there is no file or folder {start}")
        scanner = Scanner(start if start.is_dir() else start.parent)
        if start.is_file():
            info = start.stat()
            seen = [Seen(str(start), start.name, (info.st_mtime_ns, info.st_size, info.st_ino))]
        else:
            seen = list(scanner.scan().files.values())
        found |= {Path(one.path): None for one in seen if scanner.may_hold_dags(one)}
    return list(found)


def parse(folder: Path, files: Iterable[Path]) -> Iterator[ParseResult]:
    """What each file holds and what is wrong with it, in the order of the files. User code runs in children only."""
    from trackside.runner.parsing import ParseServer, ParseSettings

    at = folder if folder.is_dir() else folder.parent
    timeout = float(os.environ.get("TRACKSIDE_PARSE_TIMEOUT") or 30)
    server = ParseServer(ParseSettings(str(at), timeout=timeout), answer=_nobody)
    try:
        for file in files:
            yield server.parse(str(file))
    finally:
        server.close()


def _nobody(method: str, path: str, params: dict[str, Any]) -> tuple[int, Any]:
    """Files that ask for variables or connections while they are parsed: only the environment has any."""
    name = path.rpartition("/")[2]
    kind, prefix = ("connection", "AIRFLOW_CONN_") if "/connections" in path else ("variable", "AIRFLOW_VAR_")
    return 404, {"detail": f"there is no {kind} {name!r} without a server; set {prefix}{name.upper()}, or ask inside a task"}


def load(given: argparse.Namespace, dag_id: str) -> tuple[DAG, list[DAG]]:
    """The DAG of that id, loaded into this process, and the DAGs it may start. Raises Problem."""
    folder = folder_of(given)
    files = files_of(folder, [given.dagfile] if getattr(given, "dagfile", None) else [])
    files.sort(key=lambda file: not mentions(file, dag_id))
    dags: dict[str, DAG] = {}
    errors: list[str] = []
    for file in files:
        _load_file(file, folder, dags, errors)
        if dag_id in dags and not _wanted(dags):
            break
    if dag_id in dags:
        return dags[dag_id], list(dags.values())
    hint = "\n".join(errors[:3]) or f"its DAGs are {', '.join(sorted(dags)) or 'none'}"
    raise Problem(f"there is no DAG {dag_id!r} in {folder}: {hint}")


def _load_file(file: Path, folder: Path, dags: dict[str, DAG], errors: list[str]) -> None:
    from trackside.sdk.parsing import load_file

    loaded = load_file(file, dags_folder=folder)
    dags.update({dag.dag_id: dag for dag in loaded.dags})
    errors += [f"{file}{f':{error.line}' if error.line else ''}: {error.message}" for error in loaded.errors]


def _wanted(dags: dict[str, DAG]) -> set[str]:
    """DAGs that those found so far trigger and that have not been found."""
    named = {getattr(task, "trigger_dag_id", None) for dag in dags.values() for task in dag.tasks}
    return {name for name in named if isinstance(name, str) and "{" not in name} - set(dags)


def mentions(file: Path, dag_id: str) -> bool:
    """Whether the text of a file has the id: where to look first."""
    try:
        return dag_id.encode() in file.read_bytes()
    except OSError:
        return False
