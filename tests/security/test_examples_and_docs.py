"""S3: no example and no snippet of the docs hands what a person typed to a shell: people copy them.

That the examples treat hostile input as text when they run is in `tests/examples`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell"}
TYPED = re.compile(r"\{[{%](?!\s*(ds|ds_nodash|ts|ts_nodash|logical_date|data_interval_\w+|params\.\w+\s*\|\s*int)\b[^}]*[}%]\})")
"""A template that may hold anything but a date or a number."""


def snippets() -> Iterator[tuple[str, str]]:
    """(where, Python)."""
    for path in sorted((ROOT / "examples").rglob("*.py")):
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    for page in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]):
        for number, found in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S), 1):
            yield f"{page.relative_to(ROOT)} #{number}", found


def flaws(source: str) -> list[str]:
    """Ways from input to a shell."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in SHELLS:
            found.append(f"line {node.lineno}: {name}")
        for argument in node.keywords:
            if argument.arg == "shell" and not (isinstance(argument.value, ast.Constant) and not argument.value.value):
                found.append(f"line {node.lineno}: shell=…")
            if argument.arg == "bash_command":
                fixed = isinstance(argument.value, ast.Constant) and isinstance(argument.value.value, str)
                if not fixed or TYPED.search(argument.value.value):
                    found.append(f"line {node.lineno}: bash_command={ast.unparse(argument.value)}")
    return found + [f"line {n.lineno}: a @task.bash task returns what is made of input" for n in ast.walk(ast.parse(source))
                    if isinstance(n, ast.FunctionDef) and any("task.bash" in ast.unparse(d) for d in n.decorator_list)
                    and any(not isinstance(r.value, ast.Constant) for r in ast.walk(n) if isinstance(r, ast.Return))]  # fmt: skip


def readable(source: str) -> bool:
    """Whether a snippet is a program (some leave things out)."""
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


ALL = [(where, source) for where, source in snippets() if readable(source)]


@pytest.mark.parametrize(("where", "source"), ALL, ids=[where for where, _ in ALL])
def test_s03_no_snippet_hands_input_to_a_shell(where: str, source: str) -> None:
    assert flaws(source) == []


def test_s03_all_examples_and_nearly_all_snippets_are_looked_at() -> None:
    assert len(ALL) >= 0.9 * len(list(snippets())) and sum(w.startswith("examples/") for w, _ in ALL) >= 5


@pytest.mark.parametrize("bad", [
    "os.system(f'echo {name}')", "subprocess.run(command, shell=True)", "subprocess.run(['x'], shell=flag)", "os.popen('ls')",
    "BashOperator(task_id='x', bash_command='echo {{ dag_run.conf.name }}')", "BashOperator(task_id='x', bash_command=f'echo {x}')",
    "BashOperator(task_id='x', bash_command='echo {{ params.name }}')",
    "BashOperator(task_id='x', bash_command='{% if run_id %}x{% endif %}')",
    "@task.bash\ndef say(name):\n    return f'echo {name}'",
])  # fmt: skip
def test_s03_the_look_finds_what_must_not_be(bad: str) -> None:
    assert flaws(bad)


@pytest.mark.parametrize("good", ["BashOperator(task_id='x', bash_command='echo $NAME')",
                                  "BashOperator(task_id='x', bash_command='echo {{ ds }}')",
                                  "subprocess.run(['git', name], shell=False)"])  # fmt: skip
def test_s03_the_look_lets_through_what_may_be(good: str) -> None:
    assert not flaws(good)
