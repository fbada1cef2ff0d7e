"""Deadlines: by when a run should be done, and what to call when it is not (rows 1.232-1.236).

For DAG files: `DAG(deadline=DeadlineAlert(...))`. Definitions only: the scheduler watches the clock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, ClassVar

from trackside.sdk.jsonable import jsonable, utc_text


class BaseDeadlineReference:
    """The moment a deadline is counted from. Subclass it (with `@deadline_reference`) for an own one."""

    @property
    def reference_name(self) -> str:
        """Name of the kind."""
        return type(self).__name__

    def serialize_reference(self) -> dict[str, Any]:
        """As JSON."""
        cls = type(self)
        return {"reference_type": self.reference_name, "classpath": f"{cls.__module__}.{cls.__qualname__}", **jsonable(vars(self))}

    to_spec = serialize_reference


class _Named(BaseDeadlineReference):
    def __init__(self, name: str, **values: Any) -> None:
        self._name = name
        self._values = values

    @property
    def reference_name(self) -> str:
        return self._name

    def serialize_reference(self) -> dict[str, Any]:
        return {"reference_type": self._name, **jsonable(self._values)}

    to_spec = serialize_reference

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Named) and self.serialize_reference() == other.serialize_reference()

    def __hash__(self) -> int:
        return hash(self._name)


class DeadlineReference:
    """The references that come with the product."""

    DAGRUN_LOGICAL_DATE: ClassVar[BaseDeadlineReference] = _Named("DagRunLogicalDateDeadline")
    DAGRUN_QUEUED_AT: ClassVar[BaseDeadlineReference] = _Named("DagRunQueuedAtDeadline")

    @staticmethod
    def FIXED_DATETIME(moment: dt.datetime) -> BaseDeadlineReference:
        """That moment."""
        return _Named("FixedDatetimeDeadline", datetime=utc_text(moment))

    @staticmethod
    def AVERAGE_RUNTIME(max_runs: int = 10, min_runs: int | None = None) -> BaseDeadlineReference:
        """Start of the run plus the average of the last successful runs' durations."""
        least = max_runs if min_runs is None else min_runs
        if least < 1:
            raise ValueError("AVERAGE_RUNTIME: min_runs must be at least 1")
        return _Named("AverageRuntimeDeadline", max_runs=max_runs, min_runs=least)


def deadline_reference(deadline_reference_type: Any = None) -> Callable[[type], type]:
    """Class decorator for own references: makes them available as `DeadlineReference.<Name>`."""

    if isinstance(deadline_reference_type, type) and issubclass(deadline_reference_type, BaseDeadlineReference):
        setattr(DeadlineReference, deadline_reference_type.__name__, deadline_reference_type)  # used without parentheses
        return deadline_reference_type  # type: ignore[return-value]

    def register(cls: type) -> type:
        if not issubclass(cls, BaseDeadlineReference):
            raise TypeError(f"{cls.__name__} must be a subclass of BaseDeadlineReference")
        setattr(DeadlineReference, cls.__name__, cls)
        return cls

    return register


class VariableInterval:
    """A span read from a variable (its value in seconds) when the deadline is computed."""

    def __init__(self, key: str) -> None:
        self.key = key

    def to_spec(self) -> dict[str, Any]:
        """As JSON."""
        return {"variable": self.key}


class _Callback:
    kind: ClassVar[str] = ""

    def __init__(self, callback_callable: Any, kwargs: dict[str, Any] | None = None) -> None:
        self.path = _path_of(callback_callable)
        self.kwargs = kwargs or {}

    def to_spec(self) -> dict[str, Any]:
        """Dotted path and arguments."""
        return {"kind": self.kind, "path": self.path, "kwargs": jsonable(self.kwargs)}


class AsyncCallback(_Callback):
    """An awaitable, run by the triggerer."""

    kind = "async"


class SyncCallback(_Callback):
    """A function, run by an executor."""

    kind = "sync"

    def __init__(self, callback_callable: Any, kwargs: dict[str, Any] | None = None, executor: str | None = None) -> None:
        super().__init__(callback_callable, kwargs)
        self.executor = executor

    def to_spec(self) -> dict[str, Any]:
        return {**super().to_spec(), "executor": self.executor}


def _path_of(target: Any) -> str:
    if isinstance(target, str):
        if "." not in target:
            raise ValueError(f"callback {target!r} must be a function or its dotted path")
        return target
    if not callable(target):
        raise TypeError(f"callback must be a function or its dotted path, not {type(target).__name__}")
    return f"{target.__module__}.{target.__qualname__}"


class DeadlineAlert:
    """`interval` after `reference`, a run that is not finished is late: `callback` is called once."""

    def __init__(
        self, reference: BaseDeadlineReference, interval: dt.timedelta | VariableInterval, callback: Any, name: str | None = None
    ) -> None:
        if not isinstance(interval, dt.timedelta | VariableInterval):
            raise TypeError(f"DeadlineAlert: interval must be a timedelta or a VariableInterval, not {type(interval).__name__}")
        if not isinstance(callback, _Callback):
            raise TypeError("DeadlineAlert: callback must be an AsyncCallback or a SyncCallback")
        self.reference, self.interval, self.callback, self.name = reference, interval, callback, name

    def to_spec(self) -> dict[str, Any]:
        """As JSON; a fixed interval in seconds."""
        return {
            "name": self.name,
            "reference": self.reference.serialize_reference(),
            "interval": jsonable(self.interval),
            "callback": self.callback.to_spec(),
        }
