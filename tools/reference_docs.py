"""Writes docs/reference/ (a page for each of the most used names) and the tables of docs/migrate.md.

A page is made of what the code says (docstring, signature with types and defaults) and of `docs/reference/pages.toml`: what each
argument means, what is raised, and an example, which the tests run. `make docs` writes the pages, `--check` only compares.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
MIGRATE = FOLDER.parent / "migrate.md"
BEGIN, END = "<!-- written by make docs -->", "<!-- end -->"
HIDDEN = frozenset({"self", "args", "kwargs", "context", "unknown", "more", "__DAG_class", "decorator_kwargs", "dag_kwargs"})


class Incomplete(ValueError):
    """A page lacks something; the message names page and part."""


def pages() -> dict[str, dict[str, Any]]:
    """Name → its entry of pages.toml, with `arguments` filled up from the shared ones."""
    data = tomllib.loads((FOLDER / "pages.toml").read_text(encoding="utf-8"))
    shared = data.pop("shared")
    for entry in data.values():
        given = entry.get("arguments", {})
        entry["arguments"] = {**shared, **given}
    return data


def load(entry: dict[str, Any], name: str) -> Any:
    """The object a page is about, by the name people import."""
    from trackside.airflow import install

    install()
    return getattr(importlib.import_module(entry["module"]), name)


def arguments(thing: Any) -> dict[str, inspect.Parameter]:
    """Arguments a person gives; of operators without those that every operator has."""
    from trackside.sdk.operator import BaseOperator

    inits: list[Any] = [thing]
    if inspect.isclass(thing):
        stop = BaseOperator if issubclass(thing, BaseOperator) and thing is not BaseOperator else object
        classes = [cls for cls in thing.__mro__ if not issubclass(stop, cls)] if stop is BaseOperator else [thing]
        inits = [cls.__dict__["__init__"] for cls in classes if "__init__" in cls.__dict__]
        inits = inits or ([] if stop is BaseOperator else [thing.__init__])
    found: dict[str, inspect.Parameter] = {}
    for init in inits:
        try:
            given = inspect.signature(inspect.unwrap(init)).parameters
        except (TypeError, ValueError):
            continue
        found.update({name: p for name, p in given.items() if name not in found and p.kind is not p.VAR_KEYWORD})
    hidden = HIDDEN | ({"task_id"} if inspect.isclass(thing) and issubclass(thing, BaseOperator) and thing is not BaseOperator else set())
    return {name: p for name, p in found.items() if name not in hidden and not name.startswith("_")}


def docstring(thing: Any) -> str:
    """What the code says it is, without references to rows of lists that readers do not have."""
    text = inspect.cleandoc(thing.__doc__ or "")
    return re.sub(r" ?\(rows? [^)]*\)", "", text).strip()


def page(name: str, entry: dict[str, Any]) -> str:
    """The text of one page. Raises Incomplete."""
    thing = load(entry, name)
    meaning = docstring(thing)
    for part, value in (("a docstring", meaning), ("errors", entry.get("errors")), ("an example", entry.get("example"))):
        if not value:
            raise Incomplete(f"{name} has no {part}: add it to {'its code' if part == 'a docstring' else 'docs/reference/pages.toml'}")
    lines = [f"# {name}", "", f"`from {entry['module']} import {name}`", "", meaning, ""]
    rows = []
    for argument, p in arguments(thing).items():
        text = entry["arguments"].get(argument)
        if not text:
            raise Incomplete(f"{name}: the argument {argument} is not explained: add it to docs/reference/pages.toml")
        rows.append(f"| `{argument}` | {_type(p)} | {_default(p)} | {text} |")
    if rows:
        lines += ["## Arguments", "", "| name | type | default | meaning |", "|---|---|---|---|", *rows, ""]
    if entry.get("operator"):
        lines += ["All arguments of [BaseOperator](BaseOperator.md) can be given, too.", ""]
    lines += ["## Errors", "", entry["errors"].strip(), "", "## Example", "", "```python", entry["example"].strip(), "```", ""]
    return "\n".join(lines)


def _type(p: inspect.Parameter) -> str:
    text = p.annotation if isinstance(p.annotation, str) else getattr(p.annotation, "__name__", "")
    return f"`{text}`".replace("|", "\\|") if p.annotation is not p.empty and text else ""


def _default(p: inspect.Parameter) -> str:
    if p.default is p.empty:
        return "" if p.kind is p.VAR_POSITIONAL else "required"
    text = repr(p.default)
    return "" if " at 0x" in text or "NOTSET" in text or "<" in text else f"`{text}`".replace("|", "\\|")


def written() -> dict[str, str]:
    """File name → text of all pages, the list of them included."""
    entries = pages()
    texts = {f"{name}.md": page(name, entry) for name, entry in entries.items()}
    head = "# Reference\n\nThe most used names of `airflow.sdk` and the standard provider. Written by `make docs`; do not edit the pages.\n"
    groups: dict[str, list[str]] = {}
    for name, entry in entries.items():
        first = docstring(load(entry, name)).partition("\n")[0]
        groups.setdefault(entry["group"], []).append(f"| [{name}]({name}.md) | {first} |".replace(" | |", " |  |"))
    for group, rows in groups.items():
        head += f"\n## {group}\n\n| name | meaning |\n|---|---|\n" + "\n".join(rows) + "\n"
    return {"README.md": head, **texts}


def tables() -> str:
    """The tables of docs/migrate.md that follow from the code: what `trackside migrate airflow2` knows."""
    from trackside.airflow.names import MODULES
    from trackside.cli.airflow2 import rules

    def table(head: str, rows: dict[str, str]) -> list[str]:
        return ["", f"| {head} |", "|---|---|", *(f"| `{old}` | {new} |" for old, new in rows.items())]

    dags = {k: f"`{v}`" for k, v in rules.DAG_ARGUMENTS.items()} | rules.DAG_REMOVED
    lines = ["### Arguments of DAG and @dag", *table("Airflow 2 | Airflow 3", dags)]
    tasks = {k: f"`{v}`" for k, v in rules.TASK_ARGUMENTS.items()} | rules.TASK_REMOVED
    lines += ["", "### Arguments of operators", *table("Airflow 2 | Airflow 3", tasks)]
    context = {k: f"`{v}`" for k, v in {**rules.CONTEXT, **rules.TEMPLATES}.items() if k != v}
    lines += ["", "### Names in the context and in templates", *table("Airflow 2 | Airflow 3", context)]
    lines += ["", "### Without successor", *table("name | what to do", rules.GONE)]
    moved: dict[str, list[str]] = {}
    for module in sorted(MODULES):
        places = {place[0] for name in MODULES[module] if name != "*" and (place := rules.new_place(module, name)) is not None}
        if places:
            moved[module] = sorted(places)
    rows = {module: ", ".join(f"`{place}`" for place in places) for module, places in moved.items()}
    lines += ["", "### Modules whose names moved", "", "The old paths go on working in Trackside.", *table("Airflow 2 | Airflow 3", rows)]
    return "\n".join(lines)


def migrate_page() -> str:
    """docs/migrate.md with its tables."""
    text = MIGRATE.read_text(encoding="utf-8")
    head, mark, rest = text.partition(BEGIN)
    if not mark or END not in rest:
        raise Incomplete(f"docs/migrate.md lacks the lines {BEGIN} and {END}")
    return f"{head}{BEGIN}\n\n{tables()}\n\n{END}{rest.partition(END)[2]}"


def differences() -> list[str]:
    """Pages that are not what the code and pages.toml say."""
    texts = written()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    found = sorted(f"reference/{name}" for name in {*texts, *there} if texts.get(name) != there.get(name))
    return found + (["migrate.md"] if migrate_page() != MIGRATE.read_text(encoding="utf-8") else [])


def main(words: list[str]) -> int:
    """Write the pages; with --check say which differ. Returns the exit code."""
    if words == ["--check"]:
        found = differences()
        for name in found:
            print(f"docs/{name} is not up to date; run make docs")  # noqa: T201
        return bool(found)
    texts = written()
    MIGRATE.write_text(migrate_page(), encoding="utf-8")
    for path in FOLDER.glob("*.md"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
