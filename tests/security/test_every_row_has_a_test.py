"""S1 to S30 of the security requirements: each has a test of its name here, and docs/security.md names files that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROWS = {f"S{n}" for n in range(1, 31)}


def names() -> set[str]:
    """Functions that pytest collects here."""
    trees = [ast.parse(path.read_text()) for path in HERE.glob("test_*.py")]
    return {n.name for tree in trees for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name[:5] == "test_"}


def test_each_of_the_thirty_rows_has_a_test_named_after_it() -> None:
    named = {f"S{int(number)}" for name in names() for number in re.findall(r"(?<=_)s(\d+)(?=_)", name)}
    assert ROWS - named == set()


def test_the_table_of_the_docs_names_files_that_exist_for_each_row() -> None:
    table = dict(re.findall(r"^\| (S\d+) \|[^|]+\| (.+) \|$", (ROOT / "docs/security.md").read_text(), re.MULTILINE))
    assert table.keys() == ROWS
    files = {row: re.findall(r"`([\w/]+\.py)`", text) for row, text in table.items()}
    assert {row: f for row, found in files.items() for f in found if not ((ROOT / f).is_file() or (HERE / f).is_file())} == {}
    assert {row for row, found in files.items() if not found} == {"S30"}, "S30 is the matrix itself"
