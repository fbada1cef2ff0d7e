"""Settings that cannot be used stop the start with one line that names the setting and what it must be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config import env
from trackside.core.messages import RunRecord, StartOrder


@pytest.mark.parametrize(
    ("reader", "value", "says"),
    [
        (lambda n: env.env_int(n, 1), "many", "is not a whole number"),
        (lambda n: env.env_int(n, 1), "", "is not a whole number"),
        (lambda n: env.env_int(n, 1), "1.5", "is not a whole number"),
        (lambda n: env.env_int(n, 1, low=1, high=65535), "70000", "outside 1…65535"),
        (lambda n: env.env_int(n, 1, low=1), "-3", "outside 1"),
        (lambda n: env.env_float(n, 1.0, low=0.5), "soon", "is not a number"),
        (lambda n: env.env_float(n, 1.0, low=0.5), "0.1", "at least 0.5"),
        (lambda n: env.env_float(n, 1.0, low=0.5), "nan", "is not a number"),
        (lambda n: env.env_float(n, 1.0), "inf", "is not a number"),
        (lambda n: env.env_bool(n, False), "perhaps", "is not true or false"),
        (lambda n: env.env_choice(n, "a", ("a", "b")), "c", "must be one of a, b"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, reader: Callable[[str], Any], value: str, says: str) -> None:
    monkeypatch.setenv("TRACKSIDE_OF_A_TEST", value)
    with pytest.raises(env.BadSetting, match="TRACKSIDE_OF_A_TEST") as stopped:
        reader("TRACKSIDE_OF_A_TEST")
    assert says in str(stopped.value) and "\n" not in str(stopped.value)


def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRACKSIDE_OF_A_TEST_FILE", str(tmp_path / "none"))
    with pytest.raises(env.BadSetting, match="TRACKSIDE_OF_A_TEST_FILE"):
        env.env_str("TRACKSIDE_OF_A_TEST")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"TRACKSIDE_SELF_FENCE": "28"}, "TRACKSIDE_SELF_FENCE (28.0) + TRACKSIDE_KILL_GRACE (5.0) must be less than TRACKSIDE_LEASE"),
        ({"TRACKSIDE_HEARTBEAT": "20"}, "the lease at least 3 × TRACKSIDE_HEARTBEAT"),
        ({"TRACKSIDE_EXECUTOR": "nothing-like-that"}, "nothing-like-that"),
    ],
)
def test_settings_that_contradict_each_other_stop_the_start(tmp_path: Path, given: dict[str, str], says: str) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TRACKSIDE_")}
    known = {"TRACKSIDE_HOME": str(tmp_path), "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    command = [sys.executable, "-c", "import config.settings"]
    done = subprocess.run(command, env=clean | known | given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and says in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_messages_of_a_newer_and_of_an_older_version_are_understood() -> None:
    """Workers and server are not renewed in the same moment."""
    newer = {"run_id": "r", "dag_id": "d", "what_next_year_brings": {"a": 1}}
    run = RunRecord.from_dict(newer)
    assert (run.run_id, run.partition_key) == ("r", None)
    assert "what_next_year_brings" not in run.to_dict()
    order = StartOrder.from_dict({"try_id": "t", "token": "x", "dag_id": "d", "task_id": "a", "run": {}, "new_wish": True})
    assert (order.task_id, order.map_index) == ("a", -1)
