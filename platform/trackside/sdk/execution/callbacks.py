"""Callbacks of the task: `on_execute`, `on_success`, `on_failure`, `on_retry`, `on_skipped`.

For `run.py`. What a callback raises is logged and changes nothing.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from typing import Any

log = logging.getLogger("airflow.task")


def run_callbacks(task: Any, kind: str, context: Any) -> int:
    """Call the callbacks of one kind (`on_success_callback` …) in their order; how many failed."""
    found = getattr(task, kind, None)
    failed = 0
    if not found:
        return failed
    for callback in found if isinstance(found, Sequence) else [found]:
        name = getattr(callback, "__qualname__", None) or type(callback).__name__
        log.info("Running %s: %s", kind, name)
        try:
            result = callback(context)
            if inspect.isawaitable(result):
                import asyncio

                asyncio.run(_finish(result))
        except Exception:
            failed += 1
            log.exception("Failed to run %s %s", kind, name)
    return failed


async def _finish(awaitable: Any) -> Any:
    return await awaitable
