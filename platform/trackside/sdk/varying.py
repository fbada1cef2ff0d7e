"""Values in a DAG file that differ at every parse: `start_date=datetime.now()`, random names, … (rows 2.107).

For `parsing.py`. Looks at the source only: the arguments of `DAG(…)`, `@dag(…)` and of calls of operators and task
decorators, and names bound to such values at the top of the file.
"""

from __future__ import annotations

import ast
from pathlib import Path

_CALLS = {
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.localtime", "time.monotonic"),
    *("pendulum.now", "pendulum.today", "pendulum.yesterday", "pendulum.tomorrow", "uuid.uuid1", "uuid.uuid4", "uuid4", "uuid1"),
    *("random.random", "random.randint", "random.choice", "random.uniform", "random.randrange", "secrets.token_hex"),
    *("timezone.utcnow", "os.getpid", "getpass.getuser"),
}


def varying_values(path: str | Path) -> list[tuple[int, str]]:
    """(line, source text) of every such value; nothing for a file that cannot be read or parsed."""
    try:
        source = Path(path).read_text(encoding="utf-8")
        tree = ast.parse(source)
    except (OSError, SyntaxError, UnicodeDecodeError, ValueError):
        return []
    names = _bound_names(tree)
    found: dict[int, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _makes_dag_or_task(node):
            for value in [*node.args, *(keyword.value for keyword in node.keywords)]:
                hit = _varying(value, names)
                if hit is not None:
                    found.setdefault(hit.lineno, ast.get_source_segment(source, hit) or "")
    return sorted(found.items())


def _bound_names(tree: ast.Module) -> set[str]:
    """Names that the top of the file binds to varying values."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and _varying(node.value, names) is not None:
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _makes_dag_or_task(call: ast.Call) -> bool:
    name = _dotted(call.func).rpartition(".")[2]
    return name in ("DAG", "dag") or name.endswith(("Operator", "Sensor"))


def _varying(value: ast.expr, names: set[str]) -> ast.expr | None:
    """The part of an expression that varies; lambdas and functions are called later, so they do not count."""
    if isinstance(value, ast.Lambda):
        return None
    if isinstance(value, ast.Name):
        return value if value.id in names else None
    if isinstance(value, ast.Call):
        dotted = _dotted(value.func)
        if dotted in _CALLS or ".".join(dotted.split(".")[-2:]) in _CALLS:
            return value
    for child in ast.iter_child_nodes(value):
        if isinstance(child, ast.keyword):
            child = child.value
        hit = _varying(child, names) if isinstance(child, ast.expr) else None
        if hit is not None:
            return hit
        if isinstance(child, ast.FormattedValue):
            hit = _varying(child.value, names)
            if hit is not None:
                return hit
    return None


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
