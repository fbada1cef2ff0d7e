"""Plugins folder and entry points → one `Registry` per process. What is wrong with a plugin is data, never raised.

For parse, task, trigger and callback processes. The folder is `TRACKSIDE_PLUGINS_FOLDER`; it and the folder `config` beside
it are on `sys.path` (Airflow's layout), the second for `airflow_local_settings.py`.
"""

from __future__ import annotations

import fnmatch
import functools
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from trackside.sdk.plugins import entries
from trackside.sdk.plugins.base import LINKS, NOT_SUPPORTED, AirflowPlugin
from trackside.sdk.plugins.hooks import as_holders, listeners

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINTS = "airflow.plugins"
FOLDER = "TRACKSIDE_PLUGINS_FOLDER"
IGNORE_FILE = ".airflowignore"


@dataclass(slots=True)
class Registry:
    """What the plugins of this process bring."""

    plugins: list[type[AirflowPlugin] | AirflowPlugin] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    """Plugin name → where it comes from."""
    errors: dict[str, str] = field(default_factory=dict)
    """File or entry point → traceback."""
    folder: str = ""
    loaded: bool = False

    def all(self, attribute: str) -> list[Any]:
        """That attribute's items of all plugins."""
        return [item for plugin in self.plugins for item in getattr(plugin, attribute, None) or ()]


registry = Registry()


@functools.cache
def entry_points() -> tuple[EntryPoint, ...]:
    """Installed packages that bring plugins. Looked up once: reading metadata takes longer than parsing most files.
    Only names are read, nothing is imported, so a warm parent may call it for its forks."""
    return entries.entry_points(ENTRY_POINTS)


def folder() -> str:
    """The plugins folder, "" if there is none."""
    return os.environ.get(FOLDER, "")


def load(*, again: bool = False) -> Registry:
    """Load all plugins once per process (`again`: anew) and put what they bring into place."""
    if registry.loaded and not again:
        return registry
    registry.plugins, registry.sources, registry.errors = [], {}, {}
    registry.loaded, registry.folder = True, folder()
    listeners.clear()
    for entry in entry_points():
        _guarded(f"{entry.name} ({entry.value})", _from_entry_point, entry)
    if registry.folder and os.path.isdir(registry.folder):  # noqa: PTH112 - called in every parse
        _on_path(registry.folder)
        for path in sorted(_files(Path(registry.folder))):
            _guarded(str(path), _from_file, path)
    if registry.folder and (config := str(Path(registry.folder).parent / "config")) not in sys.path and os.path.isdir(config):  # noqa: PTH112
        sys.path.append(config)
    for plugin in registry.plugins:
        _guarded(str(plugin.name), _integrate, plugin)
    return registry


def _on_path(path: str) -> None:
    if path not in sys.path:
        sys.path.append(path)


def _guarded(source: str, step: Any, argument: Any) -> None:
    try:
        step(argument)
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException:  # a plugin that calls sys.exit() is a broken plugin
        registry.errors[source] = traceback.format_exc()


def _from_entry_point(entry: EntryPoint) -> None:
    found = entry.load()
    if not _is_plugin(found):
        return
    distribution = entry.dist
    named = f"{distribution.name}=={distribution.version}: {entry.value}" if distribution is not None else entry.value
    _register(found, named)


def _from_file(path: Path) -> None:
    module = _import(path)
    for value in list(vars(module).values()):
        if _is_plugin(value) and value.__module__ == module.__name__:
            _register(value, f"$PLUGINS_FOLDER/{path.relative_to(registry.folder)}")


def _import(path: Path) -> ModuleType:
    """Under its name in the folder, so that `import workday` in a DAG file gives the same classes."""
    relative = path.relative_to(registry.folder).with_suffix("")
    parts = relative.parts[:-1] if relative.name == "__init__" else relative.parts
    name = ".".join(parts) or registry.folder
    if (known := sys.modules.get(name)) is not None and getattr(known, "__file__", None) == str(path):
        return known
    if len(parts) == 1 and all(p.isidentifier() for p in parts) and name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
    else:
        spec = importlib.util.spec_from_file_location(name if name not in sys.modules else f"trackside_plugins.{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(spec.name, None)
        raise
    return module


def _files(root: Path) -> Iterator[Path]:
    patterns = _patterns(root)
    for path in root.rglob("*.py"):
        relative = path.relative_to(root).as_posix()
        if any(part.startswith(".") or part == "__pycache__" for part in relative.split("/")):
            continue
        if not any(fnmatch.fnmatch(relative, p) or fnmatch.fnmatch(relative, f"{p.rstrip('/')}/*") for p in patterns):
            yield path


def _patterns(root: Path) -> list[str]:
    try:
        lines = (root / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _is_plugin(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, AirflowPlugin) and value is not AirflowPlugin


def _register(cls: type[AirflowPlugin], source: str) -> None:
    cls.validate()
    if any(plugin.name == cls.name for plugin in registry.plugins):
        return
    plugin = cls()
    plugin.on_load()
    registry.plugins.append(plugin)
    registry.sources[str(cls.name)] = source


def _integrate(plugin: AirflowPlugin) -> None:
    if plugin.macros:
        _add_macros(str(plugin.name), plugin.macros)
    for holder in as_holders(plugin.listeners or ()):
        listeners.add(holder)
    for reference in plugin.deadline_references or ():
        from trackside.sdk.deadline import DeadlineReference

        setattr(DeadlineReference, reference.__name__, reference)


def _add_macros(name: str, functions: list[Any]) -> None:
    """`{{ macros.<plugin>.<function>() }}` and `airflow.macros.<plugin>`."""
    from trackside.sdk import macros

    module = ModuleType(f"airflow.macros.{name}")
    for function in functions:
        setattr(module, function.__name__, function)
    sys.modules[module.__name__] = module
    setattr(macros, name, module)


# What others ask the registry ---------------------------------------------------------------------------------------


def extra_links(operator_class: type) -> list[Any]:
    """Links that plugins add to operators of this class: global ones, and those that name it (or a parent of it)."""
    if not registry.plugins:
        return []
    links = [_instance(link) for link in registry.all("global_operator_extra_links")]
    for link in registry.all("operator_extra_links"):
        link = _instance(link)
        if any(_matches(operator_class, wanted) for wanted in getattr(link, "operators", None) or ()):
            links.append(link)
    return links


def _matches(operator_class: type, wanted: Any) -> bool:
    return operator_class is wanted or operator_class.__name__ == getattr(wanted, "__name__", wanted)


def _instance(link: Any) -> Any:
    return link() if inspect.isclass(link) else link


def _path(value: Any) -> str:
    cls = value if inspect.isclass(value) else type(value)
    return f"{cls.__module__}.{cls.__qualname__}" if not inspect.ismodule(value) else value.__name__


def describe() -> dict[str, Any]:
    """Everything a person may want to know about the plugins, as JSON: for REST, pages and the server's decisions."""
    rows = []
    for plugin in registry.plugins:
        row: dict[str, Any] = {"name": plugin.name, "source": registry.sources.get(str(plugin.name), "")}
        row["macros"] = [getattr(m, "__name__", str(m)) for m in plugin.macros or ()]
        for name in ("global_operator_extra_links", "operator_extra_links", "timetables", "listeners", "priority_weight_strategies"):
            row[name] = [_path(item) if not isinstance(item, str) else item for item in getattr(plugin, name) or ()]
        for name in ("hook_lineage_readers", "partition_mappers", "windows", "deadline_references"):
            row[name] = [_path(item) for item in getattr(plugin, name) or ()]
        row["not_supported"] = [name for name in NOT_SUPPORTED if getattr(plugin, name, None)]
        for name in (*NOT_SUPPORTED, *LINKS):
            row[name] = [_shown(item) for item in getattr(plugin, name, None) or ()]
        rows.append(row)
    return {"plugins": rows, "errors": dict(registry.errors), "listens": sorted(listeners.names)}


def _shown(item: Any) -> Any:
    if isinstance(item, dict):
        return {str(k): v if isinstance(v, str | int | float | bool | list | type(None)) else str(v) for k, v in item.items()}
    return str(getattr(item, "name", None) or type(item).__name__)
