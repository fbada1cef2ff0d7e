"""The examples of docs/client.md compile, and use nothing that the client does not have."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from pathlib import Path

import pytest

import trackside.client
from trackside.client import AsyncClient, Client

PAGE = (Path(__file__).resolve().parents[1] / "docs/client.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("code", EXAMPLES, ids=lambda code: code.splitlines()[0])
def test_an_example_calls_what_there_is_with_arguments_it_takes(code: str) -> None:
    tree = ast.parse(code)
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "trackside.client" for a in n.names}
    assert imported <= set(trackside.client.__all__)
    client = AsyncClient if "AsyncClient" in imported else Client
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    mine = [c for c in calls if isinstance(c.func, ast.Attribute) and isinstance(c.func.value, ast.Name) and c.func.value.id == "server"]
    assert mine
    for call in mine:
        assert isinstance(call.func, ast.Attribute)
        arguments = {k.arg: None for k in call.keywords if k.arg}
        inspect.signature(getattr(client, call.func.attr)).bind(None, *call.args, **arguments)
        inspect.signature(getattr(Client, call.func.attr)).bind(None, *call.args, **arguments)


def test_there_are_examples_for_scripts_and_for_event_loops() -> None:
    assert any("AsyncClient" in code for code in EXAMPLES)
    assert len(EXAMPLES) >= 4


def test_the_profiles_file_of_the_page_is_one_that_the_client_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"```toml\n(.*?)```", PAGE, re.S)
    assert found is not None
    (tmp_path / "profiles.toml").write_text(found[1])
    for name in ("TRACKSIDE_SERVER", "TRACKSIDE_PROFILE", "TRACKSIDE_TOKEN", "TRACKSIDE_USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRACKSIDE_PROFILES", str(tmp_path / "profiles.toml"))
    laptop = trackside.client.find(profile="laptop")
    assert laptop is not None
    assert (laptop.server, laptop.username) == ("http://127.0.0.1:8080", "admin")
    assert set(tomllib.loads(found[1])) == {"default", "laptop"}
