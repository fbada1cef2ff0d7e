"""Import statements of a file: what they bind, and how they read in Airflow 3.

For `rewrite`, which visits the file with `Imports` first (what is bound, what must be renamed) and lets it rewrite each
statement afterwards. A statement keeps its comments: it becomes several lines in its place, none moves elsewhere.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import libcst as cst
from libcst.helpers import get_full_name_for_node

from trackside.airflow.finder import missing
from trackside.airflow.names import MODULES, PACKAGES
from trackside.cli.airflow2 import rules

Note = tuple[str, bool]
"""(message, whether it was rewritten)."""


class Imports(cst.CSTVisitor):
    """What a file imports from Airflow."""

    def __init__(self) -> None:
        super().__init__()
        self.renames: dict[str, str] = {}
        """Names that the file uses under their old name only → the new one."""
        self.own_names: set[cst.CSTNode] = set()
        """Name nodes that are no uses: keywords of calls, attributes, parts of imports."""
        self._bound: dict[str, str] = {}

    def binds(self, name: str) -> bool:
        """Whether the file imports something under this name."""
        return name in self._bound

    def comes_from(self, name: str, module: str) -> bool:
        """Whether the name was imported from that module."""
        return self._bound.get(name) == f"{module}.{name}"

    # First pass
    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        module = _module(node)
        for alias in _aliases(node):
            name, bound = _name(alias), _bound(alias)
            self._bound[bound] = f"{module}.{name}"
            place = rules.new_place(module, name)
            if place is not None and place[1] != name and alias.asname is None and not _commented(node):
                self.renames[name] = place[1]
        return False

    def visit_Import(self, node: cst.Import) -> bool:
        for alias in node.names:
            self._bound[_bound(alias).partition(".")[0]] = get_full_name_for_node(alias.name) or ""
        return False

    def visit_Arg(self, node: cst.Arg) -> None:
        if node.keyword is not None:
            self.own_names.add(node.keyword)

    def visit_Attribute(self, node: cst.Attribute) -> None:
        self.own_names.add(node.attr)

    # Second pass
    def rewrite(self, original: cst.SimpleStatementLine, updated: cst.SimpleStatementLine) -> tuple[Any, list[Note]]:
        """The statement as it should read (the same node when nothing changes), and what to say about it."""
        first = original.body[0] if len(original.body) == 1 else None
        if isinstance(first, cst.Import):
            return updated, [note for alias in first.names for note in _plain(get_full_name_for_node(alias.name) or "")]
        if not isinstance(first, cst.ImportFrom):
            return updated, []
        module = _module(first)
        if not module.startswith("airflow"):
            return updated, []
        return self._from(module, first, updated)

    def _from(self, module: str, node: cst.ImportFrom, updated: cst.SimpleStatementLine) -> tuple[Any, list[Note]]:
        if isinstance(node.names, cst.ImportStar):
            return updated, [(f"from {module} import * hides what moved; name what is used", False)] if module != "airflow.sdk" else []
        notes: list[Note] = []
        stay: list[cst.ImportAlias] = []
        moves: dict[str, list[cst.ImportAlias]] = {}
        inside = _commented(node)
        for alias in _aliases(node):
            name = _name(alias)
            place = rules.new_place(module, name)
            if module == "airflow.utils.dates" and name == "days_ago":
                notes.append(("", True))
            elif module == "airflow.utils.decorators" and name == "apply_defaults":
                notes.append(("apply_defaults is gone: every operator gets its defaults", not inside))
            elif place is not None:
                text = f"{name} is now `from {place[0]} import {place[1]}`"
                notes.append((text + (" (by hand: there are comments between the names)" if inside else ""), not inside))
                moves.setdefault(place[0], []).append(_alias(alias, place[1]))
            else:
                stay.append(alias)
                if (why := _why_not(module, name)) is not None:
                    notes.append((why, False))
        if inside or not any(fixed for _, fixed in notes):
            return updated, [note for note in notes if note[0]]
        return _lines(node, updated, stay, moves), [note for note in notes if note[0]]


def _lines(
    node: cst.ImportFrom, updated: cst.SimpleStatementLine, stay: list[cst.ImportAlias], moves: dict[str, list[cst.ImportAlias]]
) -> Any:
    """One line per module in the place of the statement; the first keeps the comments above, the last the one behind."""
    statements = [node.with_changes(names=_listed(stay), lpar=None, rpar=None)] if stay else []
    statements += [
        cst.ImportFrom(module=cst.parse_expression(target), names=_listed(aliases))  # type: ignore[arg-type]  # a dotted name
        for target, aliases in moves.items()
    ]
    if not statements:
        comments = any(line.comment for line in updated.leading_lines) or updated.trailing_whitespace.comment
        return updated.with_changes(body=[cst.Pass()]) if comments else cst.RemoveFromParent()
    plain = cst.TrailingWhitespace()
    lines = [
        cst.SimpleStatementLine(
            [statement],
            leading_lines=updated.leading_lines if number == 0 else (),
            trailing_whitespace=updated.trailing_whitespace if number == len(statements) - 1 else plain,
        )
        for number, statement in enumerate(statements)
    ]
    return cst.FlattenSentinel(lines)


def _listed(aliases: list[cst.ImportAlias]) -> list[cst.ImportAlias]:
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    last = len(aliases) - 1
    return [alias.with_changes(comma=comma if i < last else cst.MaybeSentinel.DEFAULT) for i, alias in enumerate(aliases)]


def _why_not(module: str, name: str) -> str | None:
    """Why a name that did not move cannot be imported, or None."""
    if (text := rules.gone(module, name)) is not None:
        return f"{module}.{name} is gone. {text}"
    if module.startswith("airflow.providers") and not module.startswith("airflow.providers.standard"):
        return None  # whether that package is installed here says nothing about where the file will run
    if module in PACKAGES:
        names = MODULES.get(module, {})
        if name in names or "*" in names or f"{module}.{name}" in PACKAGES:
            return None
    elif module.startswith("airflow.providers.standard") and importlib.util.find_spec("airflow") is not None:
        return None
    return missing(f"{module}.{name}")


def _plain(name: str) -> list[Note]:
    if (text := rules.gone(name)) is not None:
        return [(f"{name} is gone. {text}", False)]
    if name.startswith("airflow.") and name not in PACKAGES and not name.startswith("airflow.providers"):
        return [(missing(name), False)]
    return []


def _commented(node: cst.ImportFrom) -> bool:
    """Whether there are comments between the names: such a statement is left as it is."""
    return "#" in cst.Module([]).code_for_node(node)


def _module(node: cst.ImportFrom) -> str:
    return (get_full_name_for_node(node.module) or "") if node.module is not None and not node.relative else ""


def _aliases(node: cst.ImportFrom) -> list[cst.ImportAlias]:
    return [] if isinstance(node.names, cst.ImportStar) else list(node.names)


def _name(alias: cst.ImportAlias) -> str:
    return get_full_name_for_node(alias.name) or ""


def _bound(alias: cst.ImportAlias) -> str:
    if alias.asname is not None and isinstance(alias.asname.name, cst.Name):
        return alias.asname.name.value
    return _name(alias)


def _alias(alias: cst.ImportAlias, name: str) -> cst.ImportAlias:
    return alias.with_changes(name=cst.Name(name))
