"""Stub files that let editors and type checkers know `airflow…` as Trackside has it.

For `trackside stubs install`. Written from the same tables as the bridge itself (`names`): every module becomes a `.pyi` that takes its
names from `trackside.sdk`, so that completion, hints and wrong arguments are those of the classes that really run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trackside.airflow.names import AIRFLOW_VERSION, MODULES, PACKAGES

MARK = f"# Made by `trackside stubs install` for Airflow {AIRFLOW_VERSION}'s names; made anew by the same command."
OPEN = frozenset({"airflow.providers"})
"""Packages whose other modules come from elsewhere (installed provider packages): the stubs do not deny them."""


def write(into: Path) -> int:
    """Write the stubs below `into` (`into/airflow/…`), anew; how many files there are. Raises FileExistsError for a folder `airflow`
    that was not written by this."""
    root = into / "airflow"
    if (root / "__init__.py").exists() or (root.exists() and not _ours(root / "__init__.pyi")):
        raise FileExistsError(f"{root} exists and was not made by this command. Name another folder with --into.")
    for old in root.rglob("*.pyi") if root.exists() else ():
        if _ours(old):
            old.unlink()
    files = dict(stubs())
    for name, text in files.items():
        path = into.joinpath(*name.split("."), "__init__.pyi")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return len(files)


def stubs() -> Iterator[tuple[str, str]]:
    """Module → text of its stub."""
    for name in sorted(PACKAGES):
        lines = [line for key, target in sorted(MODULES.get(name, {}).items()) for line in _lines(key, target)]
        if any(name == top or name.startswith(f"{top}.") for top in OPEN):
            lines += ["def __getattr__(name: str) -> _Any: ..."]
        head = ["from typing import Any as _Any"] if any("_Any" in line for line in lines) else []
        yield name, "\n".join([MARK, *head, *lines]) + "\n"


def _lines(name: str, target: Any) -> list[str]:
    if name == "*":
        return [f"from trackside.{target} import *"]
    if not isinstance(target, str) or ":" not in target:
        known = type(target).__name__ if isinstance(target, str | int | bool) else "_Any"
        return [f"{name}: {known}"]
    module, _, attribute = target.partition(":")
    if attribute and "." not in attribute:
        return [f"from trackside.{module} import {attribute} as {name}"]
    parent, _, leaf = f"trackside.{module}".rpartition(".")
    return [f"from {parent} import {leaf} as {name}"] if not attribute else [f"{name}: _Any"]


def _ours(path: Path) -> bool:
    return path.exists() and path.read_text().startswith("# Made by `trackside stubs install`")
