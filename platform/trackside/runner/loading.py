"""Getting the DAG of a try: from the zygote that has imported the file, or by importing it in the task process.

For `forkserver` (imports once, keeps the result if that is harmless) and `child`. The importing itself is
`trackside.sdk.parsing.load_file`; another loader may be named in the settings (tests).
"""

from __future__ import annotations

import importlib
import os
import site
import sys
import sysconfig
import traceback
from dataclasses import dataclass, field
from typing import Any

from trackside.runner import procs
from trackside.sdk import secrets
from trackside.sdk.execution.current import use_comms
from trackside.sdk.plugins import loading as plugins
from trackside.sdk.plugins import policies

DEFAULT_LOADER = "trackside.sdk.parsing:load_file"


class TaskNotFound(Exception):
    """The DAG file no longer holds what the order names. The message says what is missing and where."""


@dataclass(slots=True)
class LoadedFile:
    """One imported DAG file: its DAGs, its errors, and what tells that it has changed since."""

    path: str
    dags: dict[str, Any] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    modules: dict[str, tuple[str, tuple[int, int, int] | None]] = field(default_factory=dict)
    """Modules of the user that the import brought: name → (file, fingerprint)."""
    unfit: str = ""
    """Why this process must not be kept as a zygote; "" if it may."""

    def changed(self) -> bool:
        """Whether the file or a module it imported is no longer what was imported."""
        return any(_fingerprint(file) != then for file, then in self.modules.values())

    def forget_modules(self) -> None:
        """Make the next import read the user's modules again."""
        for name in self.modules:
            sys.modules.pop(name, None)


class _NoServerYet:
    """`Comms` while a zygote imports: there is no try to ask for, so whoever asks makes the zygote unfit."""

    def __init__(self) -> None:
        self.asked = False

    def request(self, method: str, path: str, **_: Any) -> tuple[int, Any]:
        self.asked = True
        return 503, {"detail": "the DAG file is being loaded ahead of the task"}

    def update(self, **fields: Any) -> None:
        self.asked = True

    def mask(self, secret: str) -> None:
        self.asked = True


def resolve(reference: str) -> Any:
    """The object that "module:name" names."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def dags_folder_of(path: str, relative: str) -> str | None:
    """The folder below which `path` is known as `relative`, None if it is not."""
    return path[: -len(relative)].rstrip("/") or "/" if relative and path.endswith("/" + relative) else None


def load(path: str, dags_folder: str | None, settings: dict[str, Any]) -> LoadedFile:
    """Import a DAG file. What goes wrong in the file is in `errors`, never raised."""
    if ".zip/" in path:  # a file in an archive is loaded with its archive
        path = path[: path.index(".zip/") + 4]
    before = set(sys.modules)
    plugins.load(again=True)
    policies.forget()
    loaded = LoadedFile(path, modules={path: (path, _fingerprint(path))})
    try:
        loader = resolve(settings.get("loader") or DEFAULT_LOADER)
        found = loader(path, dags_folder=dags_folder)
    except Exception as error:
        loaded.errors.append(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
        return loaded
    if folder := plugins.folder():
        loaded.modules[" plugins"] = (folder, _fingerprint(folder))
    dags = found.dags
    loaded.dags = dict(dags) if isinstance(dags, dict) else {dag.dag_id: dag for dag in dags}
    loaded.errors += [_error_text(e) for e in _error_list(getattr(found, "errors", None))]
    for name in set(sys.modules) - before:
        file = getattr(sys.modules.get(name), "__file__", None)
        if isinstance(file, str) and not file.startswith(_LIBRARIES):
            loaded.modules[name] = (file, _fingerprint(file))
    return loaded


def load_for_zygote(path: str, dags_folder: str | None, settings: dict[str, Any]) -> LoadedFile:
    """`load`, and judge whether this process may be forked from for later tries."""
    comms = _NoServerYet()
    with use_comms(comms):
        loaded = load(path, dags_folder, settings)
    if not loaded.dags:
        loaded.unfit = "it could not be loaded" if loaded.errors else "it holds no DAG"
    elif comms.asked:
        loaded.unfit = "it asks the server for variables, connections or XComs while it is loaded"
    elif secrets.was_asked():
        loaded.unfit = "it asks a secrets back end while it is loaded"
    elif (threads := procs.thread_count()) > 1:
        loaded.unfit = f"it leaves {threads - 1} thread(s) running after it was loaded"
    elif procs.has_children():
        loaded.unfit = "it leaves a process running after it was loaded"
    return loaded


def find_task(loaded: LoadedFile, dag_id: str, task_id: str) -> tuple[Any, Any]:
    """The DAG and task of an order. Raises TaskNotFound with a sentence for the person who wrote the file."""
    dag = loaded.dags.get(dag_id)
    if dag is None and loaded.errors:
        raise TaskNotFound(f"The DAG file {loaded.path} cannot be loaded: " + "\n".join(loaded.errors))
    if dag is None:
        raise TaskNotFound(f"DAG {dag_id!r} is no longer in {loaded.path}")
    try:
        return dag, dag.task_dict[task_id]
    except KeyError:
        raise TaskNotFound(f"Task {task_id!r} is no longer in DAG {dag_id!r} of {loaded.path}") from None


def _error_list(errors: Any) -> list[Any]:
    if not errors:
        return []
    return list(errors.values()) if isinstance(errors, dict) else list(errors)


def _error_text(error: Any) -> str:
    message, trace = getattr(error, "message", None), getattr(error, "traceback", None)
    return "\n".join(str(part) for part in (message or error, trace) if part)


def _fingerprint(path: str) -> tuple[int, int, int] | None:
    try:
        info = os.stat(path)  # noqa: PTH116 - called before every fork
    except OSError:
        return None
    return info.st_ino, info.st_size, info.st_mtime_ns


_LIBRARIES = tuple(
    {
        *(p for name, p in sysconfig.get_paths().items() if name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))),  # noqa: PTH100, PTH120 - trackside itself
    }
)
