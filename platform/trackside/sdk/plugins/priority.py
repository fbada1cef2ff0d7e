"""Priority weight strategies: the three rules, and the base class of own ones (rows 1.188-1.191).

For plugin authors: subclass `PriorityWeightStrategy`. An own strategy is asked while the file is parsed, once for every try
the task may have (`tries.py`); the server knows the numbers only.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from typing import Any

from trackside.sdk.plugins.loading import registry


class PriorityWeightStrategy(ABC):
    """How a task instance's weight follows from what is known about it."""

    @abstractmethod
    def get_weight(self, ti: Any) -> int:
        """The weight; higher goes first."""

    def serialize(self) -> dict[str, Any]:
        """Own strategies with arguments: JSON from which `deserialize` makes an equal one."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PriorityWeightStrategy:
        """Inverse of `serialize`."""
        return cls(**data)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.serialize() == other.serialize()  # type: ignore[attr-defined]  # same type

    def __hash__(self) -> int:
        return hash(type(self).__name__)


def strategy_of(rule: Any) -> PriorityWeightStrategy | None:
    """The strategy an operator names (instance, class or dotted path), None for the built-in rules.

    Raises ValueError for a path that leads nowhere.
    """
    if hasattr(rule, "get_weight"):
        return rule() if isinstance(rule, type) else rule
    if "." not in str(rule):
        return None
    for cls in registry.all("priority_weight_strategies"):
        if f"{cls.__module__}.{cls.__qualname__}" == str(rule):
            return cls()  # type: ignore[no-any-return]
    module, _, name = str(rule).rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)()  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"weight_rule {rule!r} cannot be found: {error}. Register the class in a plugin (priority_weight_strategies)"
        ) from error
