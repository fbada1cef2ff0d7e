"""Links from a task to somewhere else, shown on its page.

For operator authors: subclass `BaseOperatorLink`, put an instance into `operator_extra_links`. The link is computed
where the task ran, because it is user code.
"""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import Any, ClassVar


class BaseOperatorLink(metaclass=ABCMeta):
    """One kind of link."""

    operators: ClassVar[list[Any]] = []
    """Operator classes that get this link when it comes from a plugin."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Text of the button."""

    @property
    def xcom_key(self) -> str:
        """XCom key the computed address is kept under."""
        return f"_link_{type(self).__name__}"

    @abstractmethod
    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Address for one task instance; empty: no link."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.name))
