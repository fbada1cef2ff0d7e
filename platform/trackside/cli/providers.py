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


def install(given: argparse.Namespace, rest: list[str]) -> int:
    """Install packages by short or full name, with version and extras as pip writes them: `http`, `amazon[s3fs]==9.39.0`."""
    try:
        wanted = [plans.requirement(word) for word in given.packages]
        plan = plans.make(wanted, _fetch)
    except (plans.Refused, _Failed) as error:
        return _said(error)
    for line in plan.warnings:
        print(f"note: {line}")
    if given.dry_run:
        print("\n".join(["would install:", *(f"  {pin}" for pin in plan.pins), *(f"  {need}" for need in plan.others)]))
        return 0
    try:
        _apply(plan)
    except _Failed as error:
        return _said(error)
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
    try:
        names = [plans.name_of(plans.requirement(word)) for word in given.packages]
        plans.check_removal(names)
        _run([*_tool("uninstall"), *names])
    except (plans.Refused, _Failed) as error:
        return _said(error)
    print(f"removed: {', '.join(names)}")
    return 0


def add_to(group: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The words of these sub-commands."""
    verbs = group.add_parser("providers", help="Airflow's provider packages").add_subparsers(metavar="command", required=True)
    for name, verb, text in (
        ("install", install, "install provider packages without Airflow itself"),
        ("list", show, "show the provider packages installed here"),
        ("remove", remove, "uninstall provider packages"),
    ):
        one = verbs.add_parser(name, help=text, description=text)
        one.set_defaults(verb=verb)
        if name != "list":
            one.add_argument("packages", nargs="+", metavar="package", help="http, cncf-kubernetes, amazon[s3fs]==9.39.0 …")
        if name == "install":
            one.add_argument("--dry-run", action="store_true", help="say what would be installed")


# --- the tool -------------------------------------------------------------------------------------------------------
class _Failed(Exception):
    """The installer refused; the message is its own words."""


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
    """uv where there is one, else pip. Raises _Failed."""
    if uv := shutil.which("uv"):
        return [uv, "pip", verb, "--quiet", "--python", sys.executable]
    if importlib.util.find_spec("pip") is None:
        raise _Failed("neither uv nor pip is here; install one of them (python -m ensurepip) and repeat")
    return [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check", *(["-y"] if verb == "uninstall" else [])]


def _run(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise _Failed((done.stderr or done.stdout).strip() or f"{argv[0]} ended with {done.returncode}")


def _said(error: Exception) -> int:
    print(f"trackside providers: {error}", file=sys.stderr)
    return 1
