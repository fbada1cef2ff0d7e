"""Completion of the `trackside` command: the script for bash in a real bash, and the table all scripts are made from."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from trackside.cli.commands import PARTS, build_parser
from trackside.cli.completion import bash, fish, table, zsh

PARSER = build_parser()


def proposed(*words: str) -> list[str]:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed here")
    script = 'eval "$SCRIPT"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _trackside; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", script, "-", "trackside", *words], env={"SCRIPT": bash(PARSER)}, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_first_words_are_all_commands() -> None:
    assert {word for words in PARTS.values() for word in words} <= set(proposed(""))


def test_a_beginning_is_completed() -> None:
    assert proposed("comp") == ["completion"]


def test_words_after_a_group_are_its_commands() -> None:
    assert set(proposed("runs", "")) >= {"list", "show", "wait", "clear"}
    assert proposed("runs", "w") == ["wait"]


def test_options_and_their_choices_are_completed_also_after_arguments() -> None:
    assert proposed("runs", "list", "nightly", "--st") == ["--state"]
    assert proposed("runs", "list", "-o", "js") == ["json"]
    assert proposed("completion", "f") == ["fish"]


def test_the_options_that_name_a_server_are_passed_over() -> None:
    assert proposed("--server", "http://x", "--profile", "runs", "pool") == ["pools"]


def test_every_command_is_in_every_script() -> None:
    for path, _ in table(PARSER):
        assert f'"{" ".join(path)}")' in bash(PARSER)
        assert f'"{" ".join(path)}")' in zsh(PARSER)
        assert f"""__trackside_at "{" ".join(path)}\"""" in fish(PARSER)
