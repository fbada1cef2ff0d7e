"""Finds the trigger that kills the process all triggers share (a crash in C, `os._exit`), so that it holds up nobody for ever.

For `service`. After the second death in a row what was started last is suspected, and started again in halves: whoever is alone
in the half that dies is it.
"""

from __future__ import annotations

import time

SURVIVES_S = 1.0
"""Seconds that those started must live before more are started, while there are suspects."""
BLAMED_S = 3.0
"""Those started last are blamed for a death within this time."""
STEADY_S = 60.0
"""A process that lived this long died by something else."""
PAUSE_S = 0.2
BACK_OFF_S = (0.0, 1.0, 5.0, 15.0, 30.0)
"""Seconds before a process whose death nobody can be blamed for is started again, by consecutive deaths."""


class Suspects:
    """What is known about deaths so far."""

    def __init__(self) -> None:
        self._deaths = 0
        self._suspects: set[int] = set()
        self._last: set[int] = set()
        """What was started last."""
        self._last_at = self._next_at = 0.0

    @property
    def is_careful(self) -> bool:
        """Whether `choose` may hold some back."""
        return bool(self._suspects)

    def died(self, lived: float, running: set[int]) -> tuple[int | None, float]:
        """The process died after `lived` seconds with these triggers: (the one that does it, if it is known; seconds to wait)."""
        self._deaths = 1 if lived > STEADY_S else self._deaths + 1
        last, self._last, self._next_at = self._last & running, set(), 0.0
        if not last or (len(running) > 1 and time.monotonic() - self._last_at > BLAMED_S):
            # nobody to blame: it was not what was started last
            return None, BACK_OFF_S[min(self._deaths, len(BACK_OFF_S)) - 1]
        if self._deaths == 1:
            self._suspects = set()
            return None, 0.0
        if len(last) == 1:
            self._suspects, self._deaths = set(), 0
            return last.pop(), 0.0
        self._suspects = last
        return None, PAUSE_S

    def choose(self, new: set[int]) -> set[int]:
        """Which of `new` to start now; all of them unless there are suspects."""
        now = time.monotonic()
        if now < self._next_at:
            return set()
        first = sorted(new & self._suspects)[: max(1, len(self._suspects) // 2)]
        chosen = set(first) or set(new)
        if self._suspects:
            self._next_at = now + SURVIVES_S
            if not first:
                self._suspects = set()  # all of them live: the others are on their own again
        self._last, self._last_at = chosen, now
        return chosen
