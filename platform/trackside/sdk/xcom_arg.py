"""Results of tasks as arguments of other tasks: `use(make())`, `op.output["key"]`, `.map`, `.zip`, `.concat`.

Made while a DAG file is parsed, where they also draw the edges; resolved in the task process (`resolve(context)`).
Next door: `mapping.py` expands tasks over them, `xcom_values.py` holds what resolving gives.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trackside.sdk.dependency import Dependable
from trackside.sdk.exceptions import XComNotFound
from trackside.sdk.setup_teardown import SetupTeardownContext
from trackside.sdk.types import NOTSET, is_arg_set
from trackside.sdk.xcom_values import Concatenated, Mapped, Zipped

if TYPE_CHECKING:
    from trackside.sdk.abstract import AbstractOperator

XCOM_RETURN_KEY = "return_value"


class XComArg(Dependable):
    """A value that some task will return. `XComArg(operator, key)` is the plain form of it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> XComArg:
        return super().__new__(PlainXComArg if cls is XComArg else cls)

    @staticmethod
    def iter_xcom_references(value: Any) -> Iterator[tuple[AbstractOperator, str]]:
        """(task, key) of every result used anywhere in `value`: in collections and in template fields of objects."""
        return iter_references(value)

    @staticmethod
    def apply_upstream_relationship(operator: AbstractOperator, value: Any) -> None:
        """Make `operator` wait for every task whose result is used in `value`."""
        for other, _ in iter_references(value):
            if other is not operator:
                operator.set_upstream(other)

    @property
    def roots(self) -> Sequence[AbstractOperator]:
        return self._operators()

    @property
    def leaves(self) -> Sequence[AbstractOperator]:
        return self._operators()

    def _operators(self) -> list[AbstractOperator]:
        return list({id(op): op for op, _ in self.iter_references()}.values())

    def iter_references(self) -> Iterator[tuple[AbstractOperator, str]]:
        """(task, key) of every result this is made from."""
        raise NotImplementedError

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """The value, in the process of the task that uses it."""
        raise NotImplementedError

    def to_spec(self) -> dict[str, Any]:
        """The reference as JSON, see `core.mapping`."""
        raise NotImplementedError

    def map(self, f: Callable[[Any], Any]) -> MapXComArg:
        """Apply a plain function to every item, lazily, where the item is used."""
        return MapXComArg(self, [f])

    def zip(self, *others: XComArg, fillvalue: Any = NOTSET) -> ZipXComArg:
        """Tuples of items side by side: as many as the shortest has, with `fillvalue` as the longest."""
        return ZipXComArg([self, *others], fillvalue=fillvalue)

    def concat(self, *others: XComArg) -> ConcatXComArg:
        """All items one after the other."""
        return ConcatXComArg([self, *others])

    @property
    def edge_id(self) -> str:
        operators = self._operators()
        return operators[0].task_id if len(operators) == 1 else ""

    def __enter__(self) -> XComArg:
        SetupTeardownContext.enter(self._operators())
        return self

    def __exit__(self, *exc: object) -> None:
        SetupTeardownContext.exit()

    def add_task(self, *tasks: Any) -> None:
        """Put tasks made outside into the open setup/teardown block."""
        for item in tasks:
            for task in item.leaves:
                SetupTeardownContext.add(task)


class PlainXComArg(XComArg):
    """One XCom of one task."""

    def __init__(self, operator: AbstractOperator, key: str = XCOM_RETURN_KEY) -> None:
        self.operator = operator
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlainXComArg) and self.operator is other.operator and self.key == other.key

    def __hash__(self) -> int:
        return hash((id(self.operator), self.key))

    def __getitem__(self, item: str) -> PlainXComArg:
        """The XCom of that key; this is a key of the task's XComs, not an item of the returned value."""
        if not isinstance(item, str):
            raise ValueError(
                f"XComArg only supports str lookup, received {type(item).__name__}; "
                "take items of a list inside the task that uses it"
            )
        return PlainXComArg(operator=self.operator, key=item)

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(
            f"{self!r} object is not iterable: the value exists only when the tasks run. "
            "Pass it to a task, or use .expand() for one task per item"
        )

    def __contains__(self, item: Any) -> bool:
        self.__iter__()
        return False

    def __str__(self) -> str:
        """As a Jinja expression, for use inside a template."""
        arguments = f"task_ids={self.operator.task_id!r}, dag_id={self.operator.dag_id!r}, key={self.key!r}"
        return f"{{{{ task_instance.xcom_pull({arguments}) }}}}"

    def __repr__(self) -> str:
        return f"XComArg({self.operator!r}{'' if self.key == XCOM_RETURN_KEY else f', {self.key!r}'})"

    @property
    def roots(self) -> Sequence[AbstractOperator]:
        return (self.operator,)

    @property
    def leaves(self) -> Sequence[AbstractOperator]:
        return (self.operator,)

    @property
    def is_setup(self) -> bool:
        return self.operator.is_setup

    @is_setup.setter
    def is_setup(self, value: bool) -> None:
        self.operator.is_setup = value

    @property
    def is_teardown(self) -> bool:
        return self.operator.is_teardown

    @is_teardown.setter
    def is_teardown(self, value: bool) -> None:
        self.operator.is_teardown = value

    @property
    def on_failure_fail_dagrun(self) -> bool:
        return self.operator.on_failure_fail_dagrun

    @on_failure_fail_dagrun.setter
    def on_failure_fail_dagrun(self, value: bool) -> None:
        self.operator.on_failure_fail_dagrun = value

    def iter_references(self) -> Iterator[tuple[AbstractOperator, str]]:
        yield self.operator, self.key

    def map(self, f: Callable[[Any], Any]) -> MapXComArg:
        self._need_return_value()
        return super().map(f)

    def zip(self, *others: XComArg, fillvalue: Any = NOTSET) -> ZipXComArg:
        self._need_return_value()
        return super().zip(*others, fillvalue=fillvalue)

    def concat(self, *others: XComArg) -> ConcatXComArg:
        self._need_return_value()
        return super().concat(*others)

    def _need_return_value(self) -> None:
        if self.key != XCOM_RETURN_KEY:
            raise ValueError(f"cannot map against the XCom {self.key!r}, only against a task's return value")

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """The pushed value; all values in order for a mapped task. Raises XComNotFound for a missing custom key."""
        ti = context["ti"]
        task_id = self.operator.task_id
        if self.operator.is_mapped:
            from trackside.sdk.execution.ti import LazyXComSequence

            return LazyXComSequence(xcom_arg=self, ti=ti)
        kwargs: dict[str, Any] = {}
        if self.operator.get_closest_mapped_task_group() is not None:
            indexes = (getattr(ti, "_upstream_map_indexes", None) or {}).get(task_id)
            kwargs["map_indexes"] = indexes
        result = ti.xcom_pull(task_ids=task_id, key=self.key, default=NOTSET, **kwargs)
        if is_arg_set(result):
            return result
        if self.key == XCOM_RETURN_KEY:
            return None
        if getattr(self.operator, "multiple_outputs", False):
            return None  # a key of a result that was None, or not made, reads as None (observed on Airflow 3.3.2)
        raise XComNotFound(ti.dag_id, task_id, self.key)

    def to_spec(self) -> dict[str, Any]:
        return {"__xcom__": {"kind": "plain", "task_id": self.operator.task_id, "key": self.key}}


class MapXComArg(XComArg):
    """`arg.map(f)`: functions applied to every item."""

    def __init__(self, arg: XComArg, callables: Sequence[Callable[[Any], Any]]) -> None:
        for function in callables:
            if getattr(function, "is_task_function", False):
                raise ValueError("map() argument must be a plain function, not a @task operator")
            if not callable(function):
                raise TypeError(f"map() needs a function, not {type(function).__name__}")
        self.arg = arg
        self.callables = list(callables)

    def map(self, f: Callable[[Any], Any]) -> MapXComArg:
        return MapXComArg(self.arg, [*self.callables, f])

    def iter_references(self) -> Iterator[tuple[AbstractOperator, str]]:
        yield from self.arg.iter_references()

    def resolve(self, context: Mapping[str, Any]) -> Any:
        return Mapped(self.arg.resolve(context), self.callables)

    def to_spec(self) -> dict[str, Any]:
        names = [_source(function) for function in self.callables]
        return {"__xcom__": {"kind": "map", "args": [self.arg.to_spec()], "callables": names}}

    def __repr__(self) -> str:
        calls = "".join(f".map({getattr(f, '__name__', f)})" for f in self.callables)
        return f"{self.arg!r}{calls}"


class ZipXComArg(XComArg):
    """`a.zip(b, …)`."""

    def __init__(self, args: Sequence[XComArg], *, fillvalue: Any = NOTSET) -> None:
        if len(args) < 2:
            raise ValueError("At least two arguments are required for zip()")
        self.args = _checked(args, "zip")
        self.fillvalue = fillvalue

    def iter_references(self) -> Iterator[tuple[AbstractOperator, str]]:
        for arg in self.args:
            yield from arg.iter_references()

    def resolve(self, context: Mapping[str, Any]) -> Any:
        return Zipped([arg.resolve(context) for arg in self.args], fillvalue=self.fillvalue)

    def to_spec(self) -> dict[str, Any]:
        data: dict[str, Any] = {"kind": "zip", "args": [arg.to_spec() for arg in self.args]}
        if is_arg_set(self.fillvalue):
            from trackside.sdk.jsonable import jsonable

            data["fillvalue"] = jsonable(self.fillvalue)
        return {"__xcom__": data}

    def __repr__(self) -> str:
        return f"{self.args[0]!r}.zip({', '.join(map(repr, self.args[1:]))})"


class ConcatXComArg(XComArg):
    """`a.concat(b, …)`."""

    def __init__(self, args: Sequence[XComArg]) -> None:
        self.args = _checked(args, "concat")

    def concat(self, *others: XComArg) -> ConcatXComArg:
        return ConcatXComArg([*self.args, *others])

    def iter_references(self) -> Iterator[tuple[AbstractOperator, str]]:
        for arg in self.args:
            yield from arg.iter_references()

    def resolve(self, context: Mapping[str, Any]) -> Any:
        return Concatenated([arg.resolve(context) for arg in self.args])

    def to_spec(self) -> dict[str, Any]:
        return {"__xcom__": {"kind": "concat", "args": [arg.to_spec() for arg in self.args]}}

    def __repr__(self) -> str:
        return f"{self.args[0]!r}.concat({', '.join(map(repr, self.args[1:]))})"


def _checked(args: Sequence[Any], what: str) -> list[XComArg]:
    for arg in args:
        if not isinstance(arg, XComArg):
            raise TypeError(f"{what}() takes task results, not {type(arg).__name__}")
    return list(args)


def _source(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(function).strip()
    except (OSError, TypeError):
        return getattr(function, "__qualname__", type(function).__name__)


def iter_references(value: Any) -> Iterator[tuple[AbstractOperator, str]]:
    """(task, key) of every result used anywhere in `value`."""
    if value is None or isinstance(value, str | bytes | int | float):
        return
    if isinstance(value, dict):
        for item in value.values():
            yield from iter_references(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from iter_references(item)
    elif isinstance(value, type):
        return
    elif hasattr(value, "iter_references") and hasattr(value, "resolve"):
        yield from value.iter_references()
    elif not isinstance(value, Dependable) and isinstance(
        names := getattr(value, "template_fields", None), list | tuple | set | frozenset
    ):
        for name in names:
            yield from iter_references(getattr(value, name, None))
