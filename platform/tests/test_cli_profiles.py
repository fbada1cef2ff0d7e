"""`trackside profiles`: a file for its owner's eyes only, whose tokens are never printed and whose other lines stay."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path

import pytest

from trackside.cli.commands import main
from trackside.client import NoProfile, find, profiles

TOKEN = "trk_canary_0123456789"


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TRACKSIDE_SERVER", "TRACKSIDE_PROFILE", "TRACKSIDE_TOKEN", "TRACKSIDE_USERNAME"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "config" / "profiles.toml"
    monkeypatch.setenv("TRACKSIDE_PROFILES", str(path))
    return path


def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str, line: str = "", code: int = 0) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO(line))
    assert main(["profiles", *words]) == code
    said = capsys.readouterr()
    assert TOKEN not in said.out + said.err
    return said.out if code == 0 else said.err


def test_a_profile_is_stored_for_its_owner_only_used_and_never_shown(file, monkeypatch, capsys):
    assert "kept in" in typed(monkeypatch, capsys, "add", "work", "https://work.example/", line=f"{TOKEN}\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = find()
    assert found is not None and (found.server, found.token) == ("https://work.example", TOKEN), "the first one counts at once"
    typed(monkeypatch, capsys, "add", "home", "http://127.0.0.1:8080", "--username", "admin")
    rows = json.loads(typed(monkeypatch, capsys, "list", "-o", "json"))
    assert [(row["name"], row["used"], row["signs_in_with"]) for row in rows] == [("work", True, "token"), ("home", False, "admin")]
    typed(monkeypatch, capsys, "use", "home")
    assert json.loads(typed(monkeypatch, capsys, "show", "home", "-o", "json"))["used"] is True
    assert (found := find()) is not None and found.server == "http://127.0.0.1:8080"
    assert (found := find(profile="work")) is not None and found.token == TOKEN
    typed(monkeypatch, capsys, "remove", "home")
    assert find() is None, "nothing is used, and none is called default"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_a_person_wrote_into_the_file_stays(file, monkeypatch, capsys):
    file.parent.mkdir()
    file.write_text('# ours\n[default]\nserver = "https://a.example"  # the old one\n\n[b]\nserver = "https://b.example"\n')
    typed(monkeypatch, capsys, "add", "c", "https://c.example", line="")
    typed(monkeypatch, capsys, "use", "b")
    typed(monkeypatch, capsys, "add", "b", "https://new.example", "--use", line='')
    typed(monkeypatch, capsys, "remove", "c")
    text = file.read_text()
    assert "# ours" in text and "# the old one" in text and "b.example" not in text
    assert set(profiles.read()) == {"use", "default", "b"}
    assert (found := find()) is not None and found.server == "https://new.example"


@pytest.mark.parametrize(
    ("words", "line", "says"),
    [
        (("add", "x y", "https://a.example"), "", "letters, digits"),
        (("add", "use", "https://a.example"), "", "no name for a profile"),
        (("add", "x", "a.example"), "", "http://"),
        (("add", "x", "https://a.example"), "to ken\n", "no token"),
        (("add", "x", "https://a.example", "--token-file", "/nowhere/at/all"), "", "no file"),
        (("use", "x"), "", "no profile 'x'"),
        (("remove", "x"), "", "no profile 'x'"),
        (("show", "x"), "", "no profile 'x'"),
    ],
)
def test_what_cannot_be_stored_is_said_and_nothing_is_written(file, monkeypatch, capsys, words, line, says):
    assert says in typed(monkeypatch, capsys, *words, line=line, code=1)
    assert not file.exists()


def test_a_file_that_is_no_toml_is_left_alone(file, monkeypatch, capsys):
    file.parent.mkdir()
    file.write_text("[broken\n")
    assert "cannot be read" in typed(monkeypatch, capsys, "add", "x", "https://a.example", line="", code=1)
    assert file.read_text() == "[broken\n"
    with pytest.raises(NoProfile):
        find()
