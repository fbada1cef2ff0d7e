"""Odds and ends that providers import from around the task context."""

from __future__ import annotations

import functools
import inspect
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple


def context_get_outlet_events(context: Any) -> Any:
    """The outlet events of a context."""
    return context.get("outlet_events", {})


def is_async_callable(func: Any) -> bool:
    """Whether calling it gives a coroutine."""
    while isinstance(func, functools.partial):
        func = func.func
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(vars(type(func)).get("__call__"))


class ParsingContext(NamedTuple):
    """For which task a file is loaded: ids, or None while it is parsed for all."""

    dag_id: str | None = None
    task_id: str | None = None


_parsing = ParsingContext()


def get_parsing_context() -> ParsingContext:
    """What the file is being loaded for; `set_parsing_context` says it."""
    if _parsing.dag_id is not None:
        return _parsing
    prefix = "_AIRFLOW_PARSING_CONTEXT_"
    return ParsingContext(os.environ.get(f"{prefix}DAG_ID"), os.environ.get(f"{prefix}TASK_ID"))


def set_parsing_context(dag_id: str | None, task_id: str | None = None) -> None:
    """Tell the file about to be loaded that only this DAG (and task) is needed."""
    global _parsing
    _parsing = ParsingContext(dag_id, task_id)


def relative_path_from_logger(logger: Any) -> Path | None:
    """Task logs are no files here."""
    return None


class Stats:
    """Metrics calls of operators: accepted, and written to the debug log."""

    _log = logging.getLogger("airflow.stats")

    @classmethod
    def incr(cls, stat: str, count: int = 1, *_: Any, **__: Any) -> None:
        """Count something."""
        cls._log.debug("%s +%s", stat, count)

    decr = gauge = timing = incr

    @classmethod
    def timer(cls, stat: str = "", *_: Any, **__: Any) -> Any:
        """Time a block."""
        import contextlib

        return contextlib.nullcontext()
