"""The watchers of one triggerer: taken under its lease like triggers, run by the same child, never done.

For `service`. The child knows a watcher by its row's number above `FIRST`; others are those of triggers and errands. What it
saw is written in the order it came; what was seen and not yet written when the triggerer dies is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

from apps.runs import sql
from apps.runs.assets import watchers

logger = logging.getLogger("trackside.watchers")

FIRST = 1 << 52
"""Numbers from here on are those of watchers."""


def is_watcher(number: Any) -> bool:
    """Whether a number is that of a watcher."""
    return isinstance(number, int) and number >= FIRST


class Watching:
    """Watchers that the child was told to run."""

    def __init__(self) -> None:
        self.running: dict[int, str] = {}
        """Number → class path."""
        self._found: list[tuple[int, Any]] = []
        self._failed: list[tuple[int, str]] = []

    def hear(self, message: dict[str, Any]) -> bool:
        """Take a message of the child, if it is about a watcher."""
        number = message.get("id")
        if not is_watcher(number):
            return False
        if number in self.running:
            match message["is"]:
                case "event":
                    self._found.append((number - FIRST, message["payload"]))
                case "error":
                    self.fail(number, str(message["error"]))
                case "log":
                    line = message["line"]
                    logger.log(logging.getLevelNamesMapping().get(str(line.get("level")).upper(), logging.INFO), "%s: %s",
                               self.running[number].rpartition(".")[2], line.get("event"))  # fmt: skip
        return True

    def fail(self, number: int, error: str) -> None:
        """The watcher cannot go on; it rests and is started again."""
        name = self.running.pop(number, "")
        logger.error("watcher %s: %s", name, error)
        self._failed.append((number - FIRST, error))

    def fire(self, me: UUID) -> None:
        """Write what was seen and what failed."""
        if self._found:
            watchers.happened(me, self._found)
            self._found.clear()  # only now: should the database go away, it is written when it is back
        for pk, error in self._failed:
            watchers.failed(me, pk, error, sql.now())
        self._failed.clear()

    def take(self, me: UUID, room: int, send: Callable[[dict[str, Any]], None] | None) -> set[int]:
        """Cancel those that are gone, claim more; the numbers of all that should run."""
        held = watchers.held(me)
        for number in [n for n in self.running if n - FIRST not in held]:
            del self.running[number]
            if send is not None:
                send({"do": "cancel", "id": number, "kill": False})
        held |= watchers.claim(me, room - len(held), sql.now())
        return {FIRST + pk for pk in held}

    def start(self, numbers: set[int], send: Callable[[dict[str, Any]], None]) -> None:
        """Have the child run these."""
        for message in watchers.jobs({n - FIRST for n in numbers}):
            message["id"] += FIRST
            self.running[message["id"]] = message["classpath"]
            if "wrong" in message:
                self.fail(message["id"], message["wrong"])
            else:
                send(message)

    def child_died(self) -> None:
        """All of them start again in the next child."""
        self.running.clear()
