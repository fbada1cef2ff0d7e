"""Dotted paths: `airflow.utils.module_loading` and `airflow.sdk.module_loading`."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from types import ModuleType
from typing import Any


def import_string(dotted_path: str) -> Any:
    """What `a.b.C` names. Raises ImportError saying which part is missing."""
    module, _, name = dotted_path.rpartition(".")
    if not module:
        raise ImportError(f"{dotted_path} doesn't look like a module path")
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        raise ImportError(f'Module "{module}" does not define a "{name}" attribute/class') from None


def qualname(o: Any, *, use_qualname: bool = False, exclude_module: bool = False) -> str:
    """Dotted name of a function, class, or of an object's class."""
    if isinstance(o, functools.partial):
        o = o.func
    thing = o if hasattr(o, "__qualname__") else type(o)
    name = thing.__qualname__ if use_qualname or not hasattr(thing, "__name__") else thing.__name__
    if callable(o) and hasattr(o, "__qualname__"):
        name = o.__qualname__
    return name if exclude_module else f"{thing.__module__}.{name}"


def iter_namespace(ns: ModuleType) -> Any:
    """Modules inside a package."""
    return pkgutil.iter_modules(ns.__path__, f"{ns.__name__}.")


def is_valid_dotpath(path: str) -> bool:
    """Whether text could be a dotted path."""
    return isinstance(path, str) and all(part.isidentifier() for part in path.split("."))
