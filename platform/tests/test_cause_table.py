"""The tables of what can happen to a pod are those of the code that judges pods."""

from __future__ import annotations

from pathlib import Path

import pytest

from trackside.executors.kubernetes.causes import table

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("page", ["kubernetes.md", "operations.md"])
def test_the_table_of_failures_is_the_one_that_the_code_gives(page: str) -> None:
    said = (DOCS / page).read_text(encoding="utf-8")
    assert table() in said, f"put the output of `python -m trackside.executors.kubernetes.causes` into docs/{page}"
