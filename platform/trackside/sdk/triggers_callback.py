"""A deadline's AsyncCallback as a trigger: awaited once in the triggerer's child. For `apps.runs.errands.triggered`.

That of a run that keeps a version of its bundle is awaited in a callback process (`runner.errands.jobs`), which imports that version.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
import traceback
from collections.abc import AsyncIterator
from typing import Any

from trackside.sdk import serde
from trackside.sdk.triggers import BaseTrigger, TriggerEvent


class CallbackTrigger(BaseTrigger):
    """`path`: what to await, with `kwargs` and a `context` if it takes one. `dag_file`: where functions of a DAG file are."""

    def __init__(self, path: str, kwargs: dict[str, Any] | None = None, context: Any = None, dag_file: str | None = None) -> None:
        super().__init__()
        self.path, self.kwargs, self.context, self.dag_file = path, kwargs or {}, context or {}, dag_file

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See BaseTrigger."""
        values = {"path": self.path, "kwargs": self.kwargs, "context": self.context, "dag_file": self.dag_file}
        return f"{type(self).__module__}.{type(self).__qualname__}", values

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: {"error": None or why}."""
        error = None
        try:
            callback = await asyncio.to_thread(self._find)
            await self.call(callback)
        except Exception as failure:
            traceback.print_exc()
            error = f"{type(failure).__name__}: {failure}"
        yield TriggerEvent({"error": error})

    def _find(self) -> Any:
        module, _, name = self.path.rpartition(".")
        if module.startswith("unusual_prefix_") and module not in sys.modules and self.dag_file:
            from trackside.sdk.parsing import load_file

            load_file(self.dag_file)
        return getattr(sys.modules.get(module) or importlib.import_module(module), name)

    async def call(self, callback: Any) -> None:
        """Await it. Raises what it raises, TypeError for a plain function."""
        from trackside.sdk.notifier import BaseNotifier

        kwargs = serde.deserialize(self.kwargs)
        if inspect.isclass(callback) and issubclass(callback, BaseNotifier):
            notifier = callback(**kwargs)
            notifier.context = self.context
            await notifier
            return
        parameters = inspect.signature(callback).parameters
        if "context" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            kwargs = {**kwargs, "context": self.context}
        result = callback(**kwargs)
        if not inspect.isawaitable(result):
            raise TypeError(f"{self.path} is no coroutine function: use SyncCallback for plain functions")
        await result
