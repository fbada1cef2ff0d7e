"""The reference: pages are up to date, complete, and their examples run."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trackside.sdk.parsing import load_file

ROOT = Path(__file__).resolve().parents[2]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_docs", ROOT / "tools" / "reference_docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


reference = _script()
PAGES: dict[str, dict[str, Any]] = reference.pages()
WAITS = {"ExternalTaskSensor"}
"""Examples that wait for something that is not there: they are loaded only."""


def test_there_are_pages_for_the_forty_most_used_names() -> None:
    assert len(PAGES) >= 40


def test_the_pages_and_tables_are_what_make_docs_writes() -> None:
    assert reference.differences() == []


@pytest.mark.parametrize("name", PAGES)
def test_every_name_has_meaning_arguments_errors_and_an_example_that_runs(name: str, tmp_path: Path) -> None:
    assert reference.page(name, PAGES[name])  # raises for what is missing
    path = tmp_path / "example.py"
    path.write_text(PAGES[name]["example"])
    assert name in path.read_text()
    loaded = load_file(path)
    assert not loaded.errors, loaded.errors
    assert loaded.dags
    for dag in loaded.dags if name not in WAITS else ():
        run = dag.test(others=loaded.dags)
        assert run.state == "success", run.states


def test_a_page_without_an_explained_argument_is_refused() -> None:
    entry = {**PAGES["BashOperator"], "arguments": {}}
    with pytest.raises(reference.Incomplete, match="bash_command is not explained"):
        reference.page("BashOperator", entry)
