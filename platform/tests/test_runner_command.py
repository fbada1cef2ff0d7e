"""Settings of `trackside worker`: where they come from, and what a wrong one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from trackside.core.environment import scrubbed
from trackside.runner.command import WrongSetting, configure


def test_arguments_win_over_the_environment(tmp_path: Path) -> None:
    environment = {
        "TRACKSIDE_API_URL": "http://from-environment:1/",
        "TRACKSIDE_WORKER_TOKEN": "t1",
        "TRACKSIDE_PARALLELISM": "7",
        "TRACKSIDE_QUEUES": "a, b,",
        "TRACKSIDE_WORKER_CWD": str(tmp_path),
    }
    config = configure(environment)
    assert (config.api_url, config.token, config.slots) == ("http://from-environment:1", "t1", 7)
    assert (config.queues, config.cwd) == (["a", "b"], str(tmp_path))
    config = configure(environment, api_url="https://x", token="t2", slots=2, queues=["c"], drain_s=0.5)
    assert (config.api_url, config.token, config.slots, config.queues, config.drain_s) == ("https://x", "t2", 2, ["c"], 0.5)


def test_the_token_may_lie_in_a_file_and_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    config = configure({"TRACKSIDE_WORKER_TOKEN_FILE": str(tmp_path / "token")})
    assert config.token == "from-file"
    assert "from-file" not in repr(config)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "set TRACKSIDE_WORKER_TOKEN or TRACKSIDE_WORKER_TOKEN_FILE"),
        ({"TRACKSIDE_WORKER_TOKEN_FILE": "/nowhere/token"}, "TRACKSIDE_WORKER_TOKEN_FILE"),
        ({"TRACKSIDE_WORKER_TOKEN": "t", "TRACKSIDE_PARALLELISM": "many"}, "TRACKSIDE_PARALLELISM: 'many' is no number"),
        ({"TRACKSIDE_WORKER_TOKEN": "t", "TRACKSIDE_PARALLELISM": "0"}, "at least 1 is needed"),
        ({"TRACKSIDE_WORKER_TOKEN": "t", "TRACKSIDE_API_URL": "ftp://x"}, "no http(s) address"),
        ({"TRACKSIDE_WORKER_TOKEN": "t", "TRACKSIDE_QUEUES": " ,"}, "name at least one queue"),
        ({"TRACKSIDE_WORKER_TOKEN": "t", "TRACKSIDE_WORKER_CWD": "/nowhere"}, "/nowhere is no folder"),
    ],
)
def test_a_wrong_setting_is_named_with_what_to_do(environment: dict[str, str], words: str) -> None:
    with pytest.raises(WrongSetting) as caught:
        configure(environment)
    assert words in str(caught.value)


def test_task_processes_do_not_see_the_worker_s_secrets() -> None:
    given = {
        "PATH": "/bin",
        "AIRFLOW_CONN_DB": "postgres://…",
        "AIRFLOW_CONN__RED___DB": "postgres://…",
        "TRACKSIDE_VAR__RED___COLOUR": "red",
        "TRACKSIDE_VAR_COLOUR": "red",
        "TRACKSIDE_DAGS_FOLDER": "/dags",
        "TRACKSIDE_WORKER_TOKEN": "x",
        "TRACKSIDE_ADMIN_PASSWORD": "x",
        "DATABASE_URL": "x",
        "SECRET_KEY": "x",
    }
    assert sorted(scrubbed(given)) == [
        "AIRFLOW_CONN_DB", "PATH", "TRACKSIDE_DAGS_FOLDER", "TRACKSIDE_PLUGINS_FOLDER", "TRACKSIDE_VAR_COLOUR",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({"AIRFLOW__API__BASE_URL": "https://site/", "TRACKSIDE_API_URL": "http://inside"}, "https://site"),
        ({"AIRFLOW__WEBSERVER__BASE_URL": "https://old"}, "https://old"),
        ({"TRACKSIDE_API_URL": "http://inside:1/", "TRACKSIDE_PORT": "2"}, "http://inside:1"),
        ({"TRACKSIDE_PORT": "2"}, "http://127.0.0.1:2"),
        ({}, None),
    ],
)
def test_user_code_knows_where_people_find_the_site(given, address):
    """`ti.log_url` in a notification led to port 8080, wherever the site was."""
    assert scrubbed(given).get("AIRFLOW__API__BASE_URL") == address
