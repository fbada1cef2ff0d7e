"""What is read and what becomes of it: shared words of this package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class Unreadable(Exception):
    """The source cannot be read; the message names it and says what to do."""


@dataclass(slots=True)
class Found:
    """What a source holds. Values are plain; what could not be decrypted is in `skipped`."""

    connections: dict[str, dict[str, Any]] = field(default_factory=dict)
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)
    pools: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: list[Line] = field(default_factory=list)


@dataclass(slots=True)
class Line:
    """What happened (or would) to one thing."""

    kind: str
    """connection, variable, pool, run."""
    name: str
    outcome: str
    """new, changed, same, skipped."""
    why: str = ""
    """What changed (names only, never values), or why it was skipped."""
