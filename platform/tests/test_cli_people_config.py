"""`trackside config`, and which words lead to users, roles, tokens and logs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trackside.cli import commands, output, people, server
from trackside.core import logline


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trackside.cli", *words]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TRACKSIDE_") and k != "DATABASE_URL"}
    return subprocess.run(command, env=clean | environment, capture_output=True, text=True, timeout=120)


def test_settings_are_shown_with_their_source_and_without_secrets(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("canary-in-a-file")
    done = run(
        "config", "list", "--changed", "-o", "json",
        TRACKSIDE_HOME=str(tmp_path), TRACKSIDE_PORT="8099", TRACKSIDE_JWT_KEY="canary-key-that-is-long-enough-for-signing",
        TRACKSIDE_WORKER_TOKEN_FILE=str(secret), DATABASE_URL="postgresql://ada:canary-password@db.example/trackside",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {row["setting"]: row for row in json.loads(done.stdout)}
    assert found["TRACKSIDE_PORT"] == {"setting": "TRACKSIDE_PORT", "value": "8099", "from": "environment"}
    assert found["TRACKSIDE_WORKER_TOKEN"] == {"setting": "TRACKSIDE_WORKER_TOKEN", "value": "***", "from": f"file {secret}"}
    assert found["DATABASE_URL"]["value"] == "postgresql://ada:***@db.example/trackside"
    assert "canary" not in done.stdout


def test_the_list_names_every_documented_setting_with_its_default(tmp_path: Path) -> None:
    told = json.loads(run("config", "list", "-o", "json", TRACKSIDE_HOME=str(tmp_path)).stdout)
    found = {row["setting"]: row["value"] for row in told}
    page = (Path(__file__).resolve().parents[2] / "docs/settings.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", page, re.M))
    assert found.keys() == documented.keys()
    fixed = {name: text.strip("`") for name, text in documented.items() if re.fullmatch(r"`[^`<]+`", text)}
    derived = {"TRACKSIDE_DAGS_FOLDER", "TRACKSIDE_KUBERNETES_API_URL", "TRACKSIDE_PORT", "TRACKSIDE_HOME"}  # from others, or made absolute
    assert {n: found[n] for n in fixed.keys() - derived} == {n: v for n, v in fixed.items() if n not in derived}
    assert found["TRACKSIDE_KUBERNETES_API_URL"] == ""


def test_settings_of_workers_and_executors_are_shown_as_they_are_set_and_masked(tmp_path: Path) -> None:
    broker, level = tmp_path / "broker", tmp_path / "level"
    broker.write_text("redis://:canary-password@broker.example/0")
    level.write_text("debug")
    done = run(
        "config", "list", "--changed", "-o", "json", TRACKSIDE_HOME=str(tmp_path), TRACKSIDE_KUBERNETES_MAX_PODS="7",
        TRACKSIDE_CELERY_BROKER_URL_FILE=str(broker), TRACKSIDE_TOKEN="canary-token", TRACKSIDE_LOG_LEVEL_FILE=str(level),
    )  # fmt: skip
    found = {row["setting"]: row for row in json.loads(done.stdout)}
    assert found["TRACKSIDE_KUBERNETES_MAX_PODS"] == {"setting": "TRACKSIDE_KUBERNETES_MAX_PODS", "value": "7", "from": "environment"}
    assert found["TRACKSIDE_CELERY_BROKER_URL"]["value"] == "redis://:***@broker.example/0"
    assert found["TRACKSIDE_LOG_LEVEL"]["value"] == "debug" and found["TRACKSIDE_LOG_LEVEL"]["from"] == f"file {level}"
    assert "canary" not in done.stdout


def test_a_log_level_that_is_none_stops_the_start_with_one_line(tmp_path: Path) -> None:
    done = run("config", "list", TRACKSIDE_HOME=str(tmp_path), TRACKSIDE_LOG_LEVEL="loud")
    assert done.returncode == 1 and done.stderr.strip().startswith("TRACKSIDE_LOG_LEVEL='loud' must be one of debug, info")
    assert logline.level({}) == "INFO" and logline.level({"TRACKSIDE_LOG_LEVEL": "Error"}) == "ERROR"
    (tmp_path / "level").write_text("warning\n")
    assert logline.level({"TRACKSIDE_LOG_LEVEL_FILE": str(tmp_path / "level")}) == "WARNING"
    for wrong in ({"TRACKSIDE_LOG_LEVEL": "loud"}, {"TRACKSIDE_LOG_LEVEL_FILE": str(tmp_path / "none")}):
        with pytest.raises(ValueError, match="TRACKSIDE_LOG_LEVEL"):
            logline.level(wrong)


def test_one_setting_and_one_that_does_not_exist(tmp_path: Path) -> None:
    done = run("config", "get", "TRACKSIDE_PORT", TRACKSIDE_HOME=str(tmp_path), TRACKSIDE_PORT="8099")
    assert (done.returncode, done.stdout) == (0, "8099\n")
    done = run("config", "get", "TRACKSIDE_PROT", TRACKSIDE_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "no setting TRACKSIDE_PROT" in done.stderr


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        (["users", "list", "-o", "json"], ["people", "list-users", "-o", "json"]),
        (["users", "delete", "-x"], None),
        (["users", "delete", "ada"], ["people", "delete-user", "--", "ada"]),
        (["users", "set-role", "ada", "Op", "team-a"], ["people", "set-roles", "--", "ada", "Op", "team-a"]),
        (["roles", "create", "team-a"], ["people", "create-role", "--", "team-a"]),
        (
            ["tokens", "create", "ada", "nightly", "--scope", "read", "--expires", "30d"],
            ["people", "create-token", "-o", "table", "--expires=30d", "--scope=read", "--", "ada", "nightly"],
        ),
        (["tokens", "revoke", "abc"], ["people", "revoke-token", "--", "abc"]),
        (
            ["users", "create", "--username", "robot", "--service"],
            ["create_user", "--username", "robot", "--role", "Viewer", "--email", "", "--signs-in-with", "token"],
        ),
        (
            ["users", "create", "--username", "ada", "--random-password", "-o", "json"],
            [
                "create_user", "--username", "ada", "--role", "Viewer", "--email", "", "--signs-in-with", "password", "--random-password",
                "-o", "json",
            ],
        ),
        (["teams", "list", "-o", "json"], ["teams", "list", "-o=json"]),
        (
            ["teams", "update", "red", "--folder", "red", "--tag", "", "--member", "ada=User"],
            ["teams", "update", "-o=table", "--folder=red", "--tag=", "--member=ada=User", "--", "red"],
        ),
        (["teams", "delete", "-red"], None),
        (["teams", "delete", "red"], ["teams", "delete", "--", "red"]),
        (["db", "check"], ["db_upgrade", "--check"]),
    ],
)
def test_words_become_the_commands_of_the_server(monkeypatch: pytest.MonkeyPatch, typed: list[str], becomes: list[str] | None) -> None:
    seen: list[Any] = []

    def manage(*argv: str) -> None:
        seen.append(list(argv))
        raise server.NoServer("seen")

    monkeypatch.setattr(server, "manage", manage)
    if becomes is None:
        with pytest.raises(SystemExit):
            commands.main(typed)
        return
    assert commands.main(typed) == 1
    assert seen == [becomes]


def test_the_ways_to_sign_in_are_the_servers() -> None:
    from apps.access.models import SignsInWith

    assert tuple(SignsInWith.values) == people.WAYS


def test_a_bar_is_drawn_for_people_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    output.progress(1, 2, "pools")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    output.progress(1, 2, "pools")
    assert "1/2 pools" in capsys.readouterr().err


def test_logs_is_a_word_of_its_own() -> None:
    given = commands.build_parser("logs").parse_args(["logs", "dag", "run", "task", "-f"])
    assert (given.dag_id, given.run_id, given.task_id, given.follow) == ("dag", "run", "task", True)
