"""One call of the REST API in three forms that a person can paste: curl, Python with `trackside.client`, and the `trackside` command.

Every value is quoted for its form here, and nowhere else. What each page calls is `copyas`'s table. The token stays out of all of
them: they read `$TRACKSIDE_TOKEN`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode


@dataclass(frozen=True, slots=True)
class Python:
    """A method of the client with its arguments; `lines`: it gives lines to print."""

    method: str
    args: Sequence[Any] = ()
    named: Mapping[str, Any] = field(default_factory=dict)
    lines: bool = False


@dataclass(frozen=True, slots=True)
class Cli:
    """Words of the command: fixed ones, options with a value (True: without), and what people named."""

    words: Sequence[str]
    names: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Same:
    """One call. Without `python` and `cli` of its own it is told by their general words, `call`."""

    method: str
    path: str
    """With its names quoted: see `path`."""
    params: Sequence[tuple[str, str]] = ()
    body: Mapping[str, Any] | None = None
    python: Python | None = None
    cli: Cli | None = None

    def forms(self, server: str) -> list[tuple[str, str]]:
        """(name of the form, text) for a server's address."""
        return [("curl", curl(self, server)), ("Python", python(self, server)), ("CLI", command(self, server))]


def path(template: str, *names: str) -> str:
    """`/api/v2/dags/{}/tasks/{}` with names in the braces, whatever is in them."""
    return template.format(*(quote(name, safe="~") for name in names))


def curl(same: Same, server: str) -> str:
    """For a POSIX shell."""
    url = server + same.path + (f"?{urlencode(same.params)}" if same.params else "")
    words = ["curl", "-fsS"] if same.method == "GET" else ["curl", "-fsS", "-X", same.method]
    lines = [shlex.join([*words, url]), '-H "Authorization: Bearer $TRACKSIDE_TOKEN"']
    if same.body is not None:
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(json.dumps(same.body, ensure_ascii=False))}"]
    return " \\\n  ".join(lines)


def python(same: Same, server: str) -> str:
    """A whole program."""
    told = same.python or Python("call", (same.method, same.path), _general(same))
    written = ", ".join([*(repr(a) for a in told.args), *(f"{name}={value!r}" for name, value in told.named.items())])
    asked = f"server.{told.method}({written})"
    act = f"    for line in {asked}:\n        print(line)" if told.lines else f"    print({asked})"
    opened = f'with Client({server!r}, token=os.environ["TRACKSIDE_TOKEN"]) as server:'
    return f"import os\n\nfrom trackside.client import Client\n\n{opened}\n{act}"


def _general(same: Same) -> dict[str, Any]:
    named: dict[str, Any] = {"params": _grouped(same.params)} if same.params else {}
    return named | ({} if same.body is None else {"json": dict(same.body)})


def _grouped(params: Sequence[tuple[str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in params:
        found[name] = value if name not in found else [*(found[name] if isinstance(found[name], list) else [found[name]]), value]
    return found


def command(same: Same, server: str) -> str:
    """For a POSIX shell; reads TRACKSIDE_TOKEN by itself."""
    told = same.cli
    if told is None:
        options: dict[str, Any] = {"-p": [f"{name}={value}" for name, value in same.params]} if same.params else {}
        if same.body is not None:
            options["-d"] = json.dumps(same.body, ensure_ascii=False)
        told = Cli(("call",), (same.method, same.path), options)
    words = ["trackside", "--server", server, *told.words]
    for name, value in told.options.items():
        for one in value if isinstance(value, list) else [value]:
            if one is True:
                words.append(name)
            elif one not in (None, False, ""):
                words += [f"{name}={one}"] if name.startswith("--") else [f"{name}{one}"]
    if any(name.startswith("-") for name in told.names):
        words.append("--")
    return shlex.join([*words, *told.names])
