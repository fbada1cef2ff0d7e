"""Small functions of `airflow.utils.helpers` and its neighbours."""

from __future__ import annotations

import contextlib
import copy
import getpass
import hashlib
import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from trackside.airflow.parts.configuration import conf
from trackside.sdk.exceptions import AirflowException

T = TypeVar("T")
_KEY = re.compile(r"^[\w.-]+$")
_GROUP_KEY = re.compile(r"^[\w-]+$")


def validate_key(k: str, max_length: int = 250) -> None:
    """Refuse what cannot be an id."""
    if not isinstance(k, str):
        raise TypeError(f"The key has to be a string and is {type(k)}:{k}")
    if len(k) > max_length:
        raise AirflowException(f"The key: {k} has to be less than {max_length} characters")
    if not _KEY.match(k):
        raise AirflowException(
            f"The key {k!r} has to be made of alphanumeric characters, dashes, dots and underscores exclusively"
        )


def exactly_one(*args: Any) -> bool:
    """Whether exactly one argument is true."""
    if any(isinstance(arg, set | list | tuple) for arg in args):
        raise ValueError("Not supported: pass the conditions as arguments, not as a collection")
    return sum(map(bool, args)) == 1


def at_most_one(*args: Any) -> bool:
    """Whether at most one argument is set and true."""
    return sum(bool(arg) and type(arg).__name__ != "ArgNotSet" for arg in args) <= 1


def merge_dicts(dict1: dict[Any, Any], dict2: dict[Any, Any]) -> dict[Any, Any]:
    """Both, nested dicts merged; the second wins."""
    merged = copy.copy(dict1)
    for key, value in dict2.items():
        both = isinstance(merged.get(key), dict) and isinstance(value, dict)
        merged[key] = merge_dicts(merged[key], value) if both else value
    return merged


def prune_dict(val: Any, mode: str = "strict") -> Any:
    """Without empty parts: None only ("strict") or everything false ("truthy")."""
    if mode not in ("strict", "truthy"):
        raise ValueError("allowable values for `mode` are 'strict' and 'truthy'")

    def empty(value: Any) -> bool:
        return value is None if mode == "strict" else not value

    if isinstance(val, Mapping):
        pruned = {key: prune_dict(value, mode) for key, value in val.items() if not empty(value)}
        return {key: value for key, value in pruned.items() if not (isinstance(value, list | dict) and not value)}
    if isinstance(val, list):
        items = [prune_dict(value, mode) for value in val if not empty(value)]
        return [value for value in items if not (isinstance(value, list | dict) and not value)]
    return val


def prevent_duplicates(kwargs1: Mapping[str, Any], kwargs2: Mapping[str, Any], *, fail_reason: str) -> None:
    """Raise TypeError for keys in both."""
    both = sorted(set(kwargs1) & set(kwargs2))
    if both:
        raise TypeError(f"{fail_reason} argument{'s' if len(both) > 1 else ''}: {', '.join(both)}")


def chunks(items: list[T], chunk_size: int) -> Generator[list[T], None, None]:
    """Slices of that size."""
    if chunk_size <= 0:
        raise ValueError("Chunk size must be a positive integer")
    for start in range(0, len(items), chunk_size):
        yield items[start : start + chunk_size]


def partition(pred: Callable[[T], bool], iterable: Iterable[T]) -> tuple[Iterable[T], Iterable[T]]:
    """(those for which `pred` is false, those for which it is true)."""
    items = list(iterable)
    return [item for item in items if not pred(item)], [item for item in items if pred(item)]


def as_tuple(obj: Any) -> tuple[Any, ...]:
    """A collection as tuple, anything else as a tuple of one."""
    return tuple(obj) if isinstance(obj, list | tuple | set) else (obj,)


def is_container(obj: Any) -> bool:
    """Whether it can be iterated over and is no text."""
    return hasattr(obj, "__iter__") and not isinstance(obj, str)


def convert_camel_to_snake(camel_str: str) -> str:
    """`CamelCase` → `camel_case`."""
    return re.sub("(?!^)([A-Z]+)", r"_\1", camel_str).lower()


def build_airflow_dagrun_url(dag_id: str, run_id: str) -> str:
    """Page of a run."""
    base = conf.get("api", "base_url").rstrip("/")
    return f"{base}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def build_airflow_url_with_query(query: dict[str, Any]) -> str:
    """Address of the site with a query."""
    return f"{conf.get('api', 'base_url').rstrip('/')}/?{urlencode(query)}"


def to_boolean(astring: str | None) -> bool:
    """Whether text means yes."""
    return astring is not None and astring.lower() in ("true", "t", "yes", "y", "on", "1")


def getuser() -> str:
    """Name of the user this process runs as."""
    return getpass.getuser()


@contextlib.contextmanager
def patch_environ(new_env_variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables inside the block."""
    before = {key: os.environ.get(key) for key in new_env_variables}
    os.environ.update(new_env_variables)
    try:
        yield
    finally:
        _restore(os.environ, before)


def _restore(env: MutableMapping[str, str], before: Mapping[str, str | None]) -> None:
    for key, value in before.items():
        if value is None:
            env.pop(key, None)
        else:
            env[key] = value


def md5(string: bytes = b"", /) -> Any:
    """MD5 for names, not for security."""
    return hashlib.md5(string, usedforsecurity=False)


def add_deprecated_classes(module_imports: dict[str, dict[str, str]], package: str) -> None:
    """Old module paths of a provider: each name is looked up at its new place."""
    import sys
    from types import ModuleType

    from trackside.airflow.parts.module_loading import import_string

    for module_name, imports in module_imports.items():
        full = f"{package}.{module_name}"

        def lookup(name: str, imports: dict[str, str] = imports, full: str = full) -> Any:
            if name not in imports:
                raise AttributeError(f"module {full!r} has no attribute {name!r}")
            return import_string(imports[name])

        module = ModuleType(full)
        module.__getattr__ = lookup  # type: ignore[method-assign]
        sys.modules.setdefault(full, module)


def days_ago(n: int, hour: int = 0, minute: int = 0, second: int = 0, microsecond: int = 0) -> Any:
    """That many days before today's midnight in UTC (gone in Airflow 3, still found in older files)."""
    import pendulum

    today = pendulum.now("UTC").replace(hour=hour, minute=minute, second=second, microsecond=microsecond)
    return today.subtract(days=n)
