"""`trackside migrate airflow2 FILE…`: say what must change, show the difference, write it when told so."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import Any

from trackside.cli import output
from trackside.cli.words import Problem


def airflow2(given: argparse.Namespace, rest: list[str]) -> int:
    """0: nothing must change (or all was written); 1: something must; 2 is wrong usage."""
    try:
        from trackside.cli.airflow2.rewrite import NotPython, migrate
    except ImportError as error:
        raise Problem(f"this command needs LibCST ({error}); `pip install 'trackside[cli]'` brings it") from None
    found: list[dict[str, Any]] = []
    left = changed = 0
    for path in _files(given.files):
        shown = str(path)
        try:
            text = path.read_bytes().decode("utf-8")
            result = migrate(text)
        except (NotPython, OSError, UnicodeDecodeError, SyntaxError) as error:
            left += 1
            found.append({"file": shown, "line": 1, "level": "error", "message": f"cannot be read: {error}", "fixed": False})
            continue
        found += [{"file": shown, "line": f.line, "level": f.level, "message": f.message, "fixed": f.fixed} for f in result.findings]
        left += len(result.open)
        if result.after != result.before:
            changed += 1
            if given.write:
                path.write_bytes(result.after.encode())
            elif given.output not in ("json", "yaml"):
                _diff(shown, result.before, result.after)
    _say(found, given)
    if given.output not in ("json", "yaml"):
        verb = "rewritten" if given.write else "to be rewritten (--write does it)"
        print(f"{changed} file(s) {verb}; {left} place(s) left to do by hand.", file=sys.stderr)
    return 1 if left or (changed and not given.write) else 0


def _files(names: list[str]) -> list[Path]:
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if not path.exists():
            raise Problem(f"there is no file or folder {name}")
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return found


def _diff(name: str, before: str, after: str) -> None:
    name = name.lstrip("/")
    lines = difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}")
    for line in lines:
        sys.stdout.write(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")


def _say(found: list[dict[str, Any]], given: argparse.Namespace) -> None:
    if given.output in ("json", "yaml"):
        output.show(found, (), given.output)
        return
    for f in found:
        done = (" [rewritten]" if given.write else " [can be rewritten]") if f["fixed"] else ""
        print(f"{f['file']}:{f['line']}: {f['level']}: {f['message']}{done}")
