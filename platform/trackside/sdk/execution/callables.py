"""Calling users' functions: which of the context's entries they want, and what a generator says about assets.

For the Python operators, decorators and sensors.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

log = logging.getLogger("airflow.task")


class KeywordParameters:
    """Keyword arguments for a function: all of the context if it takes `**kwargs`, else those it names."""

    def __init__(self, kwargs: Mapping[str, Any]) -> None:
        self._kwargs = kwargs

    @classmethod
    def determine(cls, func: Callable[..., Any], args: Collection[Any], kwargs: Mapping[str, Any]) -> KeywordParameters:
        """Choose from `kwargs`. Raises ValueError if a positional argument has the name of a context entry."""
        parameters = inspect.signature(func).parameters
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        taken = [name for name, p in parameters.items() if p.kind in positional][: len(args)]
        for name in taken:
            if name in kwargs:
                raise ValueError(f"The key {name!r} in args is a part of kwargs and therefore reserved.")
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            return cls(dict(kwargs))
        return cls({name: kwargs[name] for name in parameters if name not in taken and name in kwargs})

    def unpacking(self) -> Mapping[str, Any]:
        """The arguments."""
        return self._kwargs

    def serializing(self) -> Mapping[str, Any]:
        """The arguments without what cannot leave the process."""
        return self._kwargs


def determine_kwargs(func: Callable[..., Any], args: Collection[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those of `kwargs` that `func` can take besides `args`."""
    return KeywordParameters.determine(func, args, kwargs).unpacking()


def make_kwargs_callable(func: Callable[..., Any]) -> Callable[..., Any]:
    """`func` made to ignore keyword arguments it does not know."""

    @functools.wraps(func)
    def kwargs_func(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **determine_kwargs(func, args, kwargs))

    return kwargs_func


class ExecutionCallableRunner:
    """Calls a function; what a generator yields about assets goes to the outlet events, its return value comes back."""

    def __init__(self, func: Callable[..., Any], outlet_events: Any = None, *, logger: Any = None) -> None:
        self.func, self._events = func, outlet_events
        self._log = logger or log

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The result; a coroutine is run to its end."""
        result = self.func(*args, **kwargs)
        if inspect.iscoroutine(result):
            import asyncio  # most tasks do without

            return asyncio.run(result)
        if not inspect.isgenerator(result) or not inspect.isgeneratorfunction(inspect.unwrap(self.func)):
            return result
        while True:
            try:
                said = next(result)
            except StopIteration as end:
                return end.value
            self._note(said)

    def _note(self, said: Any) -> None:
        asset = getattr(said, "asset", None)
        if asset is None or self._events is None:
            self._log.warning("Ignoring unknown data of %r received from task", type(said))
            return
        extra = dict(getattr(said, "extra", None) or {})
        alias = getattr(said, "alias", None)
        if alias is not None:
            self._events[alias].add(asset, extra)
        else:
            self._events[asset].extra.update(extra)


def create_executable_runner(func: Callable[..., Any], outlet_events: Any, *, logger: Any = None) -> Any:
    """A runner for `func`."""
    return ExecutionCallableRunner(func, outlet_events, logger=logger)
