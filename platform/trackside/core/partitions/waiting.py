"""How many keys of its window a rollup waits for."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from trackside.core.partitions.record import Record, stored


class WaitPolicy(Record):
    """Answers whether the keys that came are enough."""

    def is_satisfied(self, matched: int, expected: int) -> bool:
        """`matched` of `expected` keys came."""
        raise NotImplementedError

    def is_unreachable(self, expected: int) -> bool:
        """Whether it can never be satisfied."""
        return False

    def least(self, expected: int) -> int | None:
        """The smallest number of keys that satisfies it; None: no number does."""
        if self.is_unreachable(expected):
            return None
        return next((count for count in range(expected + 1) if self.is_satisfied(count, expected)), None)

    def enough(self, came: Set[str], expected: Set[str]) -> bool:
        """Whether a run may be made."""
        return not self.is_unreachable(len(expected)) and self.is_satisfied(len(came & expected), len(expected))


@stored
class WaitForAll(WaitPolicy):
    """All keys of the window."""

    def is_satisfied(self, matched: int, expected: int) -> bool:
        return matched == expected


@stored
class MinimumCount(WaitPolicy):
    """At least `n` keys; negative: at most that many may be missing."""

    positional = ("n",)

    def __init__(self, n: int) -> None:
        if n == 0:
            raise ValueError("MinimumCount(0) would always be satisfied: use WaitForAll(), or a number other than 0.")
        self.n = n

    def is_satisfied(self, matched: int, expected: int) -> bool:
        return matched >= (self.n if self.n > 0 else max(0, expected + self.n))

    def is_unreachable(self, expected: int) -> bool:
        return self.n > expected

    def arguments(self) -> dict[str, Any]:
        return {"n": self.n}

    def serialize(self) -> dict[str, Any]:
        return {"n": self.n}
