"""`[secrets] use_cache`: what a back end said to a DAG file counts for its next parses, until it is too old."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from trackside.runner.parsing import ParseServer, ParseSettings
from trackside.runner.parsing.kept import MOST, KeptAnswers

BACKEND = """
    import pathlib
    class Vault:
        def get_connection(self, conn_id):
            from airflow.models import Connection
            self.note(conn_id)
            return Connection(conn_id=conn_id, conn_type="http", host="h", password="p/w", extra='{"a": 1}') if conn_id == "there" else None
        def get_variable(self, key):
            self.note(key)
            if key == "sick":
                raise TimeoutError("no answer")
            return {"v": "1"}.get(key)
        def note(self, what):
            with pathlib.Path("@ASKED@").open("a") as file:
                file.write(what + " ")
"""
FILE = """
    from airflow.sdk import DAG, Connection, Variable
    from airflow.sdk.exceptions import AirflowNotFoundException
    c = Connection.get("there")
    assert (c.conn_id, c.host, c.password, c.extra_dejson) == ("there", "h", "p/w", {"a": 1})
    assert (Variable.get("v"), Variable.get("none", None), Variable.get("sick", None)) == ("1", None, None)
    try:
        Connection.get("missing")
    except AirflowNotFoundException:
        DAG("d")
"""
ONCE = "there v none sick missing "
AGAIN = "sick missing "


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Parse two files, each as often as told; what the back end was asked by each parse."""
    (tmp_path / "kept_vault.py").write_text(textwrap.dedent(BACKEND.replace("@ASKED@", str(tmp_path / "asked"))))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "kept_vault.Vault")

    def parse(*files: str) -> list[str]:
        server = ParseServer(ParseSettings(dags_folder=str(tmp_path)), lambda *_: (404, {"detail": "not here"}))
        said = []
        try:
            for name in files:
                (tmp_path / "asked").unlink(missing_ok=True)
                (tmp_path / name).write_text(textwrap.dedent(FILE))
                result = server.parse(str(tmp_path / name))
                said.append(result.errors[0].message if result.errors else (tmp_path / "asked").read_text())
        finally:
            server.close()
        return said

    return parse


def test_a_file_asks_its_back_end_once_and_every_file_for_itself(asked: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SECRETS__USE_CACHE", "True")
    assert asked("a.py", "a.py", "b.py", "b.py") == [ONCE, AGAIN, ONCE, AGAIN]


def test_without_the_option_nothing_is_kept(asked: Callable[..., list[str]]) -> None:
    assert asked("a.py", "a.py") == [ONCE, ONCE]


@pytest.mark.parametrize(("option", "value"), [("USE_CACHE", "maybe"), ("CACHE_TTL_SECONDS", "soon")])
def test_an_option_that_cannot_be_read_is_named(
    asked: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, option: str, value: str
) -> None:
    monkeypatch.setenv("AIRFLOW__SECRETS__USE_CACHE", "true")
    monkeypatch.setenv(f"AIRFLOW__SECRETS__{option}", value)
    (said,) = asked("a.py")
    assert f"[secrets] {option.lower()} is '{value}'" in said


def test_answers_end_and_are_not_without_number() -> None:
    now = [100.0]
    kept = KeptAnswers(lambda: now[0])
    kept.answer("a.py", {"name": "x", "value": None, "ttl": 10})
    assert kept.answer("a.py", {"name": "x"}) == (200, {"value": None})
    assert kept.answer("b.py", {"name": "x"})[0] == 404
    now[0] = 110.0
    assert kept.answer("a.py", {"name": "x"})[0] == 404
    for n in range(MOST + 1):
        kept.answer("a.py", {"name": str(n), "value": n, "ttl": 10})
    assert kept.answer("a.py", {"name": "0"})[0] == 404 and kept.answer("a.py", {"name": "1"})[0] == 200
