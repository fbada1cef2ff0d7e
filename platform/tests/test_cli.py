"""The `trackside` command, as a program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import trackside


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trackside.cli", *words]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=120)


def test_it_says_its_version() -> None:
    assert run("version").stdout.strip() == trackside.__version__


def test_without_a_command_it_shows_them_all() -> None:
    done = run()
    assert done.returncode == 2
    assert "standalone" in done.stdout
    assert "worker" in done.stdout


@pytest.mark.parametrize("command", ["standalone", "web", "scheduler", "dag-processor", "triggerer", "worker"])
def test_every_process_explains_its_options(command: str, tmp_path: Path) -> None:
    done = run(command, "--help", TRACKSIDE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_a_worker_without_a_token_says_what_is_missing() -> None:
    done = run("worker", TRACKSIDE_WORKER_TOKEN="", TRACKSIDE_WORKER_TOKEN_FILE="")
    assert done.returncode == 1
    assert "TRACKSIDE_WORKER_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_only_the_wheel_is_installed_the_servers_commands_say_so(tmp_path: Path) -> None:
    only_trackside = tmp_path / "trackside"
    only_trackside.symlink_to(Path(trackside.__file__).parent)
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from trackside.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, str(tmp_path), "scheduler"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "only the worker side is installed here" in done.stderr


def test_manage_py_and_trackside_know_the_same_users_command() -> None:
    done = run("users", "create", "--help")
    assert "--role" in done.stdout
    assert "--password" not in done.stdout, "arguments can be seen by other users"
