"""Import a DAG file and collect its DAGs, errors and warnings. What is wrong in the file is data, never raised.

For the DAG processor (`runner/parsing`) and for workers (`runner/loading`). Cheap to import; what DAG files need beyond
it is imported when they do. Next door: `validation.py` checks each DAG, `varying.py` finds values that change at every
parse, `serialization.py` makes the stored form.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback as tb
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from trackside.sdk import stack
from trackside.sdk.dag import DAG
from trackside.sdk.hints import hint_for
from trackside.sdk.plugins import policies
from trackside.sdk.sources import SourceOnly, read_from_source
from trackside.sdk.stack import DagContext
from trackside.sdk.validation import validate

_OWN = f"{Path(__file__).resolve().parent.parent}/"


@dataclass(slots=True)
class FileError:
    """Something in a file that keeps it, or one DAG of it, from being used."""

    message: str
    line: int | None = None
    """Line of the DAG file."""
    traceback: str = ""
    dag_id: str | None = None
    """Set when only this DAG is affected."""


@dataclass(slots=True)
class FileWarning:
    """Something in a file that works but probably not as meant."""

    message: str
    line: int | None = None
    dag_id: str | None = None
    kind: str = "runtime varying value"


@dataclass(slots=True)
class LoadedFile:
    """What a file holds."""

    dags: list[DAG] = field(default_factory=list)
    errors: list[FileError] = field(default_factory=list)
    warnings: list[FileWarning] = field(default_factory=list)

    def get_dag(self, dag_id: str) -> DAG | None:
        """The DAG of that id, if it is usable."""
        return next((dag for dag in self.dags if dag.dag_id == dag_id), None)


def load_file(path: str | Path, *, dags_folder: str | Path | None = None) -> LoadedFile:
    """Import `path` (a .py, or a .zip with .py files at its top) and collect its DAGs.

    `dags_folder` is put on sys.path and stays there, because tasks import from it, too.
    """
    path = str(path)
    _prepare_imports(path, dags_folder)
    loaded = LoadedFile()
    if path.endswith(".zip"):
        for name, fileloc in _zip_members(path, loaded):
            _load_module(name, path, fileloc, loaded, dags_folder)
    else:
        _load_module(module_name(path), path, path, loaded, dags_folder)
    return loaded


def module_name(path: str) -> str:
    """Unique name of a DAG file's module: two files of the same name must not replace each other."""
    digest = hashlib.sha1(path.encode(), usedforsecurity=False).hexdigest()
    return f"unusual_prefix_{digest}_{Path(path).stem.replace('.', '_')}"


def _prepare_imports(path: str, dags_folder: str | Path | None) -> None:
    try:
        bridge: Any = importlib.import_module("trackside.airflow")
        install = getattr(bridge, "install", None)
    except ImportError:
        install = None
    if install is not None:
        install()
    wanted = [str(dags_folder)] if dags_folder else [str(Path(path).parent)]
    if path.endswith(".zip"):
        wanted.insert(0, path)
    read_from_source(wanted[-1])
    for folder in reversed(wanted):
        if folder not in sys.path:
            sys.path.insert(0, folder)


def _zip_members(path: str, loaded: LoadedFile) -> Iterator[tuple[str, str]]:
    """(module name, fileloc) of the Python files at the top of an archive."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(archive.namelist())
    except (OSError, zipfile.BadZipFile) as error:
        loaded.errors.append(FileError(f"The zip file cannot be opened: {error}"))
        return
    for name in names:
        if "/" not in name and name.endswith(".py") and name not in ("__init__.py", "__main__.py"):
            yield name.removesuffix(".py"), f"{path}/{name}"


def _load_module(name: str, path: str, fileloc: str, loaded: LoadedFile, dags_folder: str | Path | None) -> None:
    stack.reset()
    DagContext.registered = []
    try:
        module = _import(name, path)
        dags = _collect(module, DagContext.registered)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        sys.modules.pop(name, None)
        loaded.errors.append(_error(error, fileloc))
        return
    finally:
        DagContext.registered = None
        stack.reset()
    for dag in dags:
        dag.fileloc = fileloc
        dag.relative_fileloc = _relative(fileloc, dags_folder)
        _add(dag, loaded)
    _warn(fileloc, path, dags, loaded)


def _import(name: str, path: str) -> ModuleType:
    sys.modules.pop(name, None)
    if path.endswith(".zip"):
        importlib.invalidate_caches()
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, path, loader=SourceOnly(name, path))
    assert spec is not None and spec.loader is not None, f"{path} is no Python file"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses, pickling and get_type_hints look the module up
    spec.loader.exec_module(module)
    return module


def _collect(module: ModuleType, registered: list[DAG]) -> list[DAG]:
    """DAGs of a module's globals and of its `with` blocks, each once, in the order they were written."""
    found: dict[int, DAG] = {}
    for value in [*registered, *vars(module).values()]:
        if isinstance(value, DAG):
            found.setdefault(id(value), value)
    return list(found.values())


def _add(dag: DAG, loaded: LoadedFile) -> None:
    try:
        validate(dag)
        if not policies.apply(dag):
            return
    except Exception as error:
        line = getattr(getattr(error, "task", None), "_defined_at", dag._defined_at)[1]
        problem = _error(error, dag.fileloc)
        problem.line = line if problem.line is None else problem.line
        problem.dag_id = dag.dag_id
        loaded.errors.append(problem)
        return
    twin = next((i for i, other in enumerate(loaded.dags) if other.dag_id == dag.dag_id), None)
    if twin is None:
        loaded.dags.append(dag)
        return
    lines = f"lines {loaded.dags[twin]._defined_at[1]} and {dag._defined_at[1]}"
    message = f"DAG {dag.dag_id!r} is defined twice in this file ({lines}); the later one is used. Give one of them another dag_id"
    loaded.warnings.append(FileWarning(message, dag._defined_at[1], dag.dag_id, kind="duplicate dag id"))
    loaded.dags[twin] = dag


def _relative(fileloc: str, dags_folder: str | Path | None) -> str:
    if dags_folder is None:
        return Path(fileloc).name
    try:
        return str(Path(fileloc).relative_to(dags_folder))
    except ValueError:
        return Path(fileloc).name


# Errors and warnings ------------------------------------------------------------------------------------------------


def _error(error: BaseException, fileloc: str) -> FileError:
    """What happened, where in the author's file, and what to do about it where that is known."""
    frames = tb.extract_tb(error.__traceback__)
    line = next((frame.lineno for frame in reversed(frames) if frame.filename == fileloc), None)
    if isinstance(error, SyntaxError) and error.filename == fileloc:
        line = error.lineno
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SystemExit):
        text = f"The file called sys.exit({error.code!r}). Remove that call: importing the file must return"
    return FileError(text + hint_for(error), line, _short_traceback(error))


def _short_traceback(error: BaseException) -> str:
    """The traceback from the author's file on, without the frames that imported it and without Trackside's own."""
    summary = tb.TracebackException.from_exception(error)
    part: tb.TracebackException | None = summary
    while part is not None:
        kept = [f for f in part.stack if not f.filename.startswith((_OWN, "<frozen importlib"))]
        part.stack = tb.StackSummary.from_list([f for f in kept if "/importlib/" not in f.filename])
        part = part.__cause__ or part.__context__
    return "".join(summary.format())


def _warn(fileloc: str, path: str, dags: list[DAG], loaded: LoadedFile) -> None:
    if path.endswith(".zip") or not dags:
        return
    from trackside.sdk.varying import varying_values

    found = varying_values(path)
    if not found:
        return
    lines = "; ".join(f"line {line}: {text}" for line, text in found)
    for dag in dags:
        loaded.warnings.append(
            FileWarning(
                "Values that change at every parse make a new DAG version every time. Use a fixed value, or compute it "
                f"inside a task or a template: {lines}",
                found[0][0],
                dag.dag_id,
            )
        )


def might_contain_dag(path: str | Path) -> bool:
    """Safe mode: whether a file mentions both "dag" and "airflow" (or @asset), so that importing it is worth it."""
    path = Path(path)
    if path.suffix == ".zip":
        return True
    try:
        text = path.read_bytes().lower()
    except OSError:
        return False
    return b"airflow" in text and (b"dag" in text or b"asset" in text)
