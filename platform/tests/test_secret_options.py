"""Options of Airflow that hold secrets: plain, by a command, by the name of a secret (row 9.028)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import trackside.airflow
from trackside.sdk import options, secrets
from trackside.sdk.exceptions import AirflowConfigException


@pytest.fixture(autouse=True)
def bridge() -> None:
    trackside.airflow.install()
    options._said.cache_clear()


def get(section: str, key: str, **fallback: object) -> object:
    from airflow.configuration import conf

    return conf.get(section, key, **fallback)


def test_the_plain_variable_wins_then_a_command_then_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert get("smtp", "smtp_password", fallback="none") == "none"
    monkeypatch.setenv("AIRFLOW__SMTP__SMTP_PASSWORD_CMD", "echo from 'a command'")
    assert get("smtp", "smtp_password") == "from a command"
    monkeypatch.setenv("AIRFLOW__SMTP__SMTP_PASSWORD", "plain")
    assert get("smtp", "smtp_password") == "plain"


def test_options_that_hold_no_secret_have_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR_CMD", "echo other")
    assert get("core", "executor") == "LocalExecutor"


def test_a_command_runs_without_a_shell_and_its_failure_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SMTP__SMTP_USER_CMD", "echo $HOME ; echo two")
    assert get("smtp", "smtp_user") == "$HOME ; echo two"
    monkeypatch.setenv("AIRFLOW__SMTP__SMTP_PASSWORD_CMD", "ls /nowhere/at/all")
    with pytest.raises(AirflowConfigException, match=r"AIRFLOW__SMTP__SMTP_PASSWORD_CMD: the command ended with exit code \d+: .*nowhere"):
        get("smtp", "smtp_password")
    monkeypatch.setenv("AIRFLOW__SMTP__SMTP_PASSWORD_CMD", "no-such-command")
    with pytest.raises(AirflowConfigException, match="cannot be run"):
        get("smtp", "smtp_password")


def test_a_secret_is_asked_of_the_back_end_whose_arguments_may_come_from_a_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "own_secrets_of_options.py").write_text(
        "from airflow.secrets import BaseSecretsBackend\n"
        "class Own(BaseSecretsBackend):\n"
        "    def __init__(self, prefix):\n        self.prefix = prefix\n"
        "    def get_config(self, key):\n        return f'{self.prefix}{key}' if key == 'mail' else None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "own_secrets_of_options.Own")
    (tmp_path / "kwargs.json").write_text(json.dumps({"prefix": "vault:"}))
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS_CMD", f"cat {tmp_path}/kwargs.json")
    monkeypatch.setenv("AIRFLOW__SMTP__SMTP_PASSWORD_SECRET", "mail")
    assert get("smtp", "smtp_password") == "vault:mail"
    monkeypatch.setenv("AIRFLOW__SMTP__SMTP_PASSWORD_SECRET", "other")
    assert get("smtp", "smtp_password", fallback=None) is None
    secrets._made.clear()
