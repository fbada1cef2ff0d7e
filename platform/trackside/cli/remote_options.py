"""Which server a command is for: `--server URL` and `--profile NAME` before the command, or the environment."""

from __future__ import annotations

import os

from trackside.cli.words import Problem


def is_named() -> bool:
    """Whether a server was named, by option or environment."""
    return bool(os.environ.get("TRACKSIDE_SERVER") or os.environ.get("TRACKSIDE_PROFILE"))


def take(words: list[str]) -> list[str]:
    """The words without `--server` and `--profile` in front, which are kept in the environment. Raises Problem."""
    names = {"--server": "TRACKSIDE_SERVER", "--profile": "TRACKSIDE_PROFILE"}
    while words and (option := words[0].partition("=")[0]) in names:
        inline = "=" in words[0]
        if not inline and len(words) < 2:
            raise Problem(f"{option} wants a value")
        os.environ[names[option]] = words[0].partition("=")[2] if inline else words[1]
        words = words[1 if inline else 2 :]
    return words
