"""What each process of a stack may know, and what a person can choose."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.env import BadSetting
from config.standalone.options import ROOT, parse
from config.standalone.parts import lasting_parts, prepare_part

SECRETS = {
    "DATABASE_URL": "postgresql://u:top-secret@h/d",
    "DATABASE_URL_FILE": "/run/top-secret",
    "PGPASSWORD": "top-secret",
    "TRACKSIDE_SECRET_KEY": "top-secret",
    "TRACKSIDE_JWT_KEY_FILE": "/run/top-secret",
    "TRACKSIDE_FERNET_KEYS": "top-secret",
    "TRACKSIDE_ADMIN_PASSWORD": "top-secret",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TRACKSIDE_WORKER_TOKEN", "TRACKSIDE_WORKER_TOKEN_FILE", "TRACKSIDE_READY_FILE", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRACKSIDE_HOME", str(tmp_path))
    for flag in ("HOST", "PORT", "DAGS_FOLDER"):
        monkeypatch.setenv(f"TRACKSIDE_{flag}", {"HOST": "127.0.0.1", "PORT": "8080"}.get(flag, str(tmp_path)))
    return tmp_path


def test_the_worker_gets_its_token_and_no_secret_of_the_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    worker = lasting_parts(parse([]), listener=7)[-1]
    assert worker.name == "worker"
    assert not [name for name, value in worker.environment.items() if "top-secret" in value]
    token = Path(worker.environment["TRACKSIDE_WORKER_TOKEN_FILE"]).read_text()
    assert not [word for word in worker.argv if token in word]


def test_the_first_password_reaches_nobody_but_who_makes_the_user(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKSIDE_ADMIN_PASSWORD", "pass word")
    options = parse([])
    assert not [part.name for part in lasting_parts(options, 7) if "pass word" in part.environment.values()]
    assert prepare_part(options, "pass word").more_environment == {"TRACKSIDE_ADMIN_PASSWORD": "pass word"}


def test_flags_win_over_the_environment(home: Path) -> None:
    options = parse(["--port", "9999", "--host", "0.0.0.0", "--dags-folder", "some/dags"])
    assert options.home == home
    assert options.url == "http://127.0.0.1:9999"
    environment = lasting_parts(options, 7)[0].environment
    assert environment["TRACKSIDE_PORT"] == "9999"
    assert environment["TRACKSIDE_HOST"] == "0.0.0.0"
    assert environment["TRACKSIDE_DAGS_FOLDER"] == str(Path.cwd() / "some/dags")


def test_without_a_choice_the_examples_are_shown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACKSIDE_DAGS_FOLDER")
    assert parse([]).dags_folder == ROOT / "examples"


def test_a_port_that_is_none_is_refused_by_name(home: Path) -> None:
    with pytest.raises(BadSetting, match="TRACKSIDE_PORT=70000 is outside"):
        parse(["--port", "70000"])
