"""How commands answer: a table for people, JSON or YAML for programs (`-o`). For every module of this package."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from trackside.cli.words import Problem

FORMATS = ("table", "plain", "json", "yaml")


def add_output(parser: argparse.ArgumentParser) -> None:
    """The option `-o`."""
    parser.add_argument("-o", "--output", choices=FORMATS, default="table", help="form of the answer (table)")


def show(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], form: str, *, empty: str = "") -> None:
    """Print rows: `columns` as a table, or whole as JSON or YAML. `empty` is said (on standard error) when there is none."""
    found = [dict(row) for row in rows]
    if form == "json":
        print(json.dumps(found, indent=2, default=str))
    elif form == "yaml":
        print(as_yaml(found), end="")
    elif not found and empty:
        print(empty, file=sys.stderr)
    else:
        print_table([[cell(row.get(column)) for column in columns] for row in found], columns, plain=form == "plain")


def show_one(thing: Mapping[str, Any], form: str) -> None:
    """Print one object: name and value per line, or as JSON or YAML."""
    if form == "json":
        print(json.dumps(thing, indent=2, default=str))
    elif form == "yaml":
        print(as_yaml(dict(thing)), end="")
    else:
        width = max(map(len, thing), default=0)
        for name, value in thing.items():
            print(f"{name:<{width}}  {cell(value)}")


def as_yaml(value: Any) -> str:
    """YAML text. Raises Problem when PyYAML is not installed."""
    try:
        import yaml
    except ImportError:
        raise Problem("-o yaml needs PyYAML; `pip install 'trackside[cli]'` brings it, or ask for -o json") from None
    return str(yaml.safe_dump(json.loads(json.dumps(value, default=str)), sort_keys=False, allow_unicode=True))


def cell(value: Any) -> str:
    """A value in a table."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(cell, value))
    return json.dumps(value, default=str) if isinstance(value, dict) else str(value)


BAR = 24
"""Cells of a progress bar."""


def progress(done: int, total: int, words: str) -> None:
    """A bar on standard error that is drawn over itself; nothing when no person looks at it (a file, a pipe)."""
    if not sys.stderr.isatty():
        return
    filled = BAR * done // total if total else BAR
    text = f"{'█' * filled}{'░' * (BAR - filled)} {done}/{total} {words}"
    print(f"\r\033[K{text[: shutil.get_terminal_size().columns - 1]}", end="", file=sys.stderr, flush=True)


def print_table(rows: Sequence[Sequence[str]], columns: Sequence[str], *, plain: bool = False) -> None:
    """Columns side by side. On a terminal the widest column is cut to what fits; a pipe gets everything."""
    titles = [column.replace("_", " ") for column in columns]
    lines = [[" ".join(text.split()) for text in row] for row in rows]
    if plain:
        print("\n".join("\t".join(row) for row in lines))
        return
    widths = [max(len(titles[i]), *(len(row[i]) for row in lines)) if lines else len(titles[i]) for i in range(len(titles))]
    if sys.stdout.isatty():
        over = sum(widths) + 2 * (len(widths) - 1) - shutil.get_terminal_size().columns
        if over > 0:
            widest = widths.index(max(widths))
            widths[widest] = max(len(titles[widest]), 12, widths[widest] - over)
    for row in [titles, ["-" * width for width in widths], *lines]:
        cut = [text if len(text) <= width else text[: width - 1] + "…" for text, width in zip(row, widths, strict=True)]
        print("  ".join(f"{text:<{width}}" for text, width in zip(cut, widths, strict=True)).rstrip())
