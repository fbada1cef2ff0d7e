"""`python -m trackside.core.states_doc > docs/states.md`: the states and moves of `core.states` for people.

For `docs/` and the test that holds it fresh (`tests/test_docs.py`). Everything said there is said in `core.states`.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum

from trackside.core import states
from trackside.core.states import RUN_TRANSITIONS, TASK_TRANSITIONS, RunState, TaskState, Transition, TryState

NOT_DRAWN = frozenset(
    {"clear", "restart", "mark_success", "mark_failed", "mark_skipped", "requeue", "remove", "restore", "unqueue"}
)
"""Moves by people and repairs start nearly everywhere: drawn, they would hide the rest; the table has them."""
HEAD = """# States

Generated from `platform/trackside/core/states.py` by `python -m trackside.core.states_doc > docs/states.md`: do not edit.
`apps/runs/transitions` is the only package that writes a state; each verb below is one function there. State names are
Airflow's, so that REST clients and people read the same words.
"""


def document() -> str:
    """The whole page."""
    return "\n".join(
        [
            HEAD,
            *_part("Task instances", TaskState, TASK_TRANSITIONS),
            *_part("Runs", RunState, RUN_TRANSITIONS),
            "## Tries\n",
            "One row per try, with a UUID, a token and a log of its own. A try that ended never changes again.\n",
            *_state_table(TryState),
        ]
    )


def _part(title: str, enum: type[StrEnum], moves: Mapping[str, Transition]) -> Iterable[str]:
    yield f"## {title}\n"
    yield from _diagram(enum, moves.values())
    yield from _state_table(enum)
    yield from _move_table(enum, moves.values())


def _diagram(enum: type[StrEnum], moves: Iterable[Transition]) -> Iterable[str]:
    """What the machinery does by itself; parallel moves share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for move in moves:
        if move.verb not in NOT_DRAWN:
            for source in _in_order(enum, move.sources):
                arrows.setdefault((source, move.target), []).append(move.verb)
    first = next(iter(enum)).value
    yield "```mermaid\nstateDiagram-v2"
    yield f"    [*] --> {first}"
    for (source, target), verbs in arrows.items():
        yield f"    {source} --> {target}: {', '.join(verbs)}"
    yield "```\n"
    yield "Moves by people and repairs are left out of the picture; the table has them all.\n"


def _state_table(enum: type[StrEnum]) -> Iterable[str]:
    meanings = _docstrings(enum)
    yield "| state | meaning |\n|---|---|"
    for state in enum:
        yield f"| `{state.value}` | {meanings.get(state.name, '')} |"
    yield ""


def _move_table(enum: type[StrEnum], moves: Iterable[Transition]) -> Iterable[str]:
    yield "| verb | from | to | who moves | if that process dies there |\n|---|---|---|---|---|"
    for move in moves:
        missing = {state.value for state in enum} - move.sources
        if len(missing) <= 3 < len(enum) - 2:
            sources = "any" + (f" but {', '.join(_in_order(enum, missing))}" if missing else "")
        else:
            sources = ", ".join(_in_order(enum, move.sources))
        yield f"| `{move.verb}` | {sources} | {move.target} | {move.mover} | {move.crash} |"
    yield ""


def _in_order(enum: type[StrEnum], values: Iterable[str]) -> list[str]:
    wanted = set(values)
    return [state.value for state in enum if state.value in wanted]


def _docstrings(enum: type[StrEnum]) -> dict[str, str]:
    """Member → the string below it in the source; Python itself does not keep those."""
    module = ast.parse(inspect.getsource(states)).body
    (body,) = (node.body for node in module if isinstance(node, ast.ClassDef) and node.name == enum.__name__)
    found: dict[str, str] = {}
    for member, text in itertools.pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[ast.unparse(member.targets[0])] = " ".join(str(text.value.value).split())
    return found


if __name__ == "__main__":
    sys.stdout.write(document())
