"""Markers for "not given", for the whole SDK: `None` is a real value for many arguments, `NOTSET` never is."""

from __future__ import annotations

from typing import Any, Final


class ArgNotSet:
    """Type of `NOTSET`."""

    _instance: ArgNotSet | None = None

    def __new__(cls) -> ArgNotSet:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "NOTSET"

    def __copy__(self) -> ArgNotSet:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ArgNotSet:
        return self

    def __reduce__(self) -> tuple[type[ArgNotSet], tuple[()]]:
        return ArgNotSet, ()


NOTSET: Final = ArgNotSet()
"""The argument was not given."""


class SetDuringExecution(ArgNotSet):
    """Type of `SET_DURING_EXECUTION`."""

    _instance: ArgNotSet | None = None

    def __repr__(self) -> str:
        return "DYNAMIC (set during execution)"


SET_DURING_EXECUTION: Final = SetDuringExecution()
"""The argument gets its value when the task runs (the command of `@task.bash`)."""


def is_arg_set(value: Any) -> bool:
    """Whether an argument was given at all."""
    return not isinstance(value, ArgNotSet)
