#!/usr/bin/env python
"""Which names of Airflow the published provider packages import, and which of them Trackside's bridge has.

`make bridge-report`. The wheels are fetched once into the cache folder and read, not imported; every name is then asked of
the bridge (`trackside.airflow`). Ends with 1 if a name is missing that has no reason below.
"""

from __future__ import annotations

import argparse
import ast
import collections
import importlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

PACKAGES = (
    *("amazon==9.39.0", "cncf-kubernetes==10.25.0", "common-compat==1.23.0", "common-io==1.11.0", "common-sql==2.4.0"),
    *("databricks==7.23.0", "dbt-cloud==4.11.1", "ftp==3.16.1", "google==22.8.0", "http==6.3.0", "mysql==6.7.1"),
    *("postgres==7.1.1", "slack==9.11.1", "snowflake==6.20.0", "sqlite==4.3.4", "ssh==7.0.1", "standard==1.21.0"),
)
CACHE = Path("~/.cache/trackside/provider-wheels").expanduser()
COMPAT = "airflow.providers.common.compat.sdk"
"""The published package through which most names are asked for; its tables say where each is looked up."""
_TABLES = ("_IMPORT_MAP", "_MODULE_MAP", "_RENAME_MAP", "_AIRFLOW_3_ONLY_RENAMES")

_AIRFLOW_2 = "only asked of Airflow 2; with Airflow 3 the package takes another branch"
_OWN_HITL = "part of the standard provider's own operators, whose place Trackside's take"
REASONS = {
    "airflow.auth": _AIRFLOW_2,
    "airflow.cli.cli_config.ARG_EXECUTION_DATE": _AIRFLOW_2,
    "airflow.cli.cli_config.ARG_SUBDIR": _AIRFLOW_2,
    "airflow.datasets.expand_alias_to_datasets": _AIRFLOW_2,
    "airflow.lineage.hook.DatasetLineageInfo": _AIRFLOW_2,
    "airflow.models.taskinstance._CURRENT_CONTEXT": _AIRFLOW_2,
    "airflow.security.permissions.RESOURCE_DATASET": _AIRFLOW_2,
    "airflow.www": _AIRFLOW_2,
    "airflow.sdk.execution_time.hitl": _OWN_HITL,
}
"""Prefix of a missing name → why it is not there."""

Users = dict[tuple[str, str], set[str]]


def main() -> int:
    """Print the report."""
    parser = argparse.ArgumentParser(description="Names of Airflow that provider packages import, and which the bridge has.")
    parser.add_argument("--wheels", type=Path, default=CACHE, help="folder with the wheels; missing ones are fetched")
    parser.add_argument("--all", action="store_true", help="list the names that resolve too")
    given = parser.parse_args()
    wheels = fetch(given.wheels)
    direct, compat = scan(wheels)
    warnings.simplefilter("ignore")
    from trackside.airflow import install

    install()
    unexplained = 0
    for title, users in (("imported directly", direct), ("through common-compat", compat)):
        lost = {key: why for key in sorted(users) if (why := missing(*key)) is not None}
        without = {key for key in lost if reason(*key) is None}
        unexplained += len(without)
        out(f"{title}: {len(users) - len(lost)} of {len(users)} names resolve; {len(lost) - len(without)} are left out on purpose")
        for key in sorted(users) if given.all else sorted(lost):
            state = "ok" if key not in lost else reason(*key) or f"MISSING: {lost[key]}"
            out(f"  {'.'.join(key):<75} {', '.join(sorted(users[key])):<40} {state}")
    return 1 if unexplained else 0


def out(line: str) -> None:
    """One line of the report."""
    sys.stdout.write(f"{line}\n")


def fetch(folder: Path) -> list[Path]:
    """The wheels, downloaded where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {spec: f"apache_airflow_providers_{spec.partition('==')[0].replace('-', '_')}-{spec.partition('==')[2]}-py3-none-any.whl"
             for spec in PACKAGES}  # fmt: skip
    absent = [f"apache-airflow-providers-{spec}" for spec, name in names.items() if not (folder / name).exists()]
    if absent:
        with tempfile.TemporaryDirectory() as scratch:
            pip = _pip(Path(scratch))
            subprocess.run([*pip, "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(folder), *absent], check=True)
    return [folder / name for name in names.values()]


def _pip(scratch: Path) -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if uv := shutil.which("uv"):
        return [uv, "tool", "run", "--quiet", "pip"]
    subprocess.run([sys.executable, "-m", "venv", str(scratch / "pip")], check=True)
    return [str(scratch / "pip" / "bin" / "python"), "-m", "pip"]


# --- what is asked for ----------------------------------------------------------------------------------------------
def scan(wheels: list[Path]) -> tuple[Users, Users]:
    """(names imported from `airflow` itself, names asked through common-compat), each with the packages that do."""
    direct: Users = collections.defaultdict(set)
    asked: dict[str, set[str]] = collections.defaultdict(set)
    places: dict[str, tuple[str, str]] = {}
    for wheel in wheels:
        package = wheel.name.removeprefix("apache_airflow_providers_").partition("-")[0].replace("_", ".")
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if not name.endswith(".py"):
                    continue
                tree = ast.parse(archive.read(name))
                if name == f"{COMPAT.replace('.', '/')}.py":
                    places = _compat_places(tree)
                    continue
                for module, imported in _imports(tree):
                    if module == COMPAT:
                        asked[imported].add(package)
                    elif not module.startswith("airflow.providers"):
                        direct[module, imported].add(package)
    for name in asked.keys() - places.keys() - {"AIRFLOW_V_3_0_PLUS"}:  # the last is common-compat's own
        places[name] = (COMPAT, name)
    return dict(direct), {places[name]: asked.get(name, set()) for name in places}


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(module, name) of every import from `airflow`, without those for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for other in child.orelse:
                yield from _imports(ast.Module([other], []))
        elif isinstance(child, ast.ImportFrom) and child.level == 0 and (child.module or "").split(".")[0] == "airflow":
            yield from ((str(child.module), alias.name) for alias in child.names)
        else:
            yield from _imports(child)


def _compat_places(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Name → (module, name) where common-compat looks first, from the tables in its source."""
    found: dict[str, tuple[str, str]] = {}
    for node in tree.body:
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0] if isinstance(node, ast.Assign) else None
        value = getattr(node, "value", None)
        if not isinstance(target, ast.Name) or target.id not in _TABLES or not isinstance(value, ast.Dict):
            continue
        for key, place in zip(value.keys, value.values, strict=True):
            name = ast.literal_eval(key) if key is not None else None
            if name is None:
                continue
            where = ast.literal_eval(place)
            first = where if isinstance(where, str) else where[0]
            if target.id == "_MODULE_MAP":
                first, _, module = first.rpartition(".")
                found[name] = (first, module)
            else:
                found[name] = (first, name)
    return found


# --- what there is --------------------------------------------------------------------------------------------------
def missing(module: str, name: str) -> str | None:
    """Why `from module import name` fails with the bridge; None if it works."""
    try:
        holder = importlib.import_module(module)
    except ImportError as error:
        return str(error)
    try:
        if name != "*":
            getattr(holder, name)
    except AttributeError:
        pass
    except ImportError as error:
        return str(error)
    else:
        return None
    try:
        importlib.import_module(f"{module}.{name}")
    except ImportError as error:
        return str(error)
    return None


def reason(module: str, name: str) -> str | None:
    """Why a name is left out on purpose."""
    full = f"{module}.{name}"
    return next((why for prefix, why in REASONS.items() if full == prefix or full.startswith(f"{prefix}.")), None)


if __name__ == "__main__":
    sys.exit(main())
