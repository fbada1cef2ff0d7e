"""Which server a command is for: `--server URL` and `--profile NAME` before or behind its words, or the environment."""

from __future__ import annotations

import os
from collections.abc import Container

from trackside.cli.words import Problem


def is_named() -> bool:
    """Whether a server was named, by option or environment."""
    return bool(os.environ.get("TRACKSIDE_SERVER") or os.environ.get("TRACKSIDE_PROFILE"))


def take(words: list[str], theirs: Container[str] = ()) -> list[str]:
    """The words without `--server` and `--profile`, which are kept in the environment. What stands behind `--` is left alone, and what
    stands behind a first word of `theirs`: commands with arguments of their own. Raises Problem.
    """
    names = {"--server": "TRACKSIDE_SERVER", "--profile": "TRACKSIDE_PROFILE"}
    kept: list[str] = []
    rest = list(words)
    while rest and rest[0] != "--":
        word = rest.pop(0)
        option, inline, value = word.partition("=")
        if option not in names:
            kept.append(word)
            if word in theirs and not any(not known.startswith("-") for known in kept[:-1]):
                break
            continue
        if not inline and not rest:
            raise Problem(f"{option} wants a value")
        os.environ[names[option]] = value if inline else rest.pop(0)
    return kept + rest
