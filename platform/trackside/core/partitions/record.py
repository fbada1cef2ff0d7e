"""What mappers, windows and wait policies share: a stored form made of their arguments, and equality by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

KINDS: dict[str, Callable[..., Any]] = {}
"""Kind of the stored form → the class that comes with Trackside."""


class Record:
    """Something a timetable stores. Subclasses that come with Trackside say their arguments in `arguments`."""

    positional: ClassVar[tuple[str, ...]] = ()
    """Arguments that the constructor takes by position, in the stored form."""

    def arguments(self) -> dict[str, Any]:
        """Constructor arguments that differ from their defaults, as JSON or as further records."""
        return {}

    def serialize(self) -> dict[str, Any]:
        """For subclasses of the user's: JSON from which `deserialize` makes an equal one."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Any:
        """Inverse of `serialize`."""
        return cls(**data)

    def to_spec(self) -> dict[str, Any]:
        """The stored form: kind and arguments, or class path and data of a subclass of the user's."""
        cls = type(self)
        if cls.__name__ in KINDS and KINDS[cls.__name__] is cls:
            return {"kind": cls.__name__, **{key: _plain(value) for key, value in self.arguments().items()}}
        return {"kind": "custom", "classpath": f"{cls.__module__}.{cls.__qualname__}", "data": self.serialize()}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.to_spec() == other.to_spec()  # type: ignore[attr-defined]  # same type

    def __hash__(self) -> int:
        return hash(type(self).__name__)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.arguments().items())})"


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_spec()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def stored(cls: Any) -> Any:
    """Class decorator: comes with Trackside and is stored by its name."""
    KINDS[cls.__name__] = cls
    return cls
