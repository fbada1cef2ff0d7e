"""Which files a scan finds, and what `.airflowignore` keeps out."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.runner.parsing import ignoring
from trackside.runner.parsing.scanning import Scanner

DAG = "from airflow.sdk import DAG\n"


def put(folder: Path, *names: str, text: str = DAG) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def found(folder: Path, **kwargs: str) -> list[str]:
    return sorted(s.relative for s in Scanner(folder, **kwargs).scan().files.values())


def test_sources_and_archives_are_found_wherever_they_lie(tmp_path) -> None:
    put(tmp_path, "a.py", "sub/b.py", "sub/deep/c.zip", "readme.md", ".hidden/d.py", "__pycache__/e.py", ".f.py")
    assert found(tmp_path) == ["a.py", "sub/b.py", "sub/deep/c.zip"]


def test_a_folder_named_like_a_file_is_a_folder(tmp_path) -> None:
    put(tmp_path, "x.py/y.py")
    assert found(tmp_path) == ["x.py/y.py"]


def test_links_are_followed_but_not_in_circles(tmp_path) -> None:
    folder = tmp_path / "dags"
    put(folder, "sub/a.py")
    put(tmp_path, "elsewhere/b.py")
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "other").symlink_to(tmp_path / "elsewhere")
    (folder / "dangling.py").symlink_to(tmp_path / "nothing")
    assert found(folder) == ["other/b.py", "sub/a.py"]


def test_a_link_to_itself_is_a_file_that_parsing_will_complain_about(tmp_path) -> None:
    (tmp_path / "x.py").symlink_to(tmp_path / "x.py")
    scanner = Scanner(tmp_path)
    (seen,) = scanner.scan().files.values()
    assert scanner.may_hold_dags(seen)


def test_pipes_and_sockets_are_not_opened(tmp_path) -> None:
    os.mkfifo(tmp_path / "x.py")
    assert found(tmp_path) == []


def test_a_name_that_is_not_text_is_passed_over_and_told_once(tmp_path, caplog) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.py")).write_text(DAG)
    scanner = Scanner(tmp_path)
    assert scanner.scan().files == {} == scanner.scan().files
    assert caplog.text.count("not UTF-8") == 1


def test_a_missing_folder_is_an_error_not_an_empty_folder(tmp_path) -> None:
    with pytest.raises(OSError, match="nothing"):
        Scanner(tmp_path / "nothing").scan()


def test_what_cannot_be_listed_is_unknown_not_missing(tmp_path, monkeypatch) -> None:
    put(tmp_path, "a.py", "sub/b.py")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("/sub"):
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr("trackside.runner.parsing.scanning.os.scandir", scandir)
    scan = Scanner(tmp_path).scan()
    assert list(scan.files) == [str(tmp_path / "a.py")]
    assert scan.is_unknown(str(tmp_path / "sub/b.py"))
    assert not scan.is_unknown(str(tmp_path / "subway.py"))


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("from airflow import DAG", True),
        ("import trackside; x = Dag()", True),
        ("from AIRFLOW.sdk import asset", True),
        ("import airflow", False),
        ("dag = 1", False),
        ("", False),
    ],
)
def test_only_files_with_the_words_are_candidates(tmp_path, text, may) -> None:
    put(tmp_path, "x.py", text=text)
    scanner = Scanner(tmp_path)
    (seen,) = scanner.scan().files.values()
    assert scanner.may_hold_dags(seen) is may


def test_a_change_is_seen_in_the_signature(tmp_path) -> None:
    put(tmp_path, "x.py")
    scanner = Scanner(tmp_path)
    first = scanner.scan().files[str(tmp_path / "x.py")].signature
    (tmp_path / "x.py").rename(tmp_path / "y.py")
    put(tmp_path, "x.py")
    os.utime(tmp_path / "x.py", ns=(first[0], first[0]))  # same size, same time: another file all the same
    assert scanner.scan().files[str(tmp_path / "x.py")].signature != first


TREE = ("a.py", "b_test.py", "sub/c.py", "sub/b_test.py", "sub/deep/d.py", "lib/e.py", "sub/lib/f.py")


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ("", TREE),
        ("# nothing\n\n", TREE),
        ("*_test.py", ("a.py", "sub/c.py", "sub/deep/d.py", "lib/e.py", "sub/lib/f.py")),
        ("/b_test.py  # at the top only", tuple(f for f in TREE if f != "b_test.py")),
        ("lib/", ("a.py", "b_test.py", "sub/c.py", "sub/b_test.py", "sub/deep/d.py")),
        ("sub/lib", tuple(f for f in TREE if f != "sub/lib/f.py")),
        ("sub/*.py", tuple(f for f in TREE if f not in ("sub/c.py", "sub/b_test.py"))),
        ("sub/**/*.py", tuple(f for f in TREE if not f.startswith("sub/"))),
        ("**/deep", tuple(f for f in TREE if "deep" not in f)),
        ("*.py\n!a.py", ("a.py",)),
        ("sub\n!sub/c.py", tuple(f for f in TREE if not f.startswith("sub/"))),  # as git: not below an ignored folder
        ("[ab]*.py", ("sub/c.py", "sub/deep/d.py", "lib/e.py", "sub/lib/f.py")),
        ("[!a-b]*.py", ("a.py", "b_test.py", "sub/b_test.py")),
        ("[z-a]*.py", TREE),
        ("?.py", ("b_test.py", "sub/b_test.py")),
        ("syntax: regexp\nsub/.*_test", tuple(f for f in TREE if f != "sub/b_test.py")),
        ("# syntax: regexp\nd(?=eep)", tuple(f for f in TREE if "deep" not in f)),
    ],
)
def test_airflowignore(tmp_path, rules, left) -> None:
    put(tmp_path, *TREE)
    (tmp_path / ".airflowignore").write_text(rules)
    assert found(tmp_path) == sorted(left)


def test_an_ignore_file_speaks_for_its_folder_and_may_take_back_what_one_above_said(tmp_path) -> None:
    put(tmp_path, *TREE)
    (tmp_path / ".airflowignore").write_text("*_test.py")
    (tmp_path / "sub" / ".airflowignore").write_text("!b_test.py\n/c.py")
    assert found(tmp_path) == ["a.py", "lib/e.py", "sub/b_test.py", "sub/deep/d.py", "sub/lib/f.py"]


def test_the_setting_chooses_the_syntax(tmp_path) -> None:
    put(tmp_path, *TREE)
    (tmp_path / ".airflowignore").write_text("^(?!a).*")
    assert found(tmp_path, syntax="regexp") == ["a.py"]


def test_an_ignore_file_is_read_again_when_it_changes(tmp_path) -> None:
    put(tmp_path, "a.py", "b.py")
    scanner = Scanner(tmp_path)
    (tmp_path / ".airflowignore").write_text("a.py")
    assert len(scanner.scan().files) == 1
    (tmp_path / ".airflowignore").write_text("a.py\nb.py")
    assert len(scanner.scan().files) == 0


def test_a_line_that_is_no_pattern_is_passed_over(tmp_path, caplog) -> None:
    put(tmp_path, "a.py", "b.py")
    (tmp_path / ".airflowignore").write_text("syntax: regexp\n(\na")
    assert found(tmp_path) == ["b.py"]
    assert "line 1: '('" in caplog.text


@given(st.text("ab*?[]!/\\.-^", max_size=12))
@settings(max_examples=300)
def test_every_glob_becomes_a_pattern_or_is_passed_over(glob) -> None:
    ignoring.read(glob, "")


@given(st.text(st.characters(blacklist_characters="*?[\\/", codec="utf-8"), min_size=1))
@settings(max_examples=200)
def test_a_plain_name_matches_itself_only(name) -> None:
    assert re.fullmatch(ignoring.translate(name), name, re.DOTALL)
    assert not re.fullmatch(ignoring.translate(name), name + "x", re.DOTALL)
