"""What `.map()`, `.zip()` and `.concat()` of task results give in the task process: sequences that compute on access.

For `xcom_arg.py`. Reading one index costs one index, because each index of a mapped task runs in its own process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from trackside.sdk.types import is_arg_set


def items_of(value: Any) -> Sequence[Any]:
    """A list-like as it is, a dict as its (key, value) pairs. Raises ValueError for what has no items."""
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return value
    raise ValueError(f"cannot map over {type(value).__name__}: the task has to return a list or a dict")


class _Lazy(Sequence[Any]):
    def _at(self, index: int) -> Any:
        raise NotImplementedError

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._at(index)

    def __iter__(self) -> Iterator[Any]:
        return (self._at(i) for i in range(len(self)))

    def __repr__(self) -> str:
        return repr(list(self))


class Mapped(_Lazy):
    """Items with functions applied."""

    def __init__(self, value: Any, callables: Sequence[Callable[[Any], Any]]) -> None:
        self._items = items_of(value)
        self._callables = callables

    def __len__(self) -> int:
        return len(self._items)

    def _at(self, index: int) -> Any:
        item = self._items[index]
        for function in self._callables:
            item = function(item)
        return item


class Zipped(_Lazy):
    """Tuples of items side by side."""

    def __init__(self, values: Sequence[Any], *, fillvalue: Any) -> None:
        self._columns = [items_of(value) for value in values]
        self._fillvalue = fillvalue

    def __len__(self) -> int:
        lengths = [len(column) for column in self._columns]
        return max(lengths) if is_arg_set(self._fillvalue) else min(lengths)

    def _at(self, index: int) -> Any:
        return tuple(column[index] if index < len(column) else self._fillvalue for column in self._columns)


class Concatenated(_Lazy):
    """Items of several results one after the other."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._parts = [items_of(value) for value in values]

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def _at(self, index: int) -> Any:
        for part in self._parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError(index)
