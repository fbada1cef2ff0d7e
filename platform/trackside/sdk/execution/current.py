"""Which try this process (and which operator this thread) is running: the active `Comms` and the current context.

For `Variable.get`, `Connection.get`, `get_current_context` and everything else that user code calls without handing the
context along. Nothing is active while DAG files are parsed unless the parser brings a `Comms` of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from trackside.sdk.execution.comms import Comms

_comms: Comms | None = None
_context: ContextVar[Any] = ContextVar("trackside_context")
_process_context: Any = None


def comms() -> Comms | None:
    """The active way to the server, or None outside tasks. One per process: threads of user code share it."""
    return _comms


@contextlib.contextmanager
def use_comms(active: Comms | None) -> Iterator[None]:
    """Make `active` the way to the server inside the block."""
    global _comms
    before, _comms = _comms, active
    try:
        yield
    finally:
        _comms = before


@contextlib.contextmanager
def set_current_context(context: Any) -> Iterator[Any]:
    """Make `context` what `get_current_context` returns inside the block."""
    global _process_context
    before, _process_context = _process_context, context
    token = _context.set(context)
    try:
        yield context
    finally:
        _context.reset(token)
        _process_context = before


def get_current_context() -> Any:
    """The context of the running task, from anywhere in its code. Raises RuntimeError outside a task."""
    context = _context.get(None)
    if context is None:
        context = _process_context  # threads started by the task have an empty contextvars context
    if context is None:
        raise RuntimeError(
            "Current context was requested but no context was found! Are you running within an Airflow task?"
        )
    return context
