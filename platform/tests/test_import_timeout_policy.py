"""`get_dagbag_import_timeout`: the site's policy says, file by file, how long parsing may take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from trackside.runner.parsing import ParseServer, ParseSettings

POLICY = """
def get_dagbag_import_timeout(dag_file_path):
    if dag_file_path.endswith("short.py"):
        return 0.5
    if dag_file_path.endswith("long.py"):
        return 60
    if dag_file_path.endswith("words.py"):
        return "soon"
    if dag_file_path.endswith("broken.py"):
        raise KeyError("no such team")
    return 0
"""
LOADER = """
import runpy, types
def load_file(path, dags_folder):
    runpy.run_path(path)
    return types.SimpleNamespace(dags=[], errors=[], warnings=[])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("policies")
    (made / "airflow_local_settings.py").write_text(POLICY)
    (made / "policy_stand_in_loader.py").write_text(LOADER)
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ParseServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        settings = ParseSettings(
            dags_folder=str(folder), timeout=1.5, loader="policy_stand_in_loader:load_file", preload=["policy_stand_in_loader"],
            preload_below=[], bridge=None, primer=False,
        )  # fmt: skip
        it = ParseServer(settings)
        it.start()
    yield it
    it.close()


def parse(server: ParseServer, folder: Path, name: str, source: str = "import threading; threading.Event().wait()") -> str:
    (folder / name).write_text(source)
    problems = server.parse(str(folder / name)).errors
    return problems[0].message if problems else ""


def test_a_file_is_stopped_after_its_own_time_and_told_who_decided(server: ParseServer, folder: Path) -> None:
    said = parse(server, folder, "short.py")
    assert "longer than 0.5 s" in said
    assert "get_dagbag_import_timeout" in said


def test_a_file_may_have_more_time_than_the_site_gives_others(server: ParseServer, folder: Path) -> None:
    slow = "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: time.sleep(0.05)\n"
    assert parse(server, folder, "long.py", slow) == ""


@pytest.mark.parametrize(("name", "words"), [("words.py", "gave 'soon'"), ("broken.py", "KeyError: 'no such team'")])
def test_a_policy_that_fails_is_a_problem_of_the_file(server: ParseServer, folder: Path, name: str, words: str) -> None:
    said = parse(server, folder, name, "")
    assert words in said
    assert "get_dagbag_import_timeout" in said


def test_zero_is_no_limit_of_the_policys(server: ParseServer, folder: Path) -> None:
    assert parse(server, folder, "other.py", "x = 1") == ""
