"""The architecture as a test: the import contracts of .importlinter, and what no import linter sees."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLATFORM = ROOT / "platform"
NOT_FOR_AUTHORS = {"django", "rest_framework", "channels", "asgiref", "kubernetes", "celery"}
LEDGER = {"Run", "TaskInstance", "Try"}
WRITERS = {"update", "create", "get_or_create", "update_or_create", *LEDGER}
ONE_EXECUTOR = ("trackside.executors.celery.", "trackside.executors.kubernetes.")
"""Modules loaded for their executor only, by whoever runs it; which libraries they speak is a contract of .importlinter."""
AT_BIRTH = {"RunState.QUEUED", "TaskState.NONE"}
"""What a new row may be given: nothing has moved yet."""


# --- direction of imports -------------------------------------------------------------------------------------------
def test_every_import_contract_holds() -> None:
    done = subprocess.run([Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# --- platform is a source root, never a package ---------------------------------------------------------------------
def test_platform_is_the_standard_librarys() -> None:
    code = "import platform; print(platform.__file__); platform.system()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not done.stdout.startswith(str(ROOT))


def test_no_module_lies_directly_in_platform() -> None:
    assert sorted(path.name for path in PLATFORM.glob("*.py")) == []


def test_the_tests_of_the_platform_are_no_package() -> None:
    assert not (PLATFORM / "tests" / "__init__.py").exists(), "it would be a second package called `tests`"


# --- what authors, workers and pods import --------------------------------------------------------------------------
def modules_of_trackside() -> list[str]:
    files = sorted((PLATFORM / "trackside").rglob("*.py"))
    names = (".".join(f.relative_to(PLATFORM).with_suffix("").parts) for f in files)
    own = ("trackside.executors.celery.", "trackside.executors.kubernetes.")  # each brings its client, and is imported by nobody else
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__") and not name.startswith(own)]


def test_no_module_of_trackside_brings_django_or_a_cluster_client_along() -> None:
    code = (
        "import importlib, json, sys\n"
        "import trackside.airflow; trackside.airflow.install()\n"  # the parse server's primer is written as a DAG file
        "for name in json.loads(sys.argv[1]): importlib.import_module(name)\n"
        "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    modules = [name for name in modules_of_trackside() if not name.startswith(ONE_EXECUTOR)]
    assert len(modules) > 100
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, json.dumps(modules)],
        cwd="/", capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert NOT_FOR_AUTHORS & set(json.loads(done.stdout.splitlines()[-1])) == set()


# --- state has one writer -------------------------------------------------------------------------------------------
SET_STATE = re.compile(r"UPDATE\s+runs_(?:run|taskinstance|try)\b(?:\s+\w+)?\s+SET\s+(?:(?!\bWHERE\b|\bFROM\b).)*?\bstate\s*=", re.I | re.S)


def writes_of_state(source: str) -> Iterator[int]:
    """Lines that assign a state of the ledger: an attribute, a keyword of a writing call, an UPDATE in SQL."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Attribute) and target.attr == "state" and ast.unparse(target.value) != "self":
                    yield node.lineno
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = {ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg == "state"}
            if called in WRITERS and given - (set() if called == "update" else AT_BIRTH):
                yield node.lineno
            if called == "bulk_update" and any(
                isinstance(word, ast.Constant) and word.value == "state" for a in node.args[1:2] for word in ast.walk(a)
            ):
                yield node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and SET_STATE.search(node.value):
            yield node.lineno


def test_only_transitions_write_the_state_of_runs_tasks_and_tries() -> None:
    found = []
    for path in sorted((ROOT / "apps").rglob("*.py")):
        relative = path.relative_to(ROOT)
        if relative.parts[2:3] in (("migrations",), ("tests",)) or relative.parts[:3] == ("apps", "runs", "transitions"):
            continue
        found += [f"{relative}:{line}" for line in writes_of_state(path.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "run.state = 'failed'",
        "Run.objects.filter(pk=1).update(note='', state='failed')",
        "TaskInstance.objects.create(state='success')",
        "Run.objects.update(state=RunState.QUEUED)",
        "Try(state='running')",
        "Run.objects.bulk_update(runs, ['note', 'state'])",
        "sql = 'UPDATE runs_taskinstance ti SET hostname = %s, state = %s WHERE id = %s'",
    ],
)
def test_the_search_for_writers_of_state_finds(source: str) -> None:
    assert list(writes_of_state(source)) == [1]


@pytest.mark.parametrize(
    "source",
    [
        "Run.objects.filter(state='failed')",
        "Run.objects.create(state=RunState.QUEUED)",
        "if run.state == 'failed': pass",
        "sql = \"UPDATE runs_run SET note = %s WHERE state = 'failed'\"",
    ],
)
def test_the_search_for_writers_of_state_lets_pass(source: str) -> None:
    assert list(writes_of_state(source)) == []


# --- the wheel ------------------------------------------------------------------------------------------------------
@pytest.mark.e2e
def test_the_wheel_holds_only_trackside_and_runs_in_a_bare_environment(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=PLATFORM, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
        assert {top for top in tops if not top.endswith(".dist-info")} == {"trackside"}
        archive.extractall(tmp_path / "site")
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment["PYTHONPATH"] = str(tmp_path / "site")
    for program in (["-m", "trackside.runner", "--help"], ["-m", "trackside.cli", "version"]):
        done = subprocess.run([python, *program], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
