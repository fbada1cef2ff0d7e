"""What a mapped task or group is expanded over, and which arguments one map index gets.

For `mapping.py` and `taskgroup.py`. `resolve` runs in the task process; `to_spec` is what the server counts with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trackside.sdk.jsonable import jsonable
from trackside.sdk.xcom_arg import XCOM_RETURN_KEY, PlainXComArg, XComArg, iter_references
from trackside.sdk.xcom_values import items_of

if TYPE_CHECKING:
    from trackside.sdk.abstract import AbstractOperator

LONGEST_LITERAL = 20_000
"""Characters of JSON of a literal list kept in the stored DAG; of longer ones only the length is kept."""


def is_mappable(value: Any) -> bool:
    """Whether an argument of `expand()` has items: a list, a dict, or something that will exist when the tasks run."""
    if isinstance(value, str | bytes):
        return False
    return isinstance(value, Sequence | Mapping | XComArg | MappedArgument)


def check_expand_kwargs(kwargs: Any) -> None:
    """Raise TypeError unless `kwargs` is a list of dicts (or of results that are dicts), or one result."""
    if isinstance(kwargs, XComArg | MappedArgument):
        return
    if not isinstance(kwargs, Sequence) or isinstance(kwargs, str | bytes):
        raise TypeError(f"expected XComArg or list[dict], not {type(kwargs).__name__}")
    for item in kwargs:
        if isinstance(item, XComArg | MappedArgument):
            continue
        if not isinstance(item, Mapping):
            raise TypeError(f"expected XComArg or list[dict], not list[{type(item).__name__}]")


class ExpandInput:
    """One of the two kinds below."""

    value: Any
    kind: str

    def iter_references(self) -> Iterator[tuple[AbstractOperator, str]]:
        """(task, key) of every result used."""
        return iter_references(self.value)

    def iter_operators(self) -> Iterator[AbstractOperator]:
        """Tasks whose results are used."""
        seen = set()
        for operator, _ in self.iter_references():
            if operator.task_id not in seen:
                seen.add(operator.task_id)
                yield operator

    def check_return_values(self) -> None:
        """Raise ValueError for mapping over another key than a task's return value (row 1.114)."""
        for operator, key in self.iter_references():
            if key != XCOM_RETURN_KEY:
                raise ValueError(
                    f"cannot map over XCom with custom key {key!r} from {operator!r}; "
                    "return the list from a task and map over that"
                )

    def resolve(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of the map index that runs in this context."""
        raise NotImplementedError

    def to_spec(self) -> dict[str, Any]:
        """The stored form, see `core.mapping`."""
        raise NotImplementedError


class DictOfListsExpandInput(ExpandInput):
    """`expand(a=[…], b=[…])`: every combination; the last argument varies fastest."""

    kind = "dict"

    def __init__(self, value: Mapping[str, Any]) -> None:
        self.value = dict(value)

    def resolve(self, context: Mapping[str, Any]) -> dict[str, Any]:
        rest = _map_index(context)
        columns = {key: items_of(_resolved(value, context)) for key, value in self.value.items()}
        picked: dict[str, Any] = {}
        for key, column in reversed(columns.items()):
            length = len(column)
            if length < 1:
                raise RuntimeError(f"cannot expand field {key!r} mapped to length {length}")
            picked[key] = column[rest % length]
            rest //= length
        return {key: _resolved(picked[key], context) for key in columns}

    def to_spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "value": {key: _literal(value) for key, value in self.value.items()}}


class ListOfDictsExpandInput(ExpandInput):
    """`expand_kwargs([{…}, {…}])`: one dict of arguments per index."""

    kind = "expand_kwargs"

    def __init__(self, value: Any) -> None:
        self.value = value

    def resolve(self, context: Mapping[str, Any]) -> dict[str, Any]:
        value = _resolved(self.value, context)
        found = _resolved(items_of(value)[_map_index(context)], context)
        if not isinstance(found, Mapping):
            raise ValueError(f"expand_kwargs() expects a list[dict], not list[{type(found).__name__}]")
        for key in found:
            if not isinstance(key, str):
                raise ValueError(f"expand_kwargs() input dict keys must be str, not {type(key).__name__}: {key!r}")
        return {key: _resolved(item, context) for key, item in found.items()}

    def to_spec(self) -> dict[str, Any]:
        return {"kind": self.kind, "value": _literal(self.value)}


class MappedArgument:
    """An argument of a mapped task group inside the group: its value is that of the map index that runs."""

    def __init__(self, expand_input: ExpandInput, key: str) -> None:
        self._input = expand_input
        self._key = key

    def iter_references(self) -> Iterator[tuple[AbstractOperator, str]]:
        """(task, key) of every result the group is expanded over."""
        return self._input.iter_references()

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """The value for this index."""
        return self._input.resolve(context)[self._key]

    def to_spec(self) -> dict[str, Any]:
        """For the details page."""
        return {"mapped_argument": self._key}

    def __repr__(self) -> str:
        return f"MappedArgument({self._key!r})"


def _map_index(context: Mapping[str, Any]) -> int:
    index = context["ti"].map_index
    if index is None or index < 0:
        raise RuntimeError("can't resolve task-mapping argument without expanding")
    return int(index)


def _resolved(value: Any, context: Mapping[str, Any]) -> Any:
    """Results replaced by their values, one level deep; deeper ones are template fields' business."""
    return value.resolve(context) if isinstance(value, XComArg | MappedArgument) else value


def _literal(value: Any) -> Any:
    if isinstance(value, XComArg):
        return value.to_spec()
    if isinstance(value, Sequence) and any(isinstance(item, PlainXComArg) for item in value):
        return [item.to_spec() if isinstance(item, XComArg) else jsonable(item) for item in value]
    data = jsonable(value)
    if len(json.dumps(data)) > LONGEST_LITERAL:
        return {"__literal_length__": len(value)}
    return data
