"""`trackside providers install|list|remove`: Airflow's provider packages, without Airflow.

For people who run workers. The plan (which package in which version, without `apache-airflow`) is made by
`provider_plan`; uv or pip does the work in this interpreter's environment. Next door: `commands`, which calls `add_to`.
"""

from __future__ import annotations

import argparse
import atexit
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

from trackside.cli import provider_plan as plans
from trackside.cli.words import Problem, Verbs, add, group


def install(given: argparse.Namespace, rest: list[str]) -> int:
    """Install packages by short or full name, with version and extras as pip writes them: `http`, `amazon[s3fs]==9.39.0`."""
    plan = plans.make([plans.requirement(word) for word in given.packages], _fetch)
    for line in plan.warnings:
        print(f"note: {line}")
    if given.dry_run:
        print("\n".join(["would install:", *(f"  {pin}" for pin in plan.pins), *(f"  {need}" for need in plan.others)]))
        return 0
    _apply(plan)
    print(f"installed: {', '.join(plan.pins)}")
    print("Restart the workers, the DAG processor and the triggerer: processes that run know only what was there when they began.")
    return 0


def show(given: argparse.Namespace, rest: list[str]) -> int:
    """What is installed, one package per line."""
    found = plans.installed()
    for name in sorted(found):
        print(f"{name:<45} {found[name].version}")
    if not found:
        print("No provider packages are installed; `trackside providers install http` adds one.")
    return 0


def remove(given: argparse.Namespace, rest: list[str]) -> int:
    """Uninstall provider packages; what they brought along stays, because others may use it."""
    names = [plans.name_of(plans.requirement(word)) for word in given.packages]
    plans.check_removal(names)
    _run([*_tool("uninstall"), *names])
    print(f"removed: {', '.join(names)}")
    return 0


def add_to(verbs: Verbs) -> None:
    """The words of these commands."""
    mine = group(verbs, "providers", "Airflow's provider packages")
    add(mine, "list", show, "show the provider packages installed here")
    one = add(mine, "install", install, "install provider packages without Airflow itself")
    one.add_argument("packages", nargs="+", metavar="package", help="http, cncf-kubernetes, amazon[s3fs]==9.39.0 …")
    one.add_argument("--dry-run", action="store_true", help="say what would be installed")
    add(mine, "remove", remove, "uninstall provider packages").add_argument("packages", nargs="+", metavar="package")


# --- the tool -------------------------------------------------------------------------------------------------------
def _fetch(wanted: list[Requirement]) -> list[Distribution]:
    """These packages without what they need, in a folder that lives until the process ends."""
    folder = Path(tempfile.mkdtemp(dir=_scratch()))
    _run([*_tool("install"), "--no-deps", "--target", str(folder), *map(str, wanted)])
    return list(distributions(path=[str(folder)]))


@cache
def _scratch() -> str:
    folder = tempfile.mkdtemp(prefix="trackside-providers-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _apply(plan: plans.Plan) -> None:
    """First what the providers need: if that cannot be had, nothing was changed."""
    keep = Path(_scratch()) / "keep.txt"
    keep.write_text("\n".join(plan.keep))
    if plan.others:
        _run([*_tool("install"), "--constraint", str(keep), *plan.others])
    _run([*_tool("install"), "--no-deps", *plan.pins])


def _tool(verb: str) -> list[str]:
    """uv where there is one, else pip. Raises Problem."""
    if uv := shutil.which("uv"):
        return [uv, "pip", verb, "--quiet", "--python", sys.executable]
    if importlib.util.find_spec("pip") is None:
        raise Problem("neither uv nor pip is here; install one of them (python -m ensurepip) and repeat")
    return [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check", *(["-y"] if verb == "uninstall" else [])]


def _run(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Problem((done.stderr or done.stdout).strip() or f"{argv[0]} ended with {done.returncode}")

