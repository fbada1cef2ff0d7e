"""Every example has its end-to-end test and its line in the table, and parses with the authoring API alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.server import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_listed_tested_and_parses(example):
    assert f"[`{example.name}`]({example.name})" in (ROOT / "examples" / "README.md").read_text()
    assert (ROOT / "tests" / "examples" / f"test_{example.stem}.py").is_file()
    program = (
        "import runpy, sys, trackside.airflow; trackside.airflow.install();"
        "names = runpy.run_path(sys.argv[1]); assert callable(names[sys.argv[2]])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program, str(example), example.stem], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_gives_nothing_to_a_shell(example):
    text = example.read_text()
    for word in ("shell=True", "os.system", "bash_command", "eval(", "exec("):
        assert word not in text
