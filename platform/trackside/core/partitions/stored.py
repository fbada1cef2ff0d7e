"""Mappers, windows and wait policies from their stored form; the inverse of `Record.to_spec`."""

from __future__ import annotations

from typing import Any

from trackside.core.partitions import temporal  # noqa: F401 — registers its kinds
from trackside.core.partitions.mappers import PartitionMapper
from trackside.core.partitions.record import KINDS
from trackside.core.partitions.windows import Window


class MappedElsewhere(RuntimeError):
    """A mapper or window of the user's is needed: user code never runs in the server's processes."""


class Elsewhere(PartitionMapper):
    """Stands for a mapper of the user's."""

    expected_decoded_type = object

    def __init__(self, classpath: str, data: Any = None) -> None:
        super().__init__()
        self.classpath, self.data = classpath, data

    def to_downstream(self, key: str) -> str:
        raise MappedElsewhere(f"{self.classpath} is a class of yours: it is asked in a child process, not here.")

    def to_spec(self) -> dict[str, Any]:
        return {"kind": "custom", "classpath": self.classpath, "data": self.data}


def from_spec(spec: dict[str, Any]) -> Any:
    """The record of a stored form. Raises ValueError for one that is none."""
    kind = spec.get("kind")
    if kind == "custom" or "classpath" in spec:
        return Elsewhere(str(spec.get("classpath")), spec.get("data"))
    cls: Any = KINDS.get(str(kind))
    if cls is None:
        raise ValueError(f"there is no partition mapper, window or wait policy {kind!r}")
    arguments = {key: _value(value) for key, value in spec.items() if key != "kind"}
    parts = [part for value in arguments.values() for part in (value if isinstance(value, list) else [value])]
    if (own := next((part for part in parts if isinstance(part, Elsewhere)), None)) is not None:
        return own
    args: list[Any] = []
    for name in cls.positional:
        value = arguments.pop(name)
        args.extend(value) if name == "mappers" else args.append(value)
    return cls(*args, **arguments)


def _value(value: Any) -> Any:
    if isinstance(value, dict) and "kind" in value:
        return from_spec(value)
    return [_value(item) for item in value] if isinstance(value, list) else value


__all__ = ["Elsewhere", "MappedElsewhere", "Window", "from_spec"]
